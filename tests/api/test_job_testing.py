"""The test kit for jobs: they run when the test says so, and what it asserts, it can also refuse."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from tertulia.actors.jobs.job import BaseJob, JobContext, Result, Snooze
from tertulia.actors.jobs.lane import conversation_key
from tertulia.actors.jobs.queue import JobQueue
from tertulia.actors.jobs.registry import JobRegistry
from tertulia.api import demo
from tertulia.api.engine import Engine, open_engine
from tertulia.api.job_testing import (
    JobFailed,
    assert_enqueued,
    drain_jobs,
    job_due,
    jobs_by_hand,
    jobs_inline,
    refute_enqueued,
)
from tertulia.api.testing import EPOCH, virtual_wall_clock
from tertulia.storage.records import JobState

done: list[str] = []


class Greet(BaseJob[str]):
    """Knows one word that it cannot bear."""

    async def perform(self, context: JobContext, args: str) -> Result:
        if args == "boo":
            raise ValueError("how rude")
        done.append(args)
        return None


class Poll(BaseJob[None]):
    """Comes again every minute, for ever."""

    async def perform(self, context: JobContext, args: None) -> Result:
        done.append("poll")
        return Snooze(60)


class Chain(BaseJob[int]):
    def __init__(self, jobs: JobQueue) -> None:
        self._jobs = jobs

    async def perform(self, context: JobContext, args: int) -> None:
        done.append(f"link {args}")
        if args:
            await self._jobs.enqueue(Chain, args - 1)


@asynccontextmanager
async def open_kit() -> AsyncGenerator[Engine]:
    done.clear()
    registry = JobRegistry()
    registry.add(Greet)
    registry.add(Poll)
    async with open_engine("memory:", jobs_by_hand(), jobs=registry, wall_clock=virtual_wall_clock) as engine:
        engine.world.registry.add(Chain, lambda: Chain(engine.jobs))
        await demo.fill(engine.world.reads, engine.world.journal, EPOCH, 1)
        yield engine


async def test_jobs_wait_until_they_are_drained(autojump_clock: MockClock) -> None:
    async with open_kit() as engine:
        await engine.jobs.enqueue(Greet, "hello")
        await trio.sleep(100)
        assert done == []
        [job] = await drain_jobs(engine)
        assert (job.kind, done) == ("greet", ["hello"])
        ended = await engine.jobs.store.job(0, job.id)
        assert ended is not None
        assert (ended.state, ended.attempt) == (JobState.COMPLETED, 1)
        assert await drain_jobs(engine) == []


async def test_a_drain_runs_what_the_jobs_enqueue(autojump_clock: MockClock) -> None:
    async with open_kit() as engine:
        await engine.jobs.enqueue(Chain, 3)
        await drain_jobs(engine)
        assert done == ["link 3", "link 2", "link 1", "link 0"]


async def test_jobs_for_later_are_due_up_to_an_instant_and_no_clock_moves(autojump_clock: MockClock) -> None:
    async with open_kit() as engine:
        await engine.jobs.enqueue_in(Greet, "in a minute", 60)
        await engine.jobs.enqueue_in(Greet, "in an hour", 3600)
        now = trio.current_time()
        assert await drain_jobs(engine) == []
        await drain_jobs(engine, until=job_due(engine, 60))
        assert (done, trio.current_time()) == (["in a minute"], now)


async def test_a_job_that_comes_again_and_again_does_so_until_that_instant(autojump_clock: MockClock) -> None:
    async with open_kit() as engine:
        await engine.jobs.enqueue(Poll, None)
        await drain_jobs(engine, until=job_due(engine, 600))
        assert done == ["poll"] * 11


async def test_the_exception_of_a_job_is_the_exception_of_the_drain(autojump_clock: MockClock) -> None:
    async with open_kit() as engine:
        await engine.jobs.enqueue(Greet, "boo")
        with pytest.raises(ValueError, match="how rude"):
            await drain_jobs(engine)
        failed = await assert_enqueued(engine, Greet, "boo")
        assert (failed.state, failed.attempt, failed.errors[0]["error"]) == ("scheduled", 1, "ValueError: how rude")


async def test_failures_can_be_left_to_the_next_attempt(autojump_clock: MockClock) -> None:
    async with open_kit() as engine:
        await engine.jobs.enqueue(Greet, "boo")
        ran = await drain_jobs(engine, until=job_due(engine, 3600), raising=False)
        assert [job.attempt for job in ran] == [1, 2, 3]
        await refute_enqueued(engine, Greet)


async def test_a_job_in_an_actors_lane_runs_in_the_actor(autojump_clock: MockClock) -> None:
    async with open_kit() as engine:
        await engine.jobs.enqueue(Greet, "hello", account_id=1, key=conversation_key(1))
        await drain_jobs(engine)
        assert done == ["hello"]
        await engine.jobs.enqueue(Greet, "boo", account_id=1, key=conversation_key(1))
        with pytest.raises(JobFailed, match="how rude"):
            await drain_jobs(engine)


async def test_assert_enqueued_tells_jobs_apart_by_all_that_is_named(autojump_clock: MockClock) -> None:
    async with open_kit() as engine:
        due = job_due(engine, 60)
        await engine.jobs.enqueue_at(Greet, "hello", due, account_id=1, key="front door")
        found = await assert_enqueued(engine, Greet, "hello", account_id=1, key="front door", run_at=due + 900)
        assert found.run_at == due
        with pytest.raises(AssertionError, match="front door"):
            await assert_enqueued(engine, Greet, "hello", account_id=1, key="back door")
        with pytest.raises(AssertionError, match='"hello"'):
            await assert_enqueued(engine, Greet, "good-bye", account_id=1)
        with pytest.raises(AssertionError, match="There is none"):
            await assert_enqueued(engine, Greet, "hello")
        with pytest.raises(AssertionError):
            await assert_enqueued(engine, Greet, account_id=1, run_at=due + 1100)


async def test_refute_enqueued_fails_where_there_is_such_a_job(autojump_clock: MockClock) -> None:
    async with open_kit() as engine:
        await engine.jobs.enqueue(Greet, "hello")
        await refute_enqueued(engine, Greet, "good-bye")
        await refute_enqueued(engine, Poll)
        with pytest.raises(AssertionError, match="should not"):
            await refute_enqueued(engine, Greet, "hello")


async def test_inline_jobs_have_run_when_enqueue_returns(autojump_clock: MockClock) -> None:
    async with open_kit() as engine:
        async with jobs_inline(engine):
            await engine.jobs.enqueue(Greet, "hello")
            assert done == ["hello"]
            await engine.jobs.enqueue_in(Greet, "later", 60)
            with pytest.raises(ValueError, match="how rude"):
                await engine.jobs.enqueue(Greet, "boo")
        await engine.jobs.enqueue(Greet, "outside")
        assert done == ["hello"]


async def test_an_engine_that_runs_its_jobs_by_itself_cannot_be_drained(autojump_clock: MockClock) -> None:
    async with open_engine("memory:", wall_clock=virtual_wall_clock) as engine:
        with pytest.raises(RuntimeError, match="jobs_by_hand"):
            await drain_jobs(engine)
