"""A test kit for jobs: they run when the test says so, in the test's own task, on the real store and real actors.

    async def test_a_receipt_is_sent_an_hour_later(autojump_clock):
        async with open_engine("memory:", jobs_by_hand(), jobs=registry, wall_clock=virtual_wall_clock) as engine:
            await engine.jobs.enqueue_in(SendReceipt, Receipt(to="ann@example.org"), 3600)
            await assert_enqueued(engine, SendReceipt, Receipt(to="ann@example.org"))
            assert await drain_jobs(engine) == []  # nothing is due
            (job,) = await drain_jobs(engine, until=job_due(engine, 3600))
            await refute_enqueued(engine, SendReceipt)

The engine is opened with the settings of `jobs_by_hand`, so that no dispatcher takes the jobs first. Where a test does
not care when, `async with jobs_inline(engine)` runs every job as soon as it is enqueued.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import trio

from ..actors.entities import WallClock
from ..actors.jobs.attempt import attempt_here
from ..actors.jobs.endings import write_of
from ..actors.jobs.job import BaseJob, encode_args
from ..actors.jobs.lane import Ran, RunJob
from ..actors.jobs.queue import ENGINE
from ..engine.mailbox import Lane
from ..storage.job_contract import Claim, JobFilter
from ..storage.records import Job, JobState
from ..storage.writes import Unit
from .engine import Engine, address_of
from .settings import Settings

Args = TypeVar("Args")

ANY: Any = object()  # whatever it is
WORKER = "test"
#: More jobs than this in one go are taken for jobs that enqueue each other without end.
MOST = 10_000
PAGE = 200


class JobFailed(AssertionError):
    """A job in an actor's lane failed; the message is its error."""


def jobs_by_hand(settings: Settings | None = None) -> Settings:
    """Settings of an engine whose jobs wait for `drain_jobs`."""
    settings = settings or Settings()
    return replace(settings, jobs=replace(settings.jobs, run=False))


def job_due(engine: Engine, seconds: float) -> int:
    """The instant in so many seconds, in milliseconds, for `until` and `run_at`."""
    return engine.world.wall_clock() + round(seconds * 1000)


async def drain_jobs(engine: Engine, until: int | None = None, *, raising: bool = True) -> list[Job]:
    """Run what is due, and what that enqueues, until nothing is left. Returns the jobs that ran, in this order.

    Args:
        until: jobs scheduled up to this instant (milliseconds) are due as well. No clock moves; a job that is early
            is told by its context that its time has come.
        raising: a job that fails raises here, once its failure is written down; else it is left to its next attempt.

    Raises:
        Exception: what a job raised in `perform`.
        JobFailed: a job in an actor's lane failed.
        RuntimeError: the engine runs its jobs by itself.
        AssertionError: the jobs do not come to rest.
    """
    if engine.dispatcher is not None:
        raise RuntimeError("This engine runs its jobs by itself; open it with the settings of jobs_by_hand().")
    ran: list[Job] = []
    while True:
        job = await _next(engine, until)
        if job is None:
            return ran
        ran.append(job)
        if len(ran) > MOST:
            raise AssertionError(f"{MOST} jobs have run, and there are more: the last one was a {job.kind}.")
        error = await _run(engine, job)
        if error is not None and raising:
            raise error


async def _next(engine: Engine, until: int | None) -> Job | None:
    world = engine.world
    now = max(world.wall_clock(), until or 0)
    for queue in await world.jobs.store.waiting_queues():
        lease = now + round(world.job_limits.lease * 1000)
        claimed = await world.jobs.store.claim_jobs(Claim(WORKER, now, lease, {queue: 1}))
        if claimed.jobs:
            return claimed.jobs[0]
    return None


