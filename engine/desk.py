"""What lies before one actor: its mail, the batch it handles, the batches in flight. In: mail from `directory`.

The synchronous half of a key's life (`cell` is the other): nothing here waits, except for the one task that sleeps
until there is something to do. All of it outlives every incarnation of the actor: the buffer that Akka's sharding keeps
for a passivating entity, here for good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trio

from .actor import Actor, Context
from .config import EngineConfig
from .errors import DeadlineExceeded, StaleWrite, TurnTooLong
from .mailbox import NEVER, Alarm, Envelope, Lane, Mailbox
from .pace import ENOUGH, PATIENCE, QUIET, Pace
from .ref import Address, PostOffice
from .supervisor import Supervisor
from .turnstile import Turnstile


class Registry(PostOffice, Protocol):
    """What a key's desk and cell report to: the directory."""

    activations: trio.CapacityLimiter
    awake: dict[Desk, None]
    parked: dict[Desk, float]
    config: EngineConfig
    crashes: int
    draining: bool
    now: Callable[[], float]
    pace: Pace
    queued: int
    turnstile: Turnstile

    def make(self, address: Address, context: Context[Any]) -> Actor[Any]: ...

    def schedule(self, seconds: float, desk: Desk, alarm: Alarm, lane: Lane) -> None: ...

    def bury(self, address: Address, envelope: Envelope, error: Exception) -> None: ...

    def forget(self, desk: Desk, error: Exception | None = None) -> None: ...

    def quarantine(self, desk: Desk, crash: Exception) -> None: ...


