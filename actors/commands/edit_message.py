"""Edit or delete a message that was sent."""

from __future__ import annotations

from dataclasses import dataclass

from ..entities import Principal


@dataclass(frozen=True, slots=True)
class EditMessage:
    """Answer: the message's row."""

    by: Principal
    seq: int
    content: str
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteMessage:
    """Erase the text, keep the place. Answer: the message's row, without content."""

    by: Principal
    seq: int
    client_id: str | None = None
