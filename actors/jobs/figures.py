"""What is told of jobs in numbers. In: counts of all queues, read now and then. Out: statistics for the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from ...storage.job_contract import JobStore, QueueCount
from ...storage.records import JobState
from ..entities import WallClock
from .limits import JobLimits


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """One worker's jobs since it started, and what all queues hold together."""

    running: int  # here
    waiting: int  # claimed, and not begun
    completed: int
    failed: int  # attempts that are followed by another one
    discarded: int
    cancelled: int
    snoozed: int  # attempts that were put off, or given back by an actor
    lost: int  # jobs of any worker whose lease had ended, found by this one
    failures: int  # of the worker's own work: the store was away
    available: int  # in all queues, as counted last
    scheduled: int
    discarded_kept: int
    lag_seconds: float  # how long the job that is due for longest has waited, as counted last


class Figures:
    """The counts of all queues, not older than `count_every`."""

    def __init__(self, store: JobStore, wall_clock: WallClock, limits: JobLimits) -> None:
        self._store = store
        self._now = wall_clock
        self._limits = limits
        self._counted_at = 0
        self.counts: Sequence[QueueCount] = ()

    async def count(self) -> None:
        """Count, and rest. Raises Unavailable."""
        self.counts = await self._store.queue_counts()
        self._counted_at = self._now()
        await trio.sleep(self._limits.count_every)

    def total(self, state: str) -> int:
        return sum(count.jobs for count in self.counts if count.state == state)

    @property
    def lags(self) -> dict[str, float]:
        """Seconds, by queue."""
        return {
            count.queue: max(0.0, (self._counted_at - count.oldest) / 1000)
            for count in self.counts
            if count.state == JobState.AVAILABLE
        }

    @property
    def lag(self) -> float:
        return max(self.lags.values(), default=0.0)
