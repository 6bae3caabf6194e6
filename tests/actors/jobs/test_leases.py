"""Workers that are gone, and jobs that are not theirs any more."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tertulia.actors.jobs.queue import JobQueue
from tertulia.storage.records import JobState

from .kit import open_shop


async def test_the_jobs_of_a_killed_worker_run_on_another_one_when_their_leases_end(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        first = shop.hire()
        shop.takes("it", 45)
        id = await shop.enqueue("it")
        await trio.sleep(1)
        first.kill()
        second = shop.hire()
        await trio.sleep(100)
        job = await shop.job(id)
        assert shop.times == [pytest.approx(0, abs=0.01), pytest.approx(30, abs=5.1)]
        assert (job.state, job.attempt, job.losses, job.errors) == (JobState.COMPLETED, 1, 1, [])
        assert second.dispatcher.statistics().lost == 1


async def test_a_job_that_kills_its_workers_is_given_up(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.takes("it", 45)
        id = await shop.enqueue("it")
        for _ in range(4):
            worker = shop.hire(max_losses=2)
            await trio.sleep(36)
            worker.kill()
        await trio.sleep(1)
        job = await shop.job(id)
        assert (len(shop.begun), job.state, job.losses) == (3, JobState.DISCARDED, 3)


async def test_a_job_that_takes_longer_than_a_lease_stays_with_its_worker(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire(lease=4.0, heartbeat=1.0)
        shop.hire(lease=4.0, heartbeat=1.0, rescue=0.5)
        shop.takes("it", 40)
        id = await shop.enqueue("it")
        await trio.sleep(41)
        assert len(shop.begun) == 1
        assert ((await shop.job(id)).state, (await shop.job(id)).losses) == (JobState.COMPLETED, 0)


async def test_a_running_job_that_is_cancelled_here_stops_at_once(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        worker = shop.hire()
        shop.takes("it", 40)
        id = await shop.enqueue("it")
        await trio.sleep(3)
        await shop.engine.jobs.cancel(0, id)
        await trio.sleep(0.1)
        assert (shop.running, len(worker.dispatcher.runs), worker.dispatcher.pool.taken) == (0, 0, 0)
        job = await shop.job(id)
        assert (job.state, job.errors) == (JobState.CANCELLED, [])


async def test_a_running_job_that_is_cancelled_elsewhere_stops_with_the_next_heartbeat(
    autojump_clock: MockClock,
) -> None:
    async with open_shop() as shop:
        worker = shop.hire(heartbeat=5.0)
        shop.takes("it", 40)
        id = await shop.enqueue("it")
        await trio.sleep(1)
        world = shop.engine.world
        elsewhere = JobQueue(world.jobs.store, world.journal, world.wall_clock, world.job_limits)
        await elsewhere.cancel(0, id)
        assert shop.running == 1
        await trio.sleep(5.1)
        assert (shop.running, len(worker.dispatcher.runs)) == (0, 0)
        assert (await shop.job(id)).state == JobState.CANCELLED


async def test_a_job_that_waits_for_its_account_is_not_started_once_it_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.takes("first", 10)
        shop.takes("second", 10)
        await shop.enqueue("first", account_id=7)
        id = await shop.enqueue("second", account_id=7)
        worker = shop.hire(per_account=1)
        await trio.sleep(1)
        assert worker.dispatcher.pool.waiting == 1
        await shop.engine.jobs.cancel(7, id)
        await trio.sleep(30)
        assert shop.order == ["first"]


async def test_a_worker_that_cannot_renew_its_leases_stops_its_jobs_before_others_start_them(
    autojump_clock: MockClock,
) -> None:
    async with open_shop() as shop:
        cut_off = shop.hire(lease=10.0, heartbeat=2.0)
        shop.takes("it", 30)
        id = await shop.enqueue("it", key="printer:1")
        await trio.sleep(1)
        cut_off.store.go_away()
        shop.hire(lease=10.0, heartbeat=2.0, rescue=1.0)
        await trio.sleep(60)
        job = await shop.job(id)
        assert (shop.most, len(shop.begun), job.state, job.losses) == (1, 2, JobState.COMPLETED, 1)


async def test_after_a_pause_of_the_whole_machine_a_job_begins_anew_and_never_runs_twice_at_once(
    autojump_clock: MockClock,
) -> None:
    """The clock jumps past the ends of all leases, as when a laptop wakes up."""
    async with open_shop() as shop:
        shop.hire()
        shop.takes("it", 49)
        id = await shop.enqueue("it")
        await trio.sleep(1)
        autojump_clock.jump(40)
        await trio.sleep(65)
        assert (shop.most, len(shop.begun), (await shop.job(id)).state) == (1, 2, JobState.COMPLETED)
