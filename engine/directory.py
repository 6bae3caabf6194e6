"""Where actors are found. In: `Ref.ask` and `Ref.tell`. Next hop: `mailbox`.

A reference never fails and costs nothing. The first message activates its actor, idleness passivates it. Looking up,
creating and starting happen without an await in between, which guarantees one incarnation per key.

The actors run in a host of their own: in the engine's contextvars, never the first caller's, and inside a shielded scope,
so that cancelling the embedding program cancels the program's own code while the actors still finish what they accepted:

    outer nursery > host > shielded scope > the actors' nursery
                  > the program's block; when it ends: drain, then cancel the host
"""

from __future__ import annotations

import contextvars
import heapq
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar, cast

import outcome
import trio

from .actor import Actor, Context
from .config import EngineConfig
from .errors import ActorFailed, Deadlock, Draining, Escalated, Overloaded
from .mailbox import Caller, Envelope, Lane
from .supervisor import Cell, current_chain

logger = logging.getLogger("tertulia.directory")

A = TypeVar("A", bound=Actor[Any])
Address: TypeAlias = tuple[type[Actor[Any]], Hashable]
Factory: TypeAlias = Callable[[Context[Any]], Actor[Any]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that crashed its actor whenever it ran alone."""

    address: Address
    envelope: Envelope
    error: Exception


@dataclass(frozen=True, slots=True)
class DirectoryStatistics:
    """How many keys are active, parked, quarantined; how much mail waits; what went wrong so far."""

    active: int
    parked: int
    quarantined: int
    queued: int
    crashes: int
    dead_letters: int
    dropped_broadcasts: int


class Ref(Generic[A]):
    """The address of one actor: a value that can be kept, compared and thrown away."""

    __slots__ = ("address", "directory")

    def __init__(self, directory: Directory, address: Address) -> None:
        self.directory = directory
        self.address = address

    def tell(self, message: Any, lane: Lane = Lane.COMMANDS) -> None:
        """Send without waiting for an answer.

        Raises:
            Overloaded: the lane is full.
            Draining: the engine is shutting down.
            ActorFailed: the key is quarantined.
        """
        self.directory.post(self.address, Envelope(message, float("inf")), lane)

    async def ask(self, message: Any, *, timeout: float | None = None, lane: Lane = Lane.COMMANDS) -> Any:
        """Send, and wait for the answer for `timeout` seconds (default: the engine's `ask_timeout`).

        Cancelling the caller abandons work that has not started; work that has started is finished, unanswered.

        Raises:
            Refusal: the actor refused.
            DeadlineExceeded: no answer in time; the outcome is unknown.
            Deadlock: the actor asked is waiting for the one that asks.
            Overloaded, Draining, ActorFailed: as `tell`.
        """
        chain = current_chain.get()
        if self.address in chain:
            raise Deadlock(" -> ".join(str(key) for key in (*reversed(chain), self.address)))
        await trio.lowlevel.checkpoint_if_cancelled()
        seconds = self.directory.config.lifecycle.ask_timeout if timeout is None else timeout
        deadline = min(trio.current_time() + seconds, trio.current_effective_deadline())
        waiter = _Waiter(trio.lowlevel.current_task())
        envelope = Envelope(message, deadline, waiter, chain)
        self.directory.post(self.address, envelope, lane)

        def abort(_: Any) -> trio.lowlevel.Abort:
            envelope.abandon()
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abort)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and self.address == cast("Ref[Any]", other).address

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        return f"<ref {self.address[0].__name__} {self.address[1]}>"


class _Waiter:
    """A caller that is a parked task."""

    __slots__ = ("task",)

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task = task

    def resolve(self, value: Any) -> None:
        trio.lowlevel.reschedule(self.task, outcome.Value(value))

    def refuse(self, error: Exception) -> None:
        trio.lowlevel.reschedule(self.task, outcome.Error(error))


class Directory:
    """All keys that are active, and the rules under which they live. Made by `open_directory`."""

    def __init__(self, config: EngineConfig, factories: Mapping[type[Actor[Any]], Factory]) -> None:
        self.config = config
        self.factories = dict(factories)
        self.cells: dict[Address, Cell] = {}
        self.parked: dict[Cell, float] = {}  # idle cells, the longest idle first
        self.awake: dict[Cell, None] = {}  # all others: only these can have deadlines to watch
        self.quarantined: dict[Address, float] = {}
        self.dead_letters: deque[DeadLetter] = deque(maxlen=config.supervision.dead_letters)
        self.activations = trio.CapacityLimiter(config.lifecycle.activations_at_once)
        self.draining = False
        self.queued = 0
        self.crashes = 0
        self.dropped = 0
        self.error: BaseException | None = None
        self._timers: list[tuple[float, int, Cell, int, Any, Lane]] = []
        self._ticket = itertools.count()
        self._failed_keys: deque[float] = deque()
        self._context = contextvars.copy_context()
        self._empty: trio.Event | None = None
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope(shield=True)

    # Sending.

    def ref(self, kind: type[A], key: Hashable) -> Ref[A]:
        """The actor of this kind and key, whether it is active or not."""
        return Ref(self, (kind, key))

    def peek(self, kind: type[A], key: Hashable) -> A | None:
        """The running actor, to read its state between its turns; None where it is not active."""
        cell = self.cells.get((kind, key))
        return cast("A | None", cell.actor) if cell is not None else None

    def call(
        self, address: Address, message: Any, caller: Caller, *, timeout: float, lane: Lane = Lane.COMMANDS
    ) -> None:
        """Send for a caller that is an object rather than a task. Raises as `Ref.tell`."""
        self.post(address, Envelope(message, trio.current_time() + timeout, caller), lane)

    def post(self, address: Address, envelope: Envelope, lane: Lane) -> None:
        cell = self.cells.get(address)
        if cell is None:
            cell = self._open_cell(address)
        if self.draining:
            raise Draining
        if self.queued >= self.config.lifecycle.queued_messages and lane is not Lane.BROADCASTS:
            raise Overloaded
        mailbox = cell.mailbox
        before = mailbox.size
        try:
            mailbox.offer(envelope, lane)
        except Overloaded:
            raise Overloaded(retry_after=cell.retry_after()) from None
        if mailbox.size == before:
            self.dropped += 1
        else:
            self.queued += 1
        cell.wake()

    def _open_cell(self, address: Address) -> Cell:
        if self.draining or self._nursery is None:
            raise Draining
        rests_until = self.quarantined.get(address)
        if rests_until is not None:
            if rests_until > trio.current_time():
                raise ActorFailed
            del self.quarantined[address]
        cell = self.cells[address] = Cell(self, address)
        self.awake[cell] = None
        self._context.copy().run(self._nursery.start_soon, cell.run)
        return cell

    def make(self, kind: type[Actor[Any]], context: Context[Any]) -> Actor[Any]:
        return self.factories[kind](context)

    # What cells report.

    def schedule(self, seconds: float, cell: Cell, message: Any, lane: Lane) -> None:
        at = trio.current_time() + seconds
        heapq.heappush(self._timers, (at, next(self._ticket), cell, cell.incarnation, message, lane))

    def bury(self, address: Address, envelope: Envelope, error: Exception) -> None:
        """Keep a poison message for inspection; its sender gets the error."""
        self.dead_letters.append(DeadLetter(address, envelope, error))
        envelope.refuse(error)

    def replay(self, letter: DeadLetter) -> None:
        """Send a dead letter once more, for nobody's account."""
        self.dead_letters.remove(letter)
        self.post(letter.address, Envelope(letter.envelope.message, float("inf")), Lane.COMMANDS)

    def forget(self, cell: Cell, error: Exception | None) -> None:
        """Remove the cell; whoever still waits on it gets the error."""
        abandoned = cell.mailbox.clear()
        self.queued -= len(abandoned)
        for batch in (abandoned, *cell.deferred):
            for envelope in batch:
                envelope.refuse(error or Draining())
        self.parked.pop(cell, None)
        self.awake.pop(cell, None)
        self.cells.pop(cell.address, None)
        if self._empty is not None and not self.cells:
            self._empty.set()

    def quarantine(self, cell: Cell, crash: Exception) -> None:
        """Let the key rest. Too many keys at once are the engine's own failure.

        Raises:
            Escalated: more keys than the supervision's limits allow.
        """
        limits = self.config.supervision
        now = trio.current_time()
        active = len(self.cells)
        self.quarantined[cell.address] = now + limits.quarantine
        logger.error("%s rests for %.0f s after repeated crashes", cell.address, limits.quarantine)
        self.forget(cell, ActorFailed())
        self._failed_keys.append(now)
        while self._failed_keys[0] < now - limits.period:
            self._failed_keys.popleft()
        if len(self._failed_keys) > max(limits.escalate_keys, limits.escalate_share * active):
            raise Escalated from crash

    def statistics(self) -> DirectoryStatistics:
        return DirectoryStatistics(
            active=len(self.cells),
            parked=len(self.parked),
            quarantined=len(self.quarantined),
            queued=self.queued,
            crashes=self.crashes,
            dead_letters=len(self.dead_letters),
            dropped_broadcasts=self.dropped,
        )

    # Time.

    async def _sweep(self) -> None:
        """Deadlines, timers and idleness, for all cells in one task."""
        while True:
            await trio.sleep(self.config.lifecycle.sweep_interval)
            now = trio.current_time()
            self._ring_timers(now)
            self._retire_idle(now)
            for cell in list(self.awake):
                cell.overdue(now)
            for address in [address for address, until in self.quarantined.items() if until <= now]:
                del self.quarantined[address]

    def _ring_timers(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            _, _, cell, incarnation, message, lane = heapq.heappop(self._timers)
            if cell.incarnation == incarnation and self.cells.get(cell.address) is cell and not self.draining:
                try:
                    self.post(cell.address, Envelope(message, float("inf")), lane)
                except Overloaded:
                    self.schedule(cell.retry_after(), cell, message, lane)

    def _retire_idle(self, now: float) -> None:
        while self.parked:
            cell, since = next(iter(self.parked.items()))
            if since > now - self.config.lifecycle.idle:
                return
            cell.retire()

    # Hosting.

    async def host(self, body: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._sweep)
                    task_status.started()
        except BaseException as error:
            self.error = error
            body.cancel()
        finally:
            self._nursery = None
            self.draining = True
            for cell in list(self.cells.values()):
                self.forget(cell, Draining())

    async def drain(self) -> None:
        """Refuse new mail, finish what was accepted until the grace period ends, then cancel."""
        self.draining = True
        self._empty = trio.Event()
        for cell in self.cells.values():
            cell.retire()
        with trio.move_on_after(self.config.lifecycle.drain_grace, shield=True):
            if self.cells and self._nursery is not None:
                await self._empty.wait()
        self._scope.cancel()


@asynccontextmanager
async def open_directory(
    config: EngineConfig, factories: Mapping[type[Actor[Any]], Factory]
) -> AsyncIterator[Directory]:
    """Run actors for as long as the block runs; leaving it drains them.

    Raises:
        Escalated: (in an exception group) the engine gave up.
    """
    directory = Directory(config, factories)
    async with trio.open_nursery() as outer:
        with trio.CancelScope() as body:
            await outer.start(directory.host, body)
            try:
                yield directory
            finally:
                await directory.drain()
    if directory.error is not None:
        raise directory.error