async def _run(engine: Engine, job: Job) -> Exception | None:
    """Returns why it failed."""
    world = engine.world
    kind = world.registry.of(job.kind)
    if kind is None:
        raise RuntimeError(f"A job is a {job.kind!r}, which is not in the registry of this engine.")
    address = None if kind.beside else address_of(job.account_id, job.key)
    began = trio.current_time()
    error: Exception | None = None
    if address is None:
        ending, error = await attempt_here(
            job, world.registry, engine.directory, address_of, _time_of(job, engine), world.job_limits
        )
    else:
        answer: Ran = await engine.directory.ref(*address).ask(RunJob(job), lane=Lane.JOBS, timeout=kind.timeout)
        ending = answer.ending
        if ending.counted and ending.state in (JobState.SCHEDULED, JobState.DISCARDED):
            error = JobFailed(f"{job.kind}: {ending.error}")
        if answer.written:
            return error
    write = write_of(job, ending, world.wall_clock(), trio.current_time() - began, world.job_limits)
    await world.journal.write(Unit(job.account_id, writes=[write]))
    return error


def _time_of(job: Job, engine: Engine) -> WallClock:
    """A clock that is no earlier than the job's own time, so that one that puts itself off gets ahead."""
    return lambda: max(engine.world.wall_clock(), job.run_at)


@asynccontextmanager
async def jobs_inline(engine: Engine) -> AsyncGenerator[None]:
    """Run every job that is enqueued in the block, once it is due: `enqueue` returns when the job has run.

    What an actor enqueues in its turn runs as soon as that is committed. What is to run later waits for `drain_jobs`.

    Raises: as `drain_jobs`; for what an actor enqueued, in an exception group.
    """
    queue = engine.jobs
    news = trio.Event()

    async def run_it(_: Job) -> None:
        await drain_jobs(engine)

    def heard(_: int) -> None:
        news.set()

    async def follow() -> None:
        nonlocal news
        while True:
            await news.wait()
            news = trio.Event()
            await drain_jobs(engine)

    queue.after, before = run_it, queue.after
    queue.listeners.append(heard)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            yield
            await drain_jobs(engine)
            nursery.cancel_scope.cancel()
    finally:
        queue.after = before
        queue.listeners.remove(heard)


async def assert_enqueued(
    engine: Engine,
    job: type[BaseJob[Args]],
    args: Args = ANY,
    *,
    account_id: int = ENGINE,
    key: str | None = ANY,
    run_at: int = ANY,
    within: float = 1.0,
) -> Job:
    """There is such a job, and it has not begun. Returns it.

    Args:
        run_at: milliseconds; `within` seconds of it are near enough.
    """
    waiting = await _waiting(engine, job, account_id)
    for found in waiting:
        if _is(found, args, key, run_at, within):
            return found
    raise AssertionError(f"No such {job.name} of account {account_id} is enqueued. {_told(waiting)}")


async def refute_enqueued(
    engine: Engine,
    job: type[BaseJob[Args]],
    args: Args = ANY,
    *,
    account_id: int = ENGINE,
    key: str | None = ANY,
    run_at: int = ANY,
    within: float = 1.0,
) -> None:
    """There is no such job that has not begun."""
    for found in await _waiting(engine, job, account_id):
        if _is(found, args, key, run_at, within):
            raise AssertionError(f"This should not have been enqueued. {_told([found])}")


async def _waiting(engine: Engine, job: type[BaseJob[Any]], account_id: int) -> list[Job]:
    await engine.world.journal.published()
    found: list[Job] = []
    for state in JobState.WAITING:
        which = JobFilter(state=state, kind=job.name)
        found += await engine.jobs.store.jobs(account_id, which, limit=PAGE)
    return found


def _is(job: Job, args: Any, key: str | None, run_at: int, within: float) -> bool:
    return (
        (args is ANY or job.args == encode_args(args))
        and (key is ANY or job.key == key)
        and (run_at is ANY or abs(job.run_at - run_at) <= within * 1000)
    )


def _told(jobs: list[Job]) -> str:
    if not jobs:
        return "There is none of them."
    lines = [f"{job.kind} {job.args}, key {job.key}, {job.state} at {job.run_at}" for job in jobs]
    return "There is:\n" + "\n".join(lines)
