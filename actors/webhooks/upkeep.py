"""What the clock does for webhooks. In: ticks of cron. Out: no delivery is forgotten, and none is kept for ever."""

from __future__ import annotations

from ...storage.contracts import Journal
from ...storage.job_contract import JobStore
from ...storage.writes import Enqueue, Unit
from ..jobs.job import BaseJob, JobContext
from ..jobs.queue import ENGINE, JobQueue
from .delivery import delivering


class WakeWebhooks(BaseJob[None]):
    """See that whatever waits has a job that sends it; that job is not written where there is one.

    A delivery is left without one where somebody cancels the job, and where two nodes meet: one finds a job waiting and
    adds none; before it commits, the other one runs that job and finds nothing.
    """

    queue = "webhooks"
    priority = 1

    def __init__(self, store: JobStore, journal: Journal, jobs: JobQueue) -> None:
        self._store = store
        self._journal = journal
        self._jobs = jobs

    async def perform(self, context: JobContext, args: None) -> None:
        now = context.now()
        jobs = [delivering(account_id, id, now) for account_id, id in await self._store.waiting_webhooks()]
        if jobs:
            await self._journal.write(Unit(ENGINE, writes=[Enqueue(job) for job in jobs]))
            self._jobs.committed(jobs)


class PruneDeliveries(BaseJob[None]):
    """Remove the deliveries of all accounts that ended more than `keep` seconds ago, `batch` rows at a time."""

    queue = "webhooks"
    priority = 9
    timeout = 600.0

    def __init__(self, store: JobStore, keep: float, batch: int) -> None:
        self._store = store
        self._keep = keep
        self._batch = batch

    async def perform(self, context: JobContext, args: None) -> None:
        before = context.now() - round(self._keep * 1000)
        while await self._store.prune_deliveries(finished_before=before, limit=self._batch) == self._batch:
            pass
