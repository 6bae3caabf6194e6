"""The ends of jobs on their way to the store. In: `pool`, `delivery`. Next hop: `storage/group_commit`.

Nobody waits for the commit of an end: it is submitted with callbacks, many ends share one transaction, and the worker
goes on. Until an end is durable its job stays among the `Runs`, so that its lease is renewed. Where the store cannot
take it, it is submitted again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import trio

from ...engine.errors import Draining, Refusal, TertuliaError
from ...storage.contracts import Journal
from ...storage.records import JobState
from ...storage.writes import Unit
from ..entities import WallClock
from .endings import Ending, write_of
from .limits import JobLimits
from .runs import Run, Runs

logger = logging.getLogger("tertulia.jobs")

UNSPEAKABLE = "The attempt failed with an error that cannot be stored."


class Ends:
    """Writes how attempts ended."""

    def __init__(
        self,
        journal: Journal,
        runs: Runs,
        wall_clock: WallClock,
        limits: JobLimits,
        wake: Callable[[int], None],
    ) -> None:
        """`wake` is called when something may be due, with the instant in milliseconds."""
        self._journal = journal
        self._runs = runs
        self._now = wall_clock
        self._limits = limits
        self._wake = wake
        self._unwritten: list[tuple[Run, Ending, float]] = []
        self._news = trio.Event()
        #: How attempts ended, by `ended_as`.
        self.counts: Counter[str] = Counter()

    def write(self, run: Run, ending: Ending, duration: float) -> None:
        """An attempt is over. Never waits. `duration` is in seconds."""
        run.ended = True
        self.counts[ended_as(ending)] += 1
        self._submit(run, ending, duration)

    def written(self, run: Run, ending: Ending) -> None:
        """An attempt is over, and somebody else wrote it down."""
        run.ended = True
        self.counts[ended_as(ending)] += 1
        self._durable(run, ending)

    async def retry(self) -> None:
        """Submit what could not be written, when there is some."""
        await self._news.wait()
        await trio.sleep(self._limits.min_backoff)
        self._news = trio.Event()
        unwritten, self._unwritten = self._unwritten, []
        for run, ending, duration in unwritten:
            self._submit(run, ending, duration)

    def _submit(self, run: Run, ending: Ending, duration: float) -> None:
        unit = Unit(
            run.job.account_id,
            partial(self._durable, run, ending),
            partial(self._failed, run, ending, duration),
            writes=[write_of(run.job, ending, self._now(), duration, self._limits)],
        )
        try:
            self._journal.submit(unit)
        except TertuliaError as error:
            self._failed(run, ending, duration, error)

    def _durable(self, run: Run, ending: Ending) -> None:
        self._runs.remove(run)
        if ending.run_at is not None:
            self._wake(ending.run_at)
        elif run.job.key is not None:  # the next job with this key may start
            self._wake(self._now())

    def _failed(self, run: Run, ending: Ending, duration: float, error: Exception) -> None:
        if isinstance(error, Draining):  # the lease will end, and the job will run again
            self._runs.remove(run)
        elif isinstance(error, Refusal) and ending.error != UNSPEAKABLE:
            logger.error("the end of job %s cannot be stored: %s", run.job.id, error.detail)
            self._submit(run, replace(ending, error=UNSPEAKABLE), duration)
        else:
            self._unwritten.append((run, ending, duration))
            self._news.set()


def ended_as(ending: Ending) -> str:
    """In one word, for statistics: one of the states, or failed, snoozed."""
    if ending.state != JobState.SCHEDULED:
        return ending.state
    return "failed" if ending.counted else "snoozed"
