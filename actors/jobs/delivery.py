"""Jobs on their way into an actor's lane. In: `pool`. Next hop: `directory.post`, on whichever node the actor lives.

A job that an actor runs has no task here: its answer calls back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from ...engine.directory import Address, Directory
from ...engine.errors import Draining, NotFound, Overloaded, Unavailable
from ...engine.mailbox import Envelope, Lane
from ...storage.records import JobState
from ..entities import WallClock
from .endings import Ending, ending_of_error
from .ends import Ends
from .job import BaseJob
from .lane import Ran, RunJob
from .limits import JobLimits
from .registry import JobRegistry
from .runs import Run


class Delivery:
    """Mails jobs to actors."""

    def __init__(
        self,
        directory: Directory,
        registry: JobRegistry,
        ends: Ends,
        wall_clock: WallClock,
        limits: JobLimits,
        leave: Callable[[Run], None],
    ) -> None:
        self._directory = directory
        self._registry = registry
        self._ends = ends
        self._now = wall_clock
        self._limits = limits
        self._leave = leave

    def deliver(self, run: Run, address: Address, timeout: float) -> None:
        """Put the job into the lane. `timeout` is what it may take, in seconds; beyond that it may wait its turn."""
        deadline = trio.current_time() + timeout + self._directory.config.lifecycle.ask_timeout
        run.envelope = Envelope(RunJob(run.job), deadline, _Waiting(self, run))
        try:
            self._directory.post(address, run.envelope, Lane.JOBS)
        except Exception as error:
            self.refused(run, error, 0.0)

    def ran(self, run: Run, answer: Ran) -> None:
        self._over(run)
        if answer.written:
            self._ends.written(run, answer.ending)
        else:
            self._ends.write(run, answer.ending, answer.duration)

    def refused(self, run: Run, error: Exception, seconds: float) -> None:
        """It did not run, or crashed the actor whenever it did."""
        self._over(run)
        self._ends.write(run, self._ending_of(run, error), seconds)

    def _ending_of(self, run: Run, error: Exception) -> Ending:
        now = self._now()
        if isinstance(error, NotFound):
            return Ending(JobState.CANCELLED, error=error.detail)
        if isinstance(error, Unavailable | Overloaded | Draining):
            # The actor's trouble is none of the job's: soon again.
            return Ending(JobState.SCHEDULED, now + round(self._limits.give_back * 1000), counted=False)
        return ending_of_error(error, run.job, self._performer(run.job.kind), now, self._limits)

    def _performer(self, kind: str) -> BaseJob[Any]:
        """For its back-off."""
        try:
            return self._registry.make(kind)
        except Exception:
            return BaseJob()

    def _over(self, run: Run) -> None:
        run.envelope = None
        self._leave(run)


class _Waiting:
    """The caller of one job."""

    __slots__ = ("_began", "_delivery", "_run")

    def __init__(self, delivery: Delivery, run: Run) -> None:
        self._delivery = delivery
        self._run = run
        self._began = trio.current_time()

    def resolve(self, value: Any) -> None:
        self._delivery.ran(self._run, value)

    def refuse(self, error: Exception) -> None:
        self._delivery.refused(self._run, error, trio.current_time() - self._began)
