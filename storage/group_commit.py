"""Durability in batches. In: units of work from actors. Next hop: the store's `commit`, then the actors' callbacks.

There is one writer. While a transaction commits, the next batch collects: the slower the disk, the larger the batch,
and one fsync pays for all of it. Callbacks run in the order of submission, in the writer's task, after the commit:
whatever an actor publishes from there is durable.

What can go wrong, and who learns what:

- The store cannot commit now (disk full, locked, server gone): the batch is tried again with back-off until `patience`
  is over. A store that had committed it, and only lost the answer, gives the same answer again and writes nothing
  twice.
- It still cannot: the batch and everything that waits behind it fail with `Unavailable`, and their actors restart from
  the store. Nothing of it was acknowledged. Whether it was written is unknown, where the last answer was lost; a sender
  that repeats its `client_id` learns it. While nobody writes, a unit without rows asks whether the store works again: a
  server that is not ready gets no requests, so it cannot wait for one.
- The store raises anything else: that is a bug in it. The batch fails with `Unavailable`, the next one is tried, and
  more than `max_errors` of these within `error_period` end `run` with the last one, which stops the engine.
- A callback raises: that is a bug in an actor, whose unit is durable all the same. It is logged and counted, and the
  other callbacks are called: one conversation's bug must not take the answers of all the others.
- The writer is closed or cancelled: what was not written fails with `Draining`. `drain` writes it first.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import trio

from ..engine.errors import Draining, OutcomeUnknown, Overloaded, Unavailable
from .writes import Unit

logger = logging.getLogger("tertulia.group_commit")

NO_ACCOUNT = 0  # whose unit without rows it is that asks whether the store works


class Committer(Protocol):
    """The store's side of the writer."""

    async def commit(self, units: Sequence[Unit]) -> dict[int, Exception]:
        """Write the units in one durable transaction, which touches the disk even where no unit has rows.

        May be called again with the same units after `Unavailable`. What the first call wrote, although its answer was
        lost, is then not written again, and the answer is what the first call's was.

        Returns the index of every unit that was refused, and left out, with the reason: `StaleWrite`, `Conflict` or
        `Invalid`.

        Raises:
            OutcomeUnknown: they may have been written or not; nobody can say before the store answers again.
            Unavailable: the units were not written; trying again may succeed.
        """
        ...


@dataclass(frozen=True, slots=True)
class GroupCommitStatistics:
    commits: int
    units: int  # written
    rows: int  # in all units, written or refused
    waiting: int  # rows
    failures: int  # commits that did not succeed
    callback_errors: int
    failing_since: float | None  # on trio's clock; None where the last commit succeeded


@dataclass(frozen=True, slots=True)
class GroupCommitLimits:
    rows_per_commit: int = 2000
    waiting_rows: int = 50_000  # more than this in wait is overload
    patience: float = 10.0  # seconds that a failing store is tried again
    min_backoff: float = 0.05  # seconds
    max_backoff: float = 1.0  # seconds
    max_errors: int = 3  # unexpected ones, within `error_period` seconds; the next one ends the writer
    error_period: float = 5.0

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) <= 0:
                raise ValueError(f"GroupCommitLimits.{item.name} must be greater than zero.")


