"""What ended long ago is removed; what may be retried is kept longer."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tertulia.actors.jobs.limits import JobLimits
from tertulia.actors.jobs.pruning import PruneJobs
from tertulia.storage.records import JobState

from .kit import open_shop


async def test_ended_jobs_are_removed_when_they_were_kept_long_enough(autojump_clock: MockClock) -> None:
    limits = JobLimits(run=False, keep_completed=100.0, keep_discarded=250.0, prune_batch=3)
    async with open_shop(limits) as shop:
        shop.hire()
        shop.takes("good", 0)
        shop.fails("bad", ValueError("no luck"))
        await shop.enqueue("good", 10)
        await shop.enqueue("bad")
        await trio.sleep(150)
        await shop.enqueue("good")
        await trio.sleep(1)
        await shop.engine.jobs.enqueue(PruneJobs, None)
        await trio.sleep(1)
        assert sorted(job.state for job in await shop.jobs()) == [JobState.COMPLETED, JobState.DISCARDED]
        await trio.sleep(200)
        await shop.engine.jobs.enqueue(PruneJobs, None)
        await trio.sleep(1)
        assert await shop.jobs() == []


async def test_every_engine_prunes_by_the_clock(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        assert PruneJobs.name in shop.own_crons
