"""Where actors are found. In: `Ref.ask` and `Ref.tell`. Next hop: `mailbox`.

A reference never fails and costs nothing. The first message activates its actor, idleness passivates it (the virtual
actors of Orleans). Looking up, creating and starting happen without an await in between, which guarantees one
incarnation per key.

The actors run in a host of their own: in the engine's contextvars, never the first caller's, and inside a shielded
scope, so that cancelling the embedding program cancels that program's code while the actors still finish what they
accepted:

    outer nursery > host > shielded scope > the actors' nursery
                  > the program's block; when it ends: drain, then cancel the host
"""

from __future__ import annotations

import contextvars
import copy
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import trio

from .actor import Actor, Context
from .cell import Cell
from .config import EngineConfig
from .dead_letters import DeadLetter
from .desk import Desk
from .errors import ActorFailed, Draining, Escalated, Overloaded
from .mailbox import NEVER, Alarm, Caller, Envelope, Lane
from .pace import ENOUGH, Pace
from .ref import Address, Ref, address_name
from .routing import Router
from .timers import Timers
from .turnstile import Turnstile

logger = logging.getLogger("tertulia.directory")

A = TypeVar("A")
Factory: TypeAlias = Callable[[Context[Any]], Actor[Any]]

__all__ = ["Address", "DeadLetter", "Directory", "DirectoryStatistics", "Factory", "Ref", "open_directory"]


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


