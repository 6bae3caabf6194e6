"""What conversations and accounts work with: the engine's parts that outlive every actor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ..engine.hub import Hub
from ..storage.contracts import Journal, Reads
from .access import AccessBook
from .conversation_state import Typist
from .entities import WallClock
from .events import Event
from .limits import ChatLimits

ConversationKey: TypeAlias = tuple[int, int]  # (account id, conversation id)
Typing: TypeAlias = tuple[str, int | None]  # (type, id) of somebody who types


@dataclass(frozen=True, slots=True)
class Collaborators:
    """One per engine, given to every actor's constructor."""

    reads: Reads
    journal: Journal
    hub: Hub[Event]
    access: AccessBook
    wall_clock: WallClock
    limits: ChatLimits
    #: Where the broadcasts of a conversation, or of an account, stopped because a commit failed: whatever the log has
    #: after this seq is broadcast by the next incarnation.
    behind: dict[ConversationKey | int, int] = field(default_factory=dict["ConversationKey | int", int])
    #: Who types where; outlives a crash, so that nobody is left typing for ever.
    typists: dict[ConversationKey, dict[Typing, Typist]] = field(
        default_factory=dict[ConversationKey, dict[Typing, Typist]]
    )
