"""Keeping the leases of a worker's own jobs, and taking back the jobs of workers that are gone.

In: the clock. Out: renewals, rescues; a job that is not this worker's any more is stopped.

A worker that cannot renew a lease in time stops the job before the lease ends, whatever the store is doing meanwhile:
from then on somebody else may have it. The lost are looked for only after the own leases are renewed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from ...storage.job_contract import JobStore
from ..entities import WallClock
from .limits import JobLimits
from .pool import Pool
from .runs import Runs, Stop

logger = logging.getLogger("tertulia.jobs")


class Leases:
    """The heartbeat of one worker."""

    def __init__(
        self,
        worker: str,
        store: JobStore,
        runs: Runs,
        pool: Pool,
        wall_clock: WallClock,
        limits: JobLimits,
        wake: Callable[[int], None],
    ) -> None:
        self._worker = worker
        self._store = store
        self._runs = runs
        self._pool = pool
        self._now = wall_clock
        self._limits = limits
        self._wake = wake
        self._beat_at = 0.0  # on trio's clock
        self.lost = 0  # jobs of any worker whose lease had ended

    async def beat(self) -> None:
        """Renew where that is due, look for the lost, and rest.

        Raises:
            Unavailable: the store is away.
        """
        limits = self._limits
        if trio.current_time() >= self._beat_at:
            await self._renew()
            self._beat_at = trio.current_time() + limits.heartbeat
        found = await self._store.rescue_jobs(self._now(), limits.max_losses)
        if found:
            self.lost += found
            logger.warning("%d jobs had lost their workers, and may run again", found)
            self._wake(self._now())
        await trio.sleep(min(limits.rescue, max(0.0, self._beat_at - trio.current_time())))

    async def _renew(self) -> None:
        held = [run for run in self._runs if not run.ended and run.stop is not Stop.LOST]
        if not held:
            return
        until = self._now() + round(self._limits.lease * 1000)
        kept = set(await self._store.renew_leases(self._worker, [run.job.id for run in held], until))
        for run in held:
            if run.job.id in kept and run.stop is Stop.LOST:  # meanwhile, by `watch`
                await self._store.release_jobs(self._worker, [run.job.id])
            elif run.job.id in kept:
                run.lease_until = until
            elif not run.ended:
                logger.info("job %s was cancelled, or its lease had ended", run.job.id)
                self._pool.stop(run, Stop.LOST)

    async def watch(self) -> None:
        """Stop what has a lease that ends before the next look. Never fails, and waits for no store."""
        await trio.sleep(self._limits.poll)
        end = self._now() + round(self._limits.poll * 1000)
        for run in self._runs:
            if run.lease_until <= end and not run.ended and run.stop is None:
                logger.warning("the lease of job %s was not renewed in time; it is stopped here", run.job.id)
                self._pool.stop(run, Stop.LOST)