class GroupCommit:
    """The one writer of a store."""

    def __init__(self, committer: Committer, limits: GroupCommitLimits | None = None) -> None:
        self._committer = committer
        self._limits = limits or GroupCommitLimits()
        self._pending: list[Unit] = []
        self._waiting_rows = 0
        self._batch_rows = 0  # of the batch that is being written
        self._sleeper: trio.lowlevel.Task | None = None
        self._committing: trio.Event | None = None
        self._closed = False
        self._ended = trio.Event()
        self._errors: deque[float] = deque()
        self._commits = self._units = self._rows = self._failures = self._callback_errors = 0
        self._failing_since: float | None = None

    def submit(self, unit: Unit) -> None:
        """Hand over a unit; its `committed` or `failed` is called later. Never waits.

        Raises:
            Overloaded: too much is waiting to be written.
            Draining: the store is closing.
        """
        if self._closed:
            raise Draining
        if self._waiting_rows >= self._limits.waiting_rows:
            raise Overloaded
        self._pending.append(unit)
        self._waiting_rows += unit.rows
        self._wake()

    async def write(self, unit: Unit) -> None:
        """Submit a unit and wait until it is durable. Its callbacks are replaced.

        A caller that is cancelled takes nothing back: the unit is written all the same.

        Raises:
            StaleWrite, Conflict, Invalid: nothing of the unit was written.
            Unavailable: nothing was acknowledged; see above.
            Overloaded, Draining: as `submit`.
        """
        done = trio.Event()
        failure: list[Exception] = []

        def failed(error: Exception) -> None:
            failure.append(error)
            done.set()

        unit.committed, unit.failed = done.set, failed
        self.submit(unit)
        await done.wait()
        if failure:
            raise failure[0]

    async def published(self) -> None:
        """Wait until everything that is durable now has been handed to its actors' callbacks.

        That is the attempt under way, if any. Between two attempts nothing new is durable, so who reads does not wait
        for a disk that is full; unless the answer to an attempt was lost, and it may be.
        """
        if self._committing is not None:
            await self._committing.wait()

    async def run(self) -> None:
        """Write until closed, drained or cancelled.

        Raises:
            Exception: what the store raised, more often than `max_errors`.
        """
        try:
            while self._pending or not self._closed:
                if self._pending:
                    await self._write_batch()
                    if self._pending:
                        await self._let_the_answered_go_on()
                elif self._failing_since is not None:
                    await self._watch()
                else:
                    await self._sleep()
        finally:
            self.close()
            self._ended.set()

    def close(self) -> None:
        """Take no more; fail what has not been given to the store."""
        self._closed = True
        self._fail(self._take_all(), Draining())
        self._wake()

    async def drain(self) -> None:
        """Take no more, and wait until `run` has written what was taken, or has failed it."""
        self._closed = True
        self._wake()
        await self._ended.wait()

    def statistics(self) -> GroupCommitStatistics:
        return GroupCommitStatistics(
            self._commits,
            self._units,
            self._rows,
            self._waiting_rows,
            self._failures,
            self._callback_errors,
            self._failing_since,
        )

    async def _write_batch(self) -> None:
        batch = self._take()
        try:
            refused = await self._commit(batch)
        except Unavailable as error:
            # What waits behind it has waited for the same store, and its actors are about to restart.
            self._fail([*batch, *self._take_all()], error)
        except Exception as error:
            self._fail(batch, Unavailable("The store failed; the outcome of this request is unknown."))
            self._endure(error)
        except BaseException:  # cancelled: nobody may be left waiting
            self._fail(batch, Draining())
            raise
        else:
            self._answer(batch, refused)
        finally:
            self._attempt_ends()

    async def _let_the_answered_go_on(self) -> None:
        """Let actors that have just been answered take their next turn, which is then in the next batch.

        They run in the next pass of the scheduler, in any order with this task; so it waits for the one after that.
        """
        for _ in range(2):
            await trio.lowlevel.checkpoint()

    async def _watch(self) -> None:
        """Ask a store that failed, and that nobody writes to, whether it works again."""
        with trio.move_on_after(self._limits.max_backoff):
            await self._sleep()
            return
        try:
            await self._committer.commit([Unit(NO_ACCOUNT)])
        except Unavailable:
            self._note_failure()
        except Exception as error:
            self._endure(error)
        else:
            self._failing_since = None

    def _attempt_ends(self) -> None:
        if self._committing is not None:
            self._committing.set()
            self._committing = None

    async def _commit(self, batch: list[Unit]) -> dict[int, Exception]:
        deadline = trio.current_time() + self._limits.patience
        delay = self._limits.min_backoff
        unknown = False
        while True:
            if self._committing is None:
                self._committing = trio.Event()
            try:
                refused = await self._committer.commit(batch)
            except Unavailable as error:
                unknown = unknown or isinstance(error, OutcomeUnknown)
                if not unknown:
                    self._attempt_ends()
                self._note_failure()
                logger.error("the store did not commit %d units: %s", len(batch), error)
                if trio.current_time() + delay > deadline:
                    raise
                await trio.sleep(delay)
                delay = min(delay * 2, self._limits.max_backoff)
            else:
                self._failing_since = None
                self._commits += 1
                self._units += len(batch) - len(refused)
                self._rows += self._batch_rows
                return refused

    def _answer(self, batch: Sequence[Unit], refused: Mapping[int, Exception]) -> None:
        for index, unit in enumerate(batch):
            error = refused.get(index) if refused else None
            try:
                if error is None:
                    unit.committed()
                else:
                    unit.failed(error)
            except Exception:
                self._callback_errors += 1
                logger.exception("a callback failed after the commit of a unit of account %d", unit.account_id)

    def _fail(self, units: Iterable[Unit], error: Exception) -> None:
        failed = list(units)
        self._answer(failed, dict.fromkeys(range(len(failed)), error))

    def _endure(self, error: Exception) -> None:
        """Go on after an error that no store should raise, unless they come too often."""
        self._note_failure()
        logger.error("the store failed in a way that it should not: %r", error, exc_info=error)
        now = trio.current_time()
        self._errors.append(now)
        while self._errors[0] < now - self._limits.error_period:
            self._errors.popleft()
        if len(self._errors) > self._limits.max_errors:
            raise error

    def _note_failure(self) -> None:
        self._failures += 1
        if self._failing_since is None:
            self._failing_since = trio.current_time()

    def _take(self) -> list[Unit]:
        if self._waiting_rows <= self._limits.rows_per_commit:
            self._batch_rows = self._waiting_rows
            return self._take_all()
        rows = count = 0
        for unit in self._pending:
            rows += unit.rows
            count += 1
            if rows >= self._limits.rows_per_commit:
                break
        batch = self._pending[:count]
        del self._pending[:count]
        self._waiting_rows -= rows
        self._batch_rows = rows
        return batch

    def _take_all(self) -> list[Unit]:
        taken, self._pending = self._pending, []
        self._waiting_rows = 0
        return taken

    def _wake(self) -> None:
        task, self._sleeper = self._sleeper, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def _sleep(self) -> None:
        def abort(_: Any) -> trio.lowlevel.Abort:
            self._sleeper = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._sleeper = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)
