"""Finished jobs are kept for a time. In: the clock. Out: jobs that ended before it are gone."""

from __future__ import annotations

from typing import ClassVar

from ...storage.job_contract import JobStore
from .job import BaseJob, JobContext
from .limits import JobLimits

#: Not at the full hour, when everybody's jobs start.
HOURLY = "17 * * * *"


class PruneJobs(BaseJob[None]):
    """Remove the jobs of all accounts that ended long enough ago, a batch of rows at a time."""

    priority: ClassVar[int] = 9
    timeout: ClassVar[float] = 600.0

    def __init__(self, store: JobStore, limits: JobLimits) -> None:
        self._store = store
        self._limits = limits

    async def perform(self, context: JobContext, args: None) -> None:
        now, limits = context.now(), self._limits
        completed = now - round(limits.keep_completed * 1000)
        discarded = now - round(limits.keep_discarded * 1000)
        removed = limit = limits.prune_batch
        while removed == limit:
            removed = await self._store.prune_jobs(completed_before=completed, discarded_before=discarded, limit=limit)
