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
from .jobs.limits import JobLimits
from .jobs.queue import JobQueue
from .jobs.registry import JobRegistry
from .limits import ChatLimits
from .webhooks.limits import WebhookLimits
from .webhooks.port import NoSender, WebhookSender

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
    jobs: JobQueue
    registry: JobRegistry = field(default_factory=JobRegistry)
    job_limits: JobLimits = field(default_factory=JobLimits)
    webhook_limits: WebhookLimits = field(default_factory=WebhookLimits)
    sender: WebhookSender = field(default_factory=NoSender)
    #: Where the broadcasts of a conversation, or of an account, stopped because a commit failed: whatever the log has
    #: after this seq is broadcast by the next incarnation.
    behind: dict[ConversationKey | int, int] = field(default_factory=dict["ConversationKey | int", int])
    #: Who types where; outlives a crash, so that nobody is left typing for ever.
    typists: dict[ConversationKey, dict[Typing, Typist]] = field(
        default_factory=dict[ConversationKey, dict[Typing, Typist]]
    )
