"""The process under test of `jobs`: an engine that enqueues jobs and runs them. In: a database. Out: JSON.

    python -m bench.scenarios.jobs_program DATABASE SECONDS [PID...]

So many tasks enqueue a job each, wait until it has been performed, and enqueue the next. A job is durable before
`enqueue` returns, is fetched, leased and performed by the engine's worker, and its completion is durable as well.
What this process uses is told together with what the processes use that are named, such as a database's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from time import monotonic_ns
from typing import NamedTuple

import msgspec
import trio

from tertulia import BaseJob, Engine, JobContext, JobRegistry, open_engine
from tertulia.storage.job_contract import JobFilter
from tertulia.storage.records import JobState

from ..load.histogram import Histogram
from ..usage import usage_of

AT_ONCE = 64
WARM_UP = 0.5  # seconds
PAGE = 1000
PATIENCE = 10.0  # seconds in which what was enqueued last must be completed
POLL = 0.1
NOBODY = 0  # whose jobs they are: no account's


class Measured(NamedTuple):
    """What the program prints."""

    performed: int  # within the interval
    seconds: float
    cpu: dict[str, float]  # seconds, by program
    resident: dict[str, int]  # bytes, by program
    latencies: dict[int, int]  # a histogram's counts
    enqueued: int  # all in all
    twice: int  # jobs that were performed more than once
    completed: int  # as the store says


class Note(BaseJob[int]):
    """Tells the task that enqueued it, by the number of its turn."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def perform(self, context: JobContext, args: int) -> None:
        self._desk.performed(args)


class Desk:
    """Who waits for which job, and what was counted."""

    def __init__(self) -> None:
        self.waiting: dict[int, tuple[int, trio.Event]] = {}
        self.enqueued = self.count = self.twice = 0
        self.latencies = Histogram()
        self.open = True

    def performed(self, number: int) -> None:
        found = self.waiting.pop(number, None)
        if found is None:
            self.twice += 1
            return
        began, event = found
        self.latencies.record(monotonic_ns() - began)
        self.count += 1
        event.set()

    async def go_on(self, engine: Engine) -> None:
        """One task's work."""
        while self.open:
            self.enqueued += 1
            number, event = self.enqueued, trio.Event()
            self.waiting[number] = (monotonic_ns(), event)
            await engine.jobs.enqueue(Note, number)
            await event.wait()


async def measure(database: str, seconds: float, others: Sequence[int]) -> Measured:
    """Enqueue and perform for a while; then ask the store what became of it."""
    desk, registry, processes = Desk(), JobRegistry(), [os.getpid(), *others]
    registry.add(Note, lambda: Note(desk))
    async with open_engine(database, jobs=registry) as engine, trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(desk.go_on, engine)
        await trio.sleep(WARM_UP)
        desk.latencies, before = Histogram(), desk.count
        began, used = trio.current_time(), usage_of(processes)
        await trio.sleep(seconds)
        performed, took, usage = desk.count - before, trio.current_time() - began, usage_of(processes)
        latencies = dict(desk.latencies.counts)
        desk.open = False
        completed = await _completed(engine, desk)
        nursery.cancel_scope.cancel()  # who still waits for a job waits for one that is lost
    cpu = usage.since(used)
    return Measured(performed, took, cpu, usage.resident, latencies, desk.enqueued, desk.twice, completed)


async def _completed(engine: Engine, desk: Desk) -> int:
    """How many the store says are completed, once all are, or patience ends."""
    deadline, found = trio.current_time() + PATIENCE, await _count(engine)
    while found < desk.enqueued and trio.current_time() < deadline:
        await trio.sleep(POLL)
        found = await _count(engine)
    return found


async def _count(engine: Engine) -> int:
    which, count, last = JobFilter(kind=Note.name, state=JobState.COMPLETED), 0, None
    while True:
        page = await engine.jobs.find(NOBODY, which, before=last, limit=PAGE)
        count += len(page)
        if len(page) < PAGE:
            return count
        last = page[-1].id


if __name__ == "__main__":
    pids = [int(pid) for pid in sys.argv[3:]]
    print(msgspec.json.encode(trio.run(measure, sys.argv[1], float(sys.argv[2]), pids)).decode())
