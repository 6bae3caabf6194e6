"""Jobs that are enqueued by the clock. In: the time of day. Next hop: `JobQueue`, once a tick, on all nodes together.

Every node sees every tick and enqueues its job under the same unique key: the first one wins. A tick that no node saw
is made up for within `missed_tick` seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
import trio

from ...storage.records import Job
from ..entities import WallClock
from .limits import JobLimits
from .queue import new_job
from .registry import CronEntry, JobRegistry

logger = logging.getLogger("tertulia.jobs")

#: How long the unique key of a tick is in force: much longer than nodes' clocks can differ.
DAY = 86_400_000  # milliseconds
NEVER = 1 << 62  # milliseconds


class Clock:
    """The entries of cron, as one node sees them."""

    def __init__(
        self,
        registry: JobRegistry,
        enqueue: Callable[[Job], Awaitable[object]],
        wall_clock: WallClock,
        limits: JobLimits,
    ) -> None:
        self._registry = registry
        self._enqueue = enqueue
        self._now = wall_clock
        self._limits = limits
        self._next: dict[str, int] = {}  # of each entry, in milliseconds

    async def tick(self) -> None:
        """Enqueue what is due, and rest until the next tick, or until the clock may have been set.

        Raises:
            Unavailable: the store is away; the ticks come again.
        """
        now = self._now()
        oldest = now - round(self._limits.missed_tick * 1000)
        for entry in list(self._registry.crons.values()):
            due = self._next.get(entry.name)
            if due is None:
                due = next_tick(entry, oldest)
            while due <= now:
                if due >= oldest:
                    await self._enqueue(job_of(entry, due, now, self._limits))
                due = next_tick(entry, max(due, oldest - 1))
            self._next[entry.name] = due
        wait = (min(self._next.values(), default=NEVER) - self._now()) / 1000
        await trio.sleep(min(max(wait, 0.0), self._limits.poll))


def next_tick(entry: CronEntry, after: int) -> int:
    """The first tick later than an instant; both in milliseconds.

    In the hour that a clock is put back, the iterator may begin again with what was before: that is left out.
    """
    for tick in entry.ticks(datetime.fromtimestamp(after / 1000, UTC)):
        when = round(tick.timestamp() * 1000)
        if when > after:
            return when
    return NEVER


def job_of(entry: CronEntry, tick: int, now: int, limits: JobLimits) -> Job:
    """The job of one tick. Its key is in force whatever becomes of it."""
    job = new_job(entry.job, entry.args, now=now, run_at=tick, limits=limits)
    return msgspec.structs.replace(
        job, unique_key=f"cron:{entry.name}:{tick}", unique_until=now + DAY, unique_while_waiting=False
    )
