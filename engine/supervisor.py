"""One key's life: activate, take turns, crash, restart, rest. In: mail from `directory`. Next hop: the actor's `handle`.

A cell holds the mailbox of its key and outlives every incarnation of the actor:

    activate -> turn, turn, ... -> passivate -> gone
        ^           |crash
        +-- backoff +--> quarantine: callers fail at once, until the key has rested

Who is to blame for a crash decides what follows. A crash in a batch blames nobody: its envelopes become suspects and run
again one by one. One that crashes alone `poison_attempts` times is poison: it goes to the dead letters, its sender gets
the error, and the key is not held responsible. Crashes that no message explains count towards the key's restart
intensity, and more than `max_restarts` within `period` quarantine it. Errors of the infrastructure (`Unavailable`,
`StaleWrite`) count against neither: the key backs off and tries again, and callers fail by their own deadlines.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import trio

from .actor import Actor, Context
from .errors import ActorFailed, DeadlineExceeded, Overloaded, Refusal, StaleWrite, TertuliaError, Unavailable
from .mailbox import Envelope, Lane, Mailbox

if TYPE_CHECKING:
    from .directory import Address, Directory

logger = logging.getLogger("tertulia.supervisor")

#: The keys that wait for the turn that runs now, itself included; empty outside of actors.
current_chain: ContextVar[tuple[object, ...]] = ContextVar("tertulia_chain", default=())

#: Turns whose answers wait for a commit, per actor, before it stops taking mail: more would only hide overload.
MAX_DEFERRED = 8


class TurnTooLong(TertuliaError):
    """A turn ran into its time limit and was cancelled."""


class Cell:
    """The mailbox and the supervision of one key."""

    __slots__ = (
        "_attempts_cost", "_explained", "_failure", "_restarts", "_scope", "_sleeper", "_streak", "_suspecting", "actor", "address",
        "deferred", "directory", "incarnation", "mailbox", "retiring", "turn_began",
    )  # fmt: skip

    def __init__(self, directory: Directory, address: Address) -> None:
        self.directory = directory
        self.address = address
        self.mailbox = Mailbox(directory.config.mailbox)
        self.actor: Actor[Any] | None = None
        self.deferred: deque[list[Envelope]] = deque()
        self.incarnation = 0
        self.retiring = False
        self.turn_began = 0.0  # 0 between turns
        self._attempts_cost = 0.0  # seconds per message, smoothed: what `retry_after` is made of
        self._explained: Exception | None = None  # a crash that one message is to blame for
        self._failure: Exception | None = None
        self._restarts: deque[float] = deque()
        self._scope: trio.CancelScope | None = None
        self._sleeper: trio.lowlevel.Task | None = None
        self._streak = 0
        self._suspecting = False  # a batch crashed and no suspect has explained it yet

    # What the directory and the actor call; none of it waits.

    def wake(self) -> None:
        task, self._sleeper = self._sleeper, None
        if task is not None:
            if self.directory.parked.pop(self, None) is not None:
                self.directory.awake[self] = None
            trio.lowlevel.reschedule(task)

    def settle(self) -> None:
        self.deferred.popleft()
        self.wake()

    def run_again(self) -> None:
        batch = self.deferred[0]
        for envelope in batch:
            envelope.reruns += 1
        # Behind the suspects that are there: deferred batches fail in the order in which they ran.
        self.mailbox.suspects.extend(batch)
        self.mailbox.size += len(batch)
        self.directory.queued += len(batch)
        self.settle()

    def fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        self.wake()

    def retire(self) -> None:
        """Passivate when the mail is done."""
        self.retiring = True
        self.wake()

    def after(self, seconds: float, message: Any, lane: Lane) -> None:
        self.directory.schedule(seconds, self, message, lane)

    def retry_after(self) -> float:
        """Seconds until the mail that waits now is done, by the cost of what was done before."""
        return max(0.05, min(30.0, len(self.mailbox) * self._attempts_cost))

    def overdue(self, now: float) -> None:
        """Refuse what waits past its deadline, and end a turn that is too long."""
        expired = self.mailbox.expire(now)
        self.directory.queued -= len(expired)
        for batch in (expired, *self.deferred):
            for envelope in batch:
                if envelope.deadline <= now:
                    envelope.refuse(DeadlineExceeded())
        if self.turn_began and now - self.turn_began > self.directory.config.lifecycle.turn_limit and self._scope:
            self.fail(TurnTooLong())
            self._scope.cancel()

    # The supervising task.

    async def run(self) -> None:
        """Keep the key alive while it has mail; end when it is passive or quarantined."""
        current_chain.set((self.address,))
        while True:
            try:
                await self._incarnate()
            except BaseException as error:
                crash = self._failure if self._cancelled_by_watchdog(error) else crash_of(error)
                if crash is None:
                    raise
                if isinstance(crash, _Absent):
                    self.directory.forget(self, crash.refusal)
                    return
                if self._is_beyond_hope(crash):
                    self.directory.quarantine(self, crash)
                    return
                await trio.sleep(self._backoff())
            else:
                self.retiring = self.retiring and self.directory.draining
                if not self.mailbox:
                    # No await between the test and the removal: mail that comes later makes a new cell.
                    self.directory.forget(self, None)
                    return

    async def _incarnate(self) -> None:
        self._failure = None
        self.incarnation += 1
        kind, key = self.address
        actor = self.directory.make(kind, Context(self, key, self.directory))
        async with self.directory.activations:
            try:
                await actor.activate()
            except Refusal as refusal:
                raise _Absent(refusal) from refusal
        self.actor = actor
        try:
            with trio.CancelScope() as self._scope:
                await self._take_turns(actor)
        finally:
            self.actor = None
            # The next incarnation must not read a state that is still being written.
            while self.deferred:
                await self._sleep()
        if self._failure is not None:
            raise self._failure
        await actor.passivate()

    async def _take_turns(self, actor: Actor[Any]) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            if not self.mailbox:
                if self._suspecting and not self.deferred:
                    self._suspecting = False
                if self.retiring or self.directory.draining:
                    return
                await self._sleep(idle=True)
            elif len(self.deferred) >= MAX_DEFERRED:
                await self._sleep()
            else:
                before = self.mailbox.size
                now = trio.current_time()
                batch = self.mailbox.take(now)
                self.directory.queued -= before - self.mailbox.size
                if batch:
                    await self._turn(actor, batch, now)
                await trio.lowlevel.checkpoint()

    async def _turn(self, actor: Actor[Any], batch: list[Envelope], now: float) -> None:
        self.turn_began = now
        chained = [envelope.chain for envelope in batch if envelope.chain]
        if chained:
            current_chain.set((self.address, *(key for chain in chained for key in chain)))
        try:
            await actor.handle(batch)
        except BaseException as error:
            if not (self.deferred and self.deferred[-1] is batch):
                self._blame(batch, error)
            raise
        finally:
            self.turn_began = 0.0
            if chained:
                current_chain.set((self.address,))
        self._streak = 0
        took = (trio.current_time() - now) / len(batch)
        self._attempts_cost += (took - self._attempts_cost) / 8

    def _blame(self, batch: list[Envelope], error: BaseException) -> None:
        crash = crash_of(error) or self._failure
        if crash is None or is_infrastructure(crash):
            self._put_back(batch)
            return
        if len(batch) > 1:
            self._suspecting = True
            self._put_back(batch)
            return
        envelope = batch[0]
        envelope.attempts += 1
        self._explained = crash
        self._suspecting = False
        if envelope.attempts < self.directory.config.supervision.poison_attempts:
            self._put_back(batch)
        else:
            self.directory.bury(self.address, envelope, crash)

    def _put_back(self, batch: list[Envelope]) -> None:
        self.mailbox.put_back(batch)
        self.directory.queued += len(batch)

    def _is_beyond_hope(self, crash: Exception) -> bool:
        """Record the crash; whether it exhausts the key's restart intensity."""
        logger.error("%s crashed: %r", self.address, crash, exc_info=crash)
        self.directory.crashes += 1
        if crash is self._explained or self._suspecting:
            self._streak = 0
            return False
        self._streak += 1
        if is_infrastructure(crash):
            return False
        limits = self.directory.config.supervision
        now = trio.current_time()
        self._restarts.append(now)
        while self._restarts[0] < now - limits.period:
            self._restarts.popleft()
        return len(self._restarts) > limits.max_restarts

    def _backoff(self) -> float:
        limits = self.directory.config.supervision
        exponent = min(max(self._streak, 1) - 1, 30)
        delay = min(limits.max_backoff, limits.min_backoff * 2.0**exponent)
        return delay * random.uniform(1 - limits.jitter, 1)

    def _cancelled_by_watchdog(self, error: BaseException) -> bool:
        return isinstance(self._failure, TurnTooLong) and crash_of(error) is self._failure

    async def _sleep(self, *, idle: bool = False) -> None:
        def abort(_: Any) -> trio.lowlevel.Abort:
            self._sleeper = None
            if self.directory.parked.pop(self, None) is not None:
                self.directory.awake[self] = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._sleeper = trio.lowlevel.current_task()
        if idle and not self.deferred:
            self.directory.parked[self] = trio.current_time()
            self.directory.awake.pop(self, None)
        await trio.lowlevel.wait_task_rescheduled(abort)


class _Absent(Exception):
    """Activation found nothing under the key."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


def is_infrastructure(error: Exception) -> bool:
    """Whether the error says nothing about the message or the actor."""
    return isinstance(error, Unavailable | StaleWrite | Overloaded) and not isinstance(error, ActorFailed)


def crash_of(error: BaseException) -> Exception | None:
    """What is left of an error without cancellations; None where that is no crash but a reason to stop."""
    if isinstance(error, BaseExceptionGroup):
        rest = error.split(trio.Cancelled)[1]
        return rest if isinstance(rest, Exception) else None
    return error if isinstance(error, Exception) else None
