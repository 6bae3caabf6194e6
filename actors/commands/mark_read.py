"""How far somebody has read, and who is typing."""

from __future__ import annotations

from dataclasses import dataclass

from ..entities import Principal


@dataclass(frozen=True, slots=True)
class MarkRead:
    """A reader's cursor only moves forward, and never beyond the last seq. Answer: the cursor's seq."""

    by: Principal
    seq: int


@dataclass(frozen=True, slots=True)
class SetTyping:
    """Ephemeral, for the broadcast lane: told to subscribers, stored nowhere, ended by the server. Answer: None."""

    by: Principal
    on: bool
    private: bool = False  # typing a private note: members only