class Desk:
    """The mail of one key, in all the states that it passes through until it is answered."""

    __slots__ = (
        "_again", "_busy_since", "_came_up", "_crashed", "_failure", "_gathered", "_left", "_looks_at", "_scope",
        "_seconds_per_message", "_sleeper", "_supervisor", "_turn", "actor", "address", "admitted", "deferred",
        "directory", "held", "idle", "incarnation", "mailbox", "next_turn", "retiring", "weight",
    )  # fmt: skip

    def __init__(self, directory: Registry, address: Address) -> None:
        self.directory = directory
        self.address = address
        self.mailbox = Mailbox(directory.config.mailbox)
        self.actor: Actor[Any] | None = None
        self.deferred: list[list[Envelope]] = []  # answered after their turns, the oldest first
        self.incarnation = 0  # how many have ended
        self.retiring = False
        self.held = False  # asleep, while its mail gathers
        self.idle = False  # asleep, with nothing to do
        self.next_turn = 0.0  # new mail gathers until this instant, at least
        self._looks_at = 0.0  # when it sees next what has gathered
        self._gathered = 0  # messages that it saw
        self.admitted = self.weight = 0  # the turnstile's account
        self._again: list[Envelope] = []  # deferred batches whose state was stale, in their order
        self._busy_since = NEVER  # when the actor began what it does now
        self._came_up = False  # whether the incarnation got through its activation
        self._crashed: list[Envelope] = []  # the batch of the turn that crashed
        self._failure: Exception | None = None  # why the incarnation has to end
        self._left: list[Envelope] | None = None  # the part of the batch for which the turn had no time
        self._scope: trio.CancelScope | None = None  # around what the actor does now
        self._seconds_per_message = 0.0  # smoothed: what `retry_after` is made of
        self._sleeper: trio.lowlevel.Task | None = None
        self._supervisor: Supervisor | None = None  # from the first crash on
        self._turn: list[Envelope] | None = None  # the batch that the actor handles now

    # What the directory calls.

    def retire(self) -> None:
        """Passivate when the mail is done."""
        self.retiring = True
        self.wake()

    def has_mail(self) -> None:
        """Mail came while there was nothing to do. The task is not woken before it can take its turn."""
        if len(self.deferred) < self.directory.config.lifecycle.turns_in_flight:
            self._next_turn()
        else:
            self._unpark()

    def retry_after(self) -> float:
        """Seconds until the mail that waits now is done, by the cost of what was done before."""
        return max(0.05, min(30.0, self.mailbox.size * self._seconds_per_message))

    def overdue(self, now: float) -> None:
        """Refuse what waits past its deadline, and end a turn that is too long."""
        if now >= self.mailbox.soonest:
            self._refuse_overdue(now)
        lifecycle = self.directory.config.lifecycle
        if now - self._busy_since > lifecycle.sweep_interval:
            # It waits for something else than the disk; for an actor, maybe, whose turn is held back.
            self.directory.turnstile.leave(self)
        if now - self._busy_since > lifecycle.turn_limit and self._scope is not None:
            self.fail(TurnTooLong())
            self._scope.cancel()

    def _refuse_overdue(self, now: float) -> None:
        self.directory.queued -= self.mailbox.expire(now)
        soonest = self.mailbox.soonest
        for batch in (*self.deferred, self._again, self._crashed, self._turn or ()):
            for envelope in batch:
                if envelope.deadline > now:
                    soonest = min(soonest, envelope.deadline)
                elif envelope.deadline > 0:
                    envelope.refuse(DeadlineExceeded())
        self.mailbox.soonest = soonest

    # What the actor's context calls.

    def defer(self, batch: list[Envelope]) -> None:
        self.deferred.append(batch)

    def settle(self) -> None:
        del self.deferred[0]
        if not self.deferred:
            self.directory.turnstile.leave(self)
        if self._supervisor is not None and self._failure is None:
            self._supervisor.recovered()
        if not self.deferred and self.idle and not self.retiring and self._failure is None:
            self._park()  # nothing to do any more: no need to wake the task for that
        elif self.deferred and self.idle:
            return
        elif self.mailbox.size and self._failure is None:
            self._next_turn()
        else:
            self.wake()

    def run_again(self) -> None:
        for envelope in self.deferred[0]:
            envelope.reruns += 1
        self._again += self.deferred[0]
        self.fail(StaleWrite())
        self.settle()

    def fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        self.wake()

    def after(self, seconds: float, message: Any, lane: Lane) -> None:
        self.directory.schedule(seconds, self, Alarm(message, NEVER, incarnation=self.incarnation), lane)

    def leave(self, envelopes: list[Envelope]) -> None:
        self._left = envelopes

    # What the cell calls.

    def _is_deferred(self, batch: list[Envelope]) -> bool:
        return bool(self.deferred) and self.deferred[-1] is batch

    def _put_off(self, envelopes: list[Envelope]) -> None:
        """Let what the turn left be the next batch."""
        self._left = None
        self.mailbox.put_first(envelopes)
        self.directory.queued += len(envelopes)

    def _collect(self) -> None:
        """The incarnation is over: what has to run again goes to the head of the mailbox, in its old order."""
        self.actor = None
        self.incarnation += 1
        self.directory.turnstile.leave(self)
        if self._again or self._crashed:
            self.directory.queued += self.mailbox.put_back(self._again + self._crashed)
            self._again, self._crashed = [], []

    # Sleeping.

    async def _sleep(self, *, idle: bool = False) -> None:
        """Wait for `wake`. Idle, with nothing in flight, is parked: no sweep looks at it, and its time is limited."""

        def abort(_: Any) -> trio.lowlevel.Abort:
            self._sleeper = None
            self.directory.turnstile.forget(self)
            self._unpark()
            return trio.lowlevel.Abort.SUCCEEDED

        self._sleeper = trio.lowlevel.current_task()
        self.idle = idle
        if idle and not self.deferred:
            self.directory.turnstile.leave(self)  # its mail may have expired after it was let through
            self._park()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def wake(self) -> None:
        """There is something to do."""
        task, self._sleeper = self._sleeper, None
        if task is not None:
            self.held = False
            self.directory.turnstile.forget(self)
            self._unpark()
            trio.lowlevel.reschedule(task)

    def has_enough(self) -> None:
        """Mail that gathers need not wait for more of it."""
        self.held = False
        self._line_up()

    def look(self) -> None:
        """See what has gathered, unless that was for a turn which it has had; its mail may have expired as well."""
        now = self.directory.now()
        if not self.held or now < self._looks_at:
            return
        assert self.actor is not None
        pace = self.actor.pace
        latest = self.next_turn + (PATIENCE - 1) * pace
        if now < self.next_turn:
            self._gather_until(self.next_turn)
        elif self.mailbox.size > self._gathered and now < latest:
            self._gather_until(min(now + QUIET * pace, latest))
        else:
            self.has_enough()

    def _gather_until(self, instant: float) -> None:
        self._gathered = self.mailbox.size
        self._looks_at = instant
        self.directory.pace.hold(self, instant)

    def _next_turn(self) -> None:
        if self._sleeper is None or self.held:
            return
        if self.next_turn and self._is_early():
            self.held = True
            self._unpark()
            assert self.actor is not None
            before = self.next_turn - QUIET * self.actor.pace
            self._gather_until(before if self.directory.now() < before else self.next_turn)
        else:
            self._line_up()

    def _is_early(self) -> bool:
        mailbox = self.mailbox
        return mailbox.size < ENOUGH and not mailbox.left and self.directory.now() < self.next_turn

    def _line_up(self) -> None:
        if self.directory.turnstile.admits(self):
            self.wake()
        else:
            self._unpark()
            self.directory.turnstile.line_up(self)

    def _park(self) -> None:
        self.directory.parked[self] = self.directory.now()
        self.directory.awake.pop(self, None)

    def _unpark(self) -> None:
        self.idle = False
        if self.directory.parked.pop(self, None) is not None:
            self.directory.awake[self] = None
