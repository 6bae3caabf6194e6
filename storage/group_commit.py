"""Durability in batches. In: units of work from actors. Next hop: the store's `commit`, then the actors' callbacks.

There is one writer. While a transaction commits, the next batch collects: the slower the disk, the larger the batch, and one
fsync pays for all of it. Callbacks run in the order of submission, in the writer's task, after the commit: whatever an actor
publishes from there is durable.

A store that cannot commit (disk full, locked, server gone) is tried again with back-off until `patience` is over. Then the
batch fails with `Unavailable`, its actors restart from the store, and nothing of it has been acknowledged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from ..engine.errors import Draining, Overloaded, Unavailable
from .writes import Unit

logger = logging.getLogger("tertulia.group_commit")


class Committer(Protocol):
    """The store's side of the writer."""

    async def commit(self, units: Sequence[Unit]) -> dict[int, Exception]:
        """Write the units in one durable transaction.

        Returns the index of every unit that was refused, and left out, with the reason: `StaleWrite` or `Conflict`.

        Raises:
            Unavailable: nothing was written; trying again may succeed.
        """
        ...


@dataclass(frozen=True, slots=True)
class GroupCommitStatistics:
    commits: int
    units: int
    rows: int
    waiting: int
    failures: int


@dataclass(frozen=True, slots=True)
class GroupCommitLimits:
    rows_per_commit: int = 2000
    waiting_rows: int = 50_000  # more than this in wait is overload
    patience: float = 10.0  # seconds that a failing store is tried again
    min_backoff: float = 0.05
    max_backoff: float = 1.0


class GroupCommit:
    """The one writer of a store."""

    def __init__(self, committer: Committer, limits: GroupCommitLimits | None = None) -> None:
        self._committer = committer
        self._limits = limits or GroupCommitLimits()
        self._pending: list[Unit] = []
        self._waiting_rows = 0
        self._sleeper: trio.lowlevel.Task | None = None
        self._committing: trio.Event | None = None
        self._closed = False
        self._commits = self._units = self._rows = self._failures = 0

    def submit(self, unit: Unit) -> None:
        """Hand over a unit; its `committed` or `failed` is called later. Never waits.

        Raises:
            Overloaded: too much is waiting to be written.
            Draining: the store is closing.
        """
        if self._closed:
            raise Draining
        if self._waiting_rows > self._limits.waiting_rows:
            raise Overloaded
        self._pending.append(unit)
        self._waiting_rows += unit.rows
        task, self._sleeper = self._sleeper, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def write(self, unit: Unit) -> None:
        """Submit a unit and wait until it is durable.

        Raises:
            StaleWrite, Conflict, Unavailable: nothing of the unit was written.
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
        """Wait until everything that is durable now has been handed to its actors' callbacks."""
        if self._committing is not None:
            await self._committing.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            if not self._pending:
                await self._sleep()
            batch = self._take()
            self._committing = trio.Event()
            try:
                refused = await self._commit(batch)
            except Unavailable as error:
                refused = dict.fromkeys(range(len(batch)), error)
            for index, unit in enumerate(batch):
                error = refused.get(index)
                if error is None:
                    unit.committed()
                else:
                    unit.failed(error)
            self._committing.set()
            self._committing = None

    def _take(self) -> list[Unit]:
        rows = 0
        for count, unit in enumerate(self._pending, 1):
            rows += unit.rows
            if rows >= self._limits.rows_per_commit:
                break
        else:
            count = len(self._pending)
        batch = self._pending[:count]
        del self._pending[:count]
        self._waiting_rows -= rows
        return batch

    async def _commit(self, batch: list[Unit]) -> dict[int, Any]:
        deadline = trio.current_time() + self._limits.patience
        delay = self._limits.min_backoff
        while True:
            try:
                refused = await self._committer.commit(batch)
            except Unavailable as error:
                self._failures += 1
                logger.error("the store did not commit %d units: %s", len(batch), error)
                if trio.current_time() + delay > deadline:
                    raise
                await trio.sleep(delay)
                delay = min(delay * 2, self._limits.max_backoff)
            else:
                self._commits += 1
                self._units += len(batch) - len(refused)
                self._rows += sum(unit.rows for unit in batch)
                return refused

    async def _sleep(self) -> None:
        def abort(_: Any) -> trio.lowlevel.Abort:
            self._sleeper = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._sleeper = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def close(self) -> None:
        """Take no more; fail what has not been written."""
        self._closed = True
        for unit in self._pending:
            unit.failed(Draining())
        self._pending.clear()

    def statistics(self) -> GroupCommitStatistics:
        return GroupCommitStatistics(self._commits, self._units, self._rows, self._waiting_rows, self._failures)
