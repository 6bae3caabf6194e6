"""From enqueued to ended: how a worker finds jobs, and what becomes of them."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from tertulia.actors.jobs.job import BaseJob, Cancel, Discard, JobContext, Snooze
from tertulia.actors.jobs.queue import new_job
from tertulia.actors.jobs.registry import JobRegistry
from tertulia.storage.records import JobState
from tertulia.storage.writes import Enqueue, Unit

from .kit import Script, open_shop


async def test_a_job_runs_as_soon_as_it_is_enqueued(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire()
        shop.takes("it", 1.5)
        await trio.sleep(10.25)
        id = await shop.enqueue("it")
        await trio.sleep(2)
        job = await shop.job(id)
        assert shop.times == [pytest.approx(10.25)]
        assert (job.state, job.attempt, job.duration, job.worker, job.errors) == ("completed", 1, 1500, None, [])
        assert job.finished_at is not None


async def test_what_was_enqueued_while_nobody_worked_runs_when_somebody_comes(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.takes("it", 0)
        await shop.enqueue("it", 3)
        shop.hire()
        await trio.sleep(0.5)
        assert shop.order == ["it"] * 3


async def test_a_job_for_later_runs_at_its_time_and_not_at_the_next_look(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire()
        shop.takes("it", 0)
        await trio.sleep(1.1)
        await shop.engine.jobs.enqueue_in(Script, "it", 4.321)
        await trio.sleep(10)
        assert shop.times == [pytest.approx(1.1 + 4.321, abs=0.002)]


async def test_a_job_that_another_node_enqueued_is_found_within_the_time_between_looks(
    autojump_clock: MockClock,
) -> None:
    async with open_shop() as shop:
        shop.hire(poll=2.0)
        shop.takes("it", 0)
        await trio.sleep(10.5)
        world = shop.engine.world
        job = new_job(Script, "it", now=world.wall_clock(), queue="never seen before")
        await world.journal.write(Unit(0, writes=[Enqueue(job)]))  # nobody here is told
        await trio.sleep(2.1)
        assert shop.order == ["it"]


async def test_a_failure_is_tried_again_after_its_back_off_until_the_attempts_are_used_up(
    autojump_clock: MockClock,
) -> None:
    async with open_shop() as shop:
        shop.hire()
        shop.fails("it", ValueError("no luck"))
        id = await shop.enqueue("it")
        await trio.sleep(1)
        job = await shop.job(id)
        assert (job.state, job.attempt, job.finished_at) == (JobState.SCHEDULED, 1, None)
        await trio.sleep(60)
        job = await shop.job(id)
        assert shop.times == [pytest.approx(0, abs=0.01), pytest.approx(7, abs=0.01), pytest.approx(21, abs=0.01)]
        assert (job.state, job.attempt) == (JobState.DISCARDED, 3)
        assert [(error["attempt"], error["error"]) for error in job.errors] == [
            (attempt, "ValueError: no luck") for attempt in (1, 2, 3)
        ]


async def test_a_discarded_job_that_is_retried_gets_one_more_attempt(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire()
        shop.fails("it", ValueError("no luck"))
        id = await shop.enqueue("it")
        await trio.sleep(60)
        shop.takes("it", 0)
        await shop.engine.jobs.retry(0, id)
        await trio.sleep(0.1)
        job = await shop.job(id)
        assert (job.state, job.attempt) == (JobState.COMPLETED, 4)


async def test_a_snooze_is_no_attempt(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire()
        shop.takes("it", 0, Snooze(5))
        id = await shop.enqueue("it")
        await trio.sleep(21)
        job = await shop.job(id)
        assert len(shop.begun) == 5
        assert (job.state, job.attempt, job.errors) == (JobState.SCHEDULED, 0, [])


async def test_a_job_that_cancels_or_discards_itself_says_why(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire()
        shop.takes("cancel", 0, Cancel("not wanted"))
        shop.takes("discard", 0, Discard("not possible"))
        cancelled, discarded = await shop.enqueue("cancel"), await shop.enqueue("discard")
        await trio.sleep(1)
        ends = [(job.state, job.errors[0]["error"]) for job in (await shop.job(cancelled), await shop.job(discarded))]
        assert ends == [(JobState.CANCELLED, "not wanted"), (JobState.DISCARDED, "not possible")]


async def test_a_job_that_takes_too_long_is_stopped_and_has_failed(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire()
        shop.takes("it", 1000)
        id = await shop.enqueue("it")
        await trio.sleep(51)
        job = await shop.job(id)
        assert (shop.running, job.state) == (0, JobState.SCHEDULED)
        assert job.errors[0]["error"] == "TimeoutError: It took longer than 50 seconds."


class Number(BaseJob[int]):
    name = "script"

    async def perform(self, context: JobContext, args: int) -> None: ...


async def test_arguments_of_another_version_of_the_job_discard_it(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire()
        id = await shop.engine.jobs.enqueue(Number, 5)
        await trio.sleep(1)
        job = await shop.job(id)
        assert job.state == JobState.DISCARDED
        assert "Its arguments cannot be read" in job.errors[0]["error"]


async def test_an_answer_that_is_none_of_the_results_is_a_failure(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire()
        shop.takes("it", 0, 42)  # type: ignore[arg-type] # which is the point
        id = await shop.enqueue("it")
        await trio.sleep(1)
        assert "answered 42" in (await shop.job(id)).errors[0]["error"]


async def test_an_error_that_no_store_can_keep_does_not_keep_the_job_from_ending(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.CRITICAL, "tertulia.jobs")  # it could not be reported either
    async with open_shop() as shop:
        shop.hire()
        shop.fails("it", ValueError("half a character: \ud83d"))
        id = await shop.enqueue("it")
        await trio.sleep(60)
        job = await shop.job(id)
        assert (job.state, len(job.errors)) == (JobState.DISCARDED, 3)


class Unknown(BaseJob[int]):
    done = 0

    async def perform(self, context: JobContext, args: int) -> None:
        Unknown.done += 1


async def test_a_job_of_a_newer_program_waits_for_a_worker_that_knows_it(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_shop() as shop:
        shop.hire()
        id = await shop.engine.jobs.enqueue(Unknown, 1)
        await trio.sleep(30)
        job = await shop.job(id)
        assert (job.state, job.attempt, job.errors) == (JobState.SCHEDULED, 0, [])
        told = [record for record in caplog.records if "'unknown', which this worker does not know" in record.message]
        assert len(told) == 1
        shop.engine.world.registry.add(Unknown)
        await trio.sleep(2)
        assert ((await shop.job(id)).state, Unknown.done) == (JobState.COMPLETED, 1)


async def test_while_nodes_are_replaced_a_job_runs_on_the_one_that_knows_it(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire(JobRegistry())
        shop.takes("it", 0)
        for _ in range(5):
            await shop.enqueue("it")
            await trio.sleep(0.3)
        shop.hire()
        await trio.sleep(10)
        assert shop.order == ["it"] * 5
        assert {(job.state, job.attempt) for job in await shop.jobs()} == {(JobState.COMPLETED, 1)}


async def test_a_worker_of_some_queues_leaves_the_others_alone(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.hire(queues=("mail", "urgent"))
        for queue in ("mail", "default", "urgent"):
            shop.takes(queue, 0)
            await shop.enqueue(queue, queue=queue)
        await trio.sleep(5)
        assert sorted(shop.order) == ["mail", "urgent"]


async def test_a_store_that_is_away_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        worker = shop.hire()
        shop.takes("it", 0)
        await trio.sleep(1)
        worker.store.go_away()
        await shop.enqueue("it")
        await trio.sleep(100)
        assert shop.order == []
        worker.store.come_back()
        await trio.sleep(5.1)
        assert shop.order == ["it"]
        assert 0 < worker.dispatcher.statistics().failures < 200


async def test_errors_that_no_store_should_raise_end_the_worker_when_they_come_too_often(
    autojump_clock: MockClock,
) -> None:
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with open_shop() as shop:
            worker = shop.hire()
            await trio.sleep(1)
            worker.store.fault = lambda: ZeroDivisionError("a bug")
            await trio.sleep(60)


async def test_a_worker_tells_its_figures(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        dispatcher = shop.hire(pool=2, count_every=5.0).dispatcher
        shop.takes("long", 49)
        shop.takes("short", 0)
        shop.fails("bad", ValueError("no luck"))
        await shop.enqueue("short", 2)
        await shop.enqueue("bad")
        await trio.sleep(1)
        await shop.enqueue("long", 5)
        await trio.sleep(11)
        now = dispatcher.statistics()
        assert (now.running, now.waiting, now.completed, now.failed) == (2, 0, 2, 1)
        assert (now.available, now.scheduled) == (3, 1)
        assert now.lag_seconds == pytest.approx(9, abs=0.1)
        assert {(count.queue, count.state, count.jobs) for count in dispatcher.figures.counts} == {
            ("default", "available", 3),
            ("default", "scheduled", 1),
            ("default", "running", 2),
        }