class Directory:
    """All keys that are active, and the rules under which they live. Made by `open_directory`."""

    def __init__(self, config: EngineConfig, factories: Mapping[type[Actor[Any]], Factory]) -> None:
        self.config = config
        self.factories = dict(factories)
        self.cells: dict[Address, Cell] = {}
        self.parked: dict[Desk, float] = {}  # idle cells and since when, the longest idle first
        self.awake: dict[Desk, None] = {}  # all others: only these can have deadlines to watch
        self.quarantined: dict[Address, float] = {}  # until when
        self.dead_letters: deque[DeadLetter] = deque(maxlen=config.supervision.dead_letters)
        self.activations = trio.CapacityLimiter(config.lifecycle.activations_at_once)
        self.pace = Pace()
        self.turnstile = Turnstile(config.lifecycle.messages_in_flight)
        self.draining = False
        self.queued = 0  # envelopes in all mailboxes
        self.crashes = 0
        self.dropped = 0
        self.error: BaseException | None = None
        #: Where there are other nodes; None: every actor lives here.
        self.router: Router | None = None
        #: `trio.current_time`, and while the actors run the clock itself: every message asks for it.
        self.now: Callable[[], float] = trio.current_time
        self._timers = Timers()
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

    def room(self, kind: type[Any], key: Hashable, lane: Lane = Lane.JOBS) -> int:
        """How many envelopes a lane of this key takes now: pull no more jobs than that."""
        cell = self.cells.get((kind, key))
        in_lane = cell.mailbox.room(lane) if cell is not None else self.config.mailbox.bounds[lane]
        return min(in_lane, max(0, self.config.lifecycle.queued_messages - self.queued))

    def call(
        self, address: Address, message: Any, caller: Caller, *, timeout: float, lane: Lane = Lane.COMMANDS
    ) -> None:
        """Send for a caller that is an object rather than a task; it is answered within `timeout` seconds.

        Raises:
            Overloaded, Draining, ActorFailed: as `Ref.tell`.
        """
        envelope = Envelope(message, self.now() + timeout, caller)
        if self.router is None:
            self.post_here(address, envelope, lane)
        else:
            self.post(address, envelope, lane)

    def post(self, address: Address, envelope: Envelope, lane: Lane) -> None:
        """Put an envelope into the mailbox of its key, on whichever node that lives.

        Raises:
            Overloaded: the lane, or the engine, holds as much as it may; nothing was accepted.
            Draining: the engine is shutting down, or has stopped.
            ActorFailed: the key is quarantined.
            LookupError: there is no factory for this kind of actor.
        """
        if self.router is None or self.draining or not self.router.takes(address, envelope, lane):
            self.post_here(address, envelope, lane)

    def post_here(self, address: Address, envelope: Envelope, lane: Lane) -> None:
        """Put an envelope into the mailbox of its key on this node, and see to it that somebody drains that.

        Raises: as `post`.
        """
        if self.draining:
            raise Draining
        cell = self.cells.get(address)
        if self.queued >= self.config.lifecycle.queued_messages and lane is not Lane.BROADCASTS:
            raise Overloaded(retry_after=cell.retry_after() if cell is not None else 1.0)
        if cell is None:
            cell = self._open_cell(address)
        try:
            grew = cell.mailbox.offer(envelope, lane)
        except Overloaded:
            raise Overloaded(retry_after=cell.retry_after()) from None
        if grew:
            self.queued += 1
        else:
            self.dropped += 1
        if cell.idle:  # otherwise it has what to do, or waits for something else than mail
            cell.has_mail()
        elif cell.held and cell.mailbox.size >= ENOUGH:
            cell.has_enough()

    def _open_cell(self, address: Address) -> Cell:
        if self._nursery is None:
            raise Draining
        if address[0] not in self.factories:
            raise LookupError(f"There is no factory for {address[0].__name__}; give open_directory one.")
        rests_until = self.quarantined.get(address)
        if rests_until is not None:
            if rests_until > trio.current_time():
                raise ActorFailed
            del self.quarantined[address]
        cell = self.cells[address] = Cell(self, address)
        self.awake[cell] = None
        self._context.run(self._nursery.start_soon, cell.run)  # which gives the task a copy of its own
        return cell

    def statistics(self) -> DirectoryStatistics:
        """A snapshot for metrics and tests."""
        return DirectoryStatistics(
            active=len(self.cells),
            parked=len(self.parked),
            quarantined=len(self.quarantined),
            queued=self.queued,
            crashes=self.crashes,
            dead_letters=len(self.dead_letters),
            dropped_broadcasts=self.dropped,
        )

    # Dead letters.

    def bury(self, address: Address, envelope: Envelope, error: Exception) -> None:
        """Keep a poison message for inspection; its sender gets the error."""
        logger.error(
            "A %s crashed %s alone; it is a dead letter.", type(envelope.message).__name__, address_name(address)
        )
        self.dead_letters.append(DeadLetter(address, envelope, error))
        envelope.refuse(error)

    def replay(self, letter: DeadLetter) -> None:
        """Send a dead letter once more, for nobody's account. It stays where it is if it cannot be sent.

        Raises:
            ValueError: it is no dead letter (any more).
            Overloaded, Draining, ActorFailed: as `Ref.tell`.
        """
        if letter not in self.dead_letters:
            raise ValueError("This letter is not among the dead; it has been replayed, or newer ones took its place.")
        self.post(letter.address, Envelope(letter.envelope.message, NEVER), Lane.COMMANDS)
        self.dead_letters.remove(letter)

    # What cells report.

    def make(self, address: Address, context: Context[Any]) -> Actor[Any]:
        """A new incarnation, not activated yet."""
        return self.factories[address[0]](context)

    def schedule(self, seconds: float, desk: Desk, alarm: Alarm, lane: Lane) -> None:
        """Post an alarm to its desk in `seconds`, if its incarnation still lives then."""
        self._timers.set(trio.current_time() + seconds, desk, alarm, lane)

    def forget(self, desk: Desk, error: Exception | None = None) -> None:
        """Remove the desk; whoever still waits on it gets the error."""
        abandoned = desk.mailbox.clear()
        self.queued -= len(abandoned)
        for batch in (abandoned, *desk.deferred):
            for envelope in batch:
                # One object for each: raised in many tasks, one exception would collect all their tracebacks.
                envelope.refuse(copy.copy(error) if error is not None else Draining())
        self.turnstile.forget(desk)
        self.turnstile.leave(desk)
        self.parked.pop(desk, None)
        self.awake.pop(desk, None)
        self.cells.pop(desk.address, None)
        if self._empty is not None and not self.cells:
            self._empty.set()

    def quarantine(self, desk: Desk, crash: Exception) -> None:
        """Let the key rest. Too many keys at once are the engine's own failure: OTP's escalation, for correlation.

        Raises:
            Escalated: more keys than the supervision's limits allow.
        """
        limits = self.config.supervision
        now = trio.current_time()
        active = len(self.cells)
        self.quarantined[desk.address] = now + limits.quarantine
        logger.error("%s rests for %.0f s after repeated crashes.", address_name(desk.address), limits.quarantine)
        self.forget(desk, ActorFailed())
        self._failed_keys.append(now)
        while self._failed_keys[0] < now - limits.period:
            self._failed_keys.popleft()
        if len(self._failed_keys) > max(limits.escalate_keys, limits.escalate_share * active):
            raise Escalated from crash

    # Time.

    async def _sweep(self) -> None:
        """Deadlines, timers and idleness, for all keys in one task: its cost is that of the awake ones."""
        while True:
            await trio.sleep(self.config.lifecycle.sweep_interval)
            now = trio.current_time()
            self._ring_timers(now)
            self._retire_idle(now)
            for desk in list(self.awake):
                desk.overdue(now)
            for address in [address for address, until in self.quarantined.items() if until <= now]:
                del self.quarantined[address]

    def _ring_timers(self, now: float) -> None:
        for desk, alarm, lane in self._timers.due(now):
            try:
                self.post_here(desk.address, alarm, lane)
            except Overloaded as error:
                self.schedule(error.retry_after, desk, alarm, lane)
            except Draining:
                return

    def _retire_idle(self, now: float) -> None:
        while self.parked:
            desk, since = next(iter(self.parked.items()))
            if since > now - self.config.lifecycle.idle:
                return
            desk.retire()

    # Hosting.

    async def host(self, body: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the actors until `drain` is done. Their failure is kept in `error`, and ends the body."""
        self.now = trio.lowlevel.current_clock().current_time
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._sweep)
                    self._nursery.start_soon(self.turnstile.run)
                    self._nursery.start_soon(self.pace.run)
                    task_status.started()
        except BaseException as error:
            self.error = error
            body.cancel()
        finally:
            self._nursery = None
            self._timers = Timers()  # alarms that nobody will hear
            self.draining = True
            for cell in list(self.cells.values()):
                self.forget(cell)

    async def drain(self) -> None:
        """Refuse new mail, finish what was accepted until the grace period ends, then cancel. May be called twice."""
        self.draining = True
        if self._empty is None:
            self._empty = trio.Event()
        for cell in list(self.cells.values()):
            cell.retire()
        with trio.move_on_after(self.config.lifecycle.drain_grace, shield=True):
            if self.cells and self._nursery is not None:
                await self._empty.wait()
        self._scope.cancel()


@asynccontextmanager
async def open_directory(
    config: EngineConfig, factories: Mapping[type[Actor[Any]], Factory]
) -> AsyncGenerator[Directory, None]:
    """Run actors for as long as the block runs; leaving it drains them.

    Raises:
        Escalated: (in an exception group) the engine gave up; its cause is the crash of the last key.
    """
    directory = Directory(config, factories)
    failed: list[BaseException] = []
    try:
        async with trio.open_nursery() as outer:
            with trio.CancelScope() as body:
                await outer.start(directory.host, body)
                try:
                    yield directory
                finally:
                    await directory.drain()
    except BaseExceptionGroup as error:
        failed.append(error)
    if directory.error is not None:
        failed.append(directory.error)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise BaseExceptionGroup("The program and its engine failed.", failed)
