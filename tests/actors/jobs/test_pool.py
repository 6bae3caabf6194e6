"""How many jobs run at once, whose, and in which order."""

from __future__ import annotations

from contextvars import ContextVar

import pytest
import trio
from trio.testing import MockClock

from tertulia.actors.jobs.job import BaseJob, JobContext
from tertulia.actors.jobs.lane import conversation_key
from tertulia.engine.errors import ActorFailed
from tertulia.engine.mailbox import Lane
from tertulia.engine.routing import Router
from tertulia.storage.records import JobState
from tertulia.storage.writes import Insert, Unit

from ..kit import seed
from .kit import open_shop


async def test_no_more_jobs_run_at_once_than_the_pool_takes(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire(pool=30)
        shop.takes("it", 10)
        await shop.enqueue("it", 75)
        await trio.sleep(9)
        assert shop.running == 30
        await trio.sleep(22)
        assert (shop.most, len(shop.begun), shop.running) == (30, 75, 0)


async def test_a_slow_account_leaves_room_for_the_others(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        worker = shop.hire(pool=20, per_account=4)
        shop.takes("slow", 40)
        shop.takes("quick", 0)
        await shop.enqueue("slow", 12, account_id=7)
        await trio.sleep(1)
        assert (shop.running, worker.dispatcher.pool.room) == (4, 16)
        await shop.enqueue("quick", 5, account_id=8)
        await trio.sleep(0.1)
        assert shop.order == ["slow"] * 4 + ["quick"] * 5
        await trio.sleep(130)
        assert (shop.most, len(shop.begun)) == (5, 17)


async def test_what_is_claimed_of_an_account_beyond_its_limit_runs_in_its_order(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        for number in range(12):
            shop.takes(f"{number}", 10)
            await shop.enqueue(f"{number}", account_id=7)
        shop.hire(per_account=3)
        await trio.sleep(50)
        assert shop.order == [f"{number}" for number in range(12)]


async def test_more_than_can_be_held_is_left_to_other_workers(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.takes("it", 10)
        await shop.enqueue("it", 40, account_id=7)
        first = shop.hire(per_account=2, batch=20)
        await trio.sleep(1)
        assert first.dispatcher.pool.waiting == 18
        second = shop.hire(per_account=2, batch=20)
        await trio.sleep(1)
        assert second.dispatcher.pool.waiting == 18
        await trio.sleep(120)
        assert len(shop.begun) == 40
        assert {job.attempt for job in await shop.jobs(7)} == {1}


async def test_urgent_jobs_run_first_and_then_the_older_ones(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        for name, priority in (("c", 5), ("e", 9), ("a", 0), ("d", 5), ("b", 1)):
            shop.takes(name, 1)
            await shop.enqueue(name, priority=priority)
        shop.hire(pool=1)
        await trio.sleep(10)
        assert shop.order == ["a", "b", "c", "d", "e"]


async def test_a_full_queue_does_not_starve_another_one(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.takes("many", 1)
        shop.takes("few", 1)
        await shop.enqueue("many", 100, queue="many")
        await shop.enqueue("few", 3, queue="few")
        shop.hire(pool=2)
        await trio.sleep(8)
        assert shop.order.count("few") == 3


async def test_a_paused_queue_waits_until_it_is_resumed(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire()
        shop.takes("it", 0)
        await shop.engine.jobs.pause("default")
        await shop.enqueue("it")
        await trio.sleep(30)
        assert shop.order == []
        await shop.engine.jobs.resume("default")
        await trio.sleep(0.1)
        assert shop.order == ["it"]


async def test_a_queue_with_a_rate_runs_that_many_jobs_a_second_on_all_workers_together(
    autojump_clock: MockClock,
) -> None:
    async with open_shop() as shop:
        await shop.engine.jobs.limit("default", 10.0, burst=2.0)
        shop.hire()
        shop.hire()
        shop.takes("it", 0)
        await shop.enqueue("it", 42)
        await trio.sleep(10)
        assert len(shop.begun) == 42
        assert shop.times[1] == pytest.approx(0, abs=0.01)
        assert 3.9 <= shop.times[-1] <= 5


async def test_jobs_with_one_key_never_run_at_the_same_time(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.takes("it", 2)
        await shop.enqueue("it", 6, key="printer:1")
        shop.hire()
        shop.hire()
        await trio.sleep(12.5)
        assert (shop.most, len(shop.begun)) == (1, 6), "and each begins as soon as the one before has ended"


async def test_a_job_with_an_actors_key_that_is_not_there_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire()
        id = await shop.enqueue("it", account_id=7, key=conversation_key(99))
        await trio.sleep(1)
        job = await shop.job(id, 7)
        assert (job.state, job.errors[0]["error"]) == (JobState.CANCELLED, "There is no such thing here.")


async def test_a_job_in_an_actors_lane_ends_as_the_actor_says(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        await shop.engine.world.journal.write(Unit(1, writes=[Insert(row) for row in seed()]))
        shop.hire()
        shop.takes("good", 0)
        shop.fails("bad", ValueError("no luck"))
        good = await shop.enqueue("good", account_id=1, key=conversation_key(1))
        bad = await shop.enqueue("bad", account_id=1, key=conversation_key(1))
        await trio.sleep(1)
        jobs = [await shop.job(id, 1) for id in (good, bad)]
        assert [(job.state, job.attempt) for job in jobs] == [(JobState.COMPLETED, 1), (JobState.SCHEDULED, 1)]
        assert jobs[1].errors[0]["error"] == "ValueError: no luck"


class Wall(Router):
    """Every actor is out of reach."""

    def takes(self, address: object, envelope: object, lane: Lane) -> bool:
        raise ActorFailed


async def test_an_actor_that_cannot_take_its_job_is_no_failure_of_the_job(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        await shop.engine.world.journal.write(Unit(1, writes=[Insert(row) for row in seed()]))
        shop.engine.directory.router = Wall()
        shop.hire()
        shop.takes("it", 0)
        ids = [await shop.enqueue("it", account_id=1, key=conversation_key(number)) for number in (1, 2)]
        await trio.sleep(20)
        assert [(job.attempt, job.errors) for job in await shop.jobs(1)] == [(0, []), (0, [])]
        shop.engine.directory.router = None
        await trio.sleep(2)
        assert [(await shop.job(id, 1)).state for id in ids] == [JobState.COMPLETED] * 2


async def test_a_job_never_reaches_the_actor_of_another_account(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        await shop.engine.world.journal.write(Unit(1, writes=[Insert(row) for row in seed()]))
        shop.hire()
        shop.takes("it", 0)
        await shop.enqueue("it", account_id=1, key="account:2")
        await trio.sleep(1)
        assert shop.order == ["it"]
        assert shop.engine.directory.statistics().active == 0


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


async def test_what_a_job_leaves_in_its_context_is_not_there_for_the_next_one(autojump_clock: MockClock) -> None:
    seen: list[str] = []
    async with open_shop() as shop:

        async def act(_: JobContext) -> None:
            seen.append(tenant.get())
            tenant.set("somebody")

        shop.acts["it"] = act
        await shop.enqueue("it", 5)
        shop.hire()
        await trio.sleep(1)
    assert seen == ["nobody"] * 5


async def test_many_jobs_that_never_wait_take_few_tasks(autojump_clock: MockClock) -> None:
    tasks: set[trio.lowlevel.Task] = set()
    async with open_shop() as shop:

        async def act(_: JobContext) -> None:
            tasks.add(trio.lowlevel.current_task())

        shop.acts["it"] = act
        await shop.enqueue("it", 100)
        shop.hire()
        await trio.sleep(1)
        assert len(await shop.jobs(state=JobState.COMPLETED)) == 100
        assert len(tasks) < 5, "one for each claim"


class Broken(BaseJob[int]):
    """Cannot even be made."""

    def __init__(self) -> None:
        raise RuntimeError("no mailer")


async def test_a_job_that_cannot_be_made_has_failed(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.engine.world.registry.add(Broken)
        shop.hire()
        id = await shop.engine.jobs.enqueue(Broken, 1)
        await trio.sleep(1)
        job = await shop.job(id)
        assert (job.state, job.errors[0]["error"]) == (JobState.SCHEDULED, "RuntimeError: no mailer")
