"""How a worker stops: nothing is lost, and nothing that it did not fail at is counted as a failure."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tertulia.actors.jobs.job import JobContext
from tertulia.actors.jobs.limits import JobLimits
from tertulia.actors.jobs.registry import JobRegistry
from tertulia.api.engine import open_engine
from tertulia.api.settings import Settings
from tertulia.api.testing import virtual_wall_clock
from tertulia.storage.records import JobState

from .kit import Script, open_shop


async def test_a_drain_waits_for_what_runs_and_starts_nothing_more(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        worker = shop.hire(pool=2)
        shop.takes("it", 5)
        await shop.enqueue("it", 6)
        await trio.sleep(1)
        began = trio.current_time()
        await worker.dispatcher.drain(10)
        assert trio.current_time() - began == pytest.approx(4, abs=0.1)
        assert len(shop.begun) == 2
        states = [job.state for job in await shop.jobs()]
        assert (states.count(JobState.COMPLETED), states.count(JobState.AVAILABLE)) == (2, 4)


async def test_what_has_not_begun_is_given_back_at_once(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.takes("it", 20)
        await shop.enqueue("it", 5, account_id=7)
        worker = shop.hire(per_account=1)
        await trio.sleep(1)
        assert worker.dispatcher.pool.waiting > 0
        shop.nursery.start_soon(worker.dispatcher.drain, 30)
        await trio.sleep(0.1)
        jobs = await shop.jobs(7)
        assert sorted((job.state, job.attempt) for job in jobs) == [("available", 0)] * 4 + [("running", 1)]


async def test_what_does_not_end_in_time_is_stopped_and_given_back_without_counting_the_attempt(
    autojump_clock: MockClock,
) -> None:
    async with open_shop() as shop:
        worker = shop.hire()
        shop.takes("it", 45)
        id = await shop.enqueue("it")
        await trio.sleep(1)
        await worker.dispatcher.drain(3)
        assert shop.running == 0
        assert trio.current_time() == pytest.approx(4, abs=0.1)
        job = await shop.job(id)
        assert (job.state, job.attempt, job.losses, job.errors) == (JobState.AVAILABLE, 0, 0, [])


async def test_a_job_that_does_not_like_to_be_stopped_has_not_failed(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:

        async def act(_: JobContext) -> None:
            try:
                await trio.sleep(40)
            finally:
                raise RuntimeError("the connection is half open")

        shop.acts["it"] = act
        worker = shop.hire()
        id = await shop.enqueue("it")
        await trio.sleep(1)
        await worker.dispatcher.drain(3)
        job = await shop.job(id)
        assert (job.state, job.attempt, job.errors) == (JobState.AVAILABLE, 0, [])


async def test_a_drain_does_not_wait_for_a_store_that_is_away(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        worker = shop.hire()
        shop.takes("it", 45)
        await shop.enqueue("it")
        await trio.sleep(1)
        worker.store.go_away()
        await trio.sleep(5)
        await worker.dispatcher.drain(2)
        assert trio.current_time() < 10
        await trio.sleep(0.1)
        assert shop.running == 0


async def test_an_engine_drains_its_worker_before_its_store_closes(autojump_clock: MockClock) -> None:
    ended: list[float] = []
    registry = JobRegistry()

    async def act(_: JobContext) -> None:
        await trio.sleep(3)
        ended.append(trio.current_time())

    registry.add(Script, lambda: Script({"it": act}))
    settings = Settings(jobs=JobLimits(drain=5.0))
    async with open_engine("memory:", settings, jobs=registry, wall_clock=virtual_wall_clock) as engine:
        await engine.jobs.enqueue(Script, "it")
        await trio.sleep(1)
    assert ended == [pytest.approx(3, abs=0.1)]


async def test_an_engine_that_is_cancelled_still_drains_its_worker(autojump_clock: MockClock) -> None:
    registry = JobRegistry()
    ended: list[float] = []

    async def act(_: JobContext) -> None:
        await trio.sleep(3)
        ended.append(trio.current_time())

    registry.add(Script, lambda: Script({"it": act}))
    with trio.move_on_after(1):
        async with open_engine("memory:", jobs=registry, wall_clock=virtual_wall_clock) as engine:
            await engine.jobs.enqueue(Script, "it")
            await trio.sleep_forever()
    assert ended == [pytest.approx(3, abs=0.1)]


async def test_an_engine_that_does_not_run_jobs_leaves_them_to_others(autojump_clock: MockClock) -> None:
    registry = JobRegistry()
    registry.add(Script, lambda: Script({}))
    settings = Settings(jobs=JobLimits(run=False))
    async with open_engine("memory:", settings, jobs=registry, wall_clock=virtual_wall_clock) as engine:
        assert engine.dispatcher is None
        id = await engine.jobs.enqueue(Script, "it")
        await trio.sleep(100)
        job = await engine.jobs.store.job(0, id)
        assert job is not None
        assert job.state == JobState.AVAILABLE


async def test_an_end_that_the_store_could_not_take_is_written_when_it_can(autojump_clock: MockClock) -> None:
    async with open_shop(patience=0.5) as shop:
        worker = shop.hire()
        shop.takes("it", 5)
        id = await shop.enqueue("it")
        await trio.sleep(1)
        shop.disk.go_away()
        await trio.sleep(15)
        assert (shop.running, (await shop.job(id)).state) == (0, JobState.RUNNING)
        shop.disk.come_back()
        await trio.sleep(5)
        assert (await shop.job(id)).state == JobState.COMPLETED
        assert (len(shop.begun), len(worker.dispatcher.runs)) == (1, 0)
