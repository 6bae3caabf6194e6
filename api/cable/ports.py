"""What channels and sessions need of those who made them. The gateway and the session fit; neither is imported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ...actors.access import AccessBook
from ...actors.events import Audience, Event
from ...actors.limits import ChatLimits
from ...actors.presence import Presence
from ...engine.directory import Address
from ...engine.group import Sink
from ...engine.hub import Hub
from ...engine.mailbox import Caller, Lane
from ...storage.contracts import Journal, Reads
from ..auth import Identity
from ..cable_limits import CableLimits
from .pacing import Outgoing
from .protocol import CableProtocol, EventFormat
from .readings import Readings


class Surroundings(Protocol):
    """What all sessions share: the gateway."""

    hub: Hub[Event]
    reads: Reads
    journal: Journal
    access: AccessBook
    presence: Presence
    chat_limits: ChatLimits
    limits: CableLimits
    readings: Readings
    epoch: str

    def start(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        """Run this in a task of its own."""
        ...

    def call(self, address: Address, command: Any, caller: Caller, lane: Lane = ...) -> None:
        """Raises Overloaded, Draining or ActorFailed where the command is not even accepted."""
        ...

    def format(self, protocol: CableProtocol, identifier: str, audience: Audience) -> EventFormat:
        """The one object for all subscribers who see the same bytes."""
        ...

    def told(self, key: int | tuple[int, int], seq: int) -> int:
        """The last seq, up to `seq`, of an account's or a conversation's log that was broadcast."""
        ...


class Transport(Protocol):
    """The connection under a session: a socket on the reactor, or a task where there is no reactor."""

    @property
    def outbox(self) -> Outgoing: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def trust(self) -> None: ...

    def close(self, code: int = ..., reason: str = ..., last: bytes = ...) -> None: ...


class Subscriber(Protocol):
    """Whose channels they are: a session."""

    @property
    def gateway(self) -> Surroundings: ...
    @property
    def identity(self) -> Identity | None: ...
    @property
    def protocol(self) -> CableProtocol: ...
    @property
    def sink(self) -> Sink: ...
    @property
    def transport(self) -> Transport: ...

    def fail(self, identifier: str, client_id: str | None, error: Exception) -> None:
        """Tell the client, and nobody else, that a command was refused."""
        ...
