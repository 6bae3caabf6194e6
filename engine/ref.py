"""The address of an actor. In: `ask` and `tell` from anywhere. Next hop: `directory.post`.

A reference never fails and costs nothing: it is a value that can be kept, compared and thrown away, whether its actor
is active or not.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

import outcome
import trio

from .config import EngineConfig
from .errors import Deadlock
from .mailbox import NEVER, Envelope, Lane

A = TypeVar("A")
Address: TypeAlias = tuple[type[Any], Hashable]  # (kind of actor, key)

#: The actors that wait for the turn that runs now, itself first; empty outside of actors.
current_chain: ContextVar[tuple[object, ...]] = ContextVar("tertulia_chain", default=())


class PostOffice(Protocol):
    """What delivers mail: the directory."""

    config: EngineConfig

    def ref(self, kind: type[A], key: Hashable) -> Ref[A]: ...

    def post(self, address: Address, envelope: Envelope, lane: Lane) -> None: ...


class Ref(Generic[A]):
    """The address of one actor of kind `A`, and the ways to send it mail."""

    __slots__ = ("address", "directory")

    def __init__(self, directory: PostOffice, address: Address) -> None:
        self.directory = directory
        self.address = address

    def tell(self, message: Any, lane: Lane = Lane.COMMANDS) -> None:
        """Send without waiting for an answer.

        Raises:
            Overloaded: the lane is full; `retry_after` is in seconds.
            Draining: the engine is shutting down.
            ActorFailed: the key is quarantined.
        """
        self.directory.post(self.address, Envelope(message, NEVER), lane)

    async def ask(self, message: Any, *, timeout: float | None = None, lane: Lane = Lane.COMMANDS) -> Any:
        """Send, and wait for the answer for `timeout` seconds (default: the engine's `ask_timeout`).

        The deadline, or the caller's own where that is earlier, travels in the envelope: expired work never starts. It
        is kept to the precision of the engine's sweep (0.1 s). Cancelling the caller abandons work that has not
        started; work that has started is finished, unanswered.

        Raises:
            Refusal: the actor refused.
            DeadlineExceeded: no answer in time; the outcome is unknown.
            Deadlock: the actor asked is waiting for the one that asks.
            Overloaded, Draining, ActorFailed: as `tell`.
            Exception: the message crashed its actor whenever it ran, and is now a dead letter; this is the crash.
        """
        chain = current_chain.get()
        if self.address in chain:
            raise Deadlock("Actors ask each other in a circle: " + _path((*reversed(chain), self.address)))
        await trio.lowlevel.checkpoint_if_cancelled()
        seconds = self.directory.config.lifecycle.ask_timeout if timeout is None else timeout
        deadline = min(trio.current_time() + seconds, trio.current_effective_deadline())
        envelope = Envelope(message, deadline, _Waiter(trio.lowlevel.current_task()), chain)
        self.directory.post(self.address, envelope, lane)

        def abort(_: Any) -> trio.lowlevel.Abort:
            envelope.abandon()
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abort)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        return f"<ref {address_name(self.address)}>"


class _Waiter:
    """A caller that is a parked task."""

    __slots__ = ("task",)

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task = task

    def resolve(self, value: Any) -> None:
        trio.lowlevel.reschedule(self.task, outcome.Value(value))

    def refuse(self, error: Exception) -> None:
        trio.lowlevel.reschedule(self.task, outcome.Error(error))


def address_name(address: Address) -> str:
    """An address as people read it, in logs and errors."""
    kind, key = address
    return f"{kind.__name__} {key}"


def _path(chain: tuple[object, ...]) -> str:
    return " -> ".join(address_name(cast(Address, address)) for address in chain)
