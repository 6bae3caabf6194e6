"""A worker is killed with SIGKILL amid its jobs, again and again; every job must end, and be run twice only where a
kill left it without its worker.

Which jobs those are, the store says: after each kill, what is `running` there was leased to the dead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tertulia.actors.jobs.limits import JobLimits
from tertulia.actors.jobs.queue import new_job
from tertulia.api.engine import open_engine
from tertulia.api.settings import Settings
from tertulia.storage.job_contract import JobFilter
from tertulia.storage.records import Job, JobState
from tertulia.storage.writes import Enqueue, Unit

from . import counted_jobs

ENGINE = 0
PAGE = 1000
#: Of the store; a worker's own settings are those of `tertulia worker`.
QUIET = Settings(jobs=JobLimits(run=False))


@dataclass(slots=True)
class Verdict:
    jobs: int
    states: Mapping[str, int]
    begun: Mapping[str, int]  # by job
    ended: Mapping[str, int]
    leased: set[str]  # to a worker, when it was killed
    kills: int
    seconds: float
    complaints: list[str] = field(default_factory=list[str])

    def judge(self) -> None:
        unfinished = self.jobs - self.states.get(JobState.COMPLETED, 0)
        if unfinished:
            self.complaints.append(f"{unfinished} jobs were not completed: {dict(self.states)}")
        lost = self.jobs - len(self.ended)
        if lost:
            self.complaints.append(f"{lost} jobs never ran to their end")
        strange = {job for job, count in self.begun.items() if count > 1} - self.leased
        if strange:
            self.complaints.append(f"{len(strange)} jobs ran twice although no kill took their worker")

    def lines(self) -> list[str]:
        runs = Counter(self.begun.values())
        return [
            f"{self.jobs} jobs, {self.kills} kills, {self.seconds:.1f} s: {dict(self.states)}",
            "runs begun: " + ", ".join(f"{jobs} jobs {times}x" for times, jobs in sorted(runs.items())),
            f"runs ended: {sum(self.ended.values())} of {len(self.ended)} jobs",
            f"leased at a kill: {len(self.leased)} jobs",
        ]


async def run(
    database: str, folder: Path, *, jobs: int, kills: int, seconds: float, pause: float, patience: float = 120.0
) -> Verdict:
    """Enqueue, work and kill.

    Args:
        seconds: what each job takes.
        pause: seconds between a worker's start and its death.
        patience: seconds after the last kill in which all must be done.
    """
    notes = folder / "notes"
    began = trio.current_time()
    await _enqueue(database, jobs, seconds)
    leased: set[str] = set()
    for _ in range(kills):
        worker = await _start(database, notes)
        await trio.sleep(pause)
        os.kill(worker.pid, signal.SIGKILL)
        await worker.wait()
        leased |= {job.id for job in await _all_jobs(database) if job.state == JobState.RUNNING}
    worker = await _start(database, notes)
    with trio.move_on_after(patience):
        await _all_ended(notes, jobs)
    worker.terminate()
    if await worker.wait() != 0:
        print(f"the worker ended with {worker.returncode}", file=sys.stderr)
    states = Counter(job.state for job in await _all_jobs(database))
    verdict = Verdict(
        jobs, states, _counts(notes, "began"), _counts(notes, "ended"), leased, kills, trio.current_time() - began
    )
    verdict.judge()
    return verdict


async def _enqueue(database: str, jobs: int, seconds: float) -> None:
    async with open_engine(database, QUIET) as engine:
        world = engine.world
        new = [new_job(counted_jobs.Counted, seconds, now=world.wall_clock()) for _ in range(jobs)]
        for first in range(0, jobs, PAGE):
            await world.journal.write(Unit(ENGINE, writes=[Enqueue(job) for job in new[first : first + PAGE]]))


async def _all_jobs(database: str) -> list[Job]:
    found: list[Job] = []
    async with open_engine(database, QUIET) as engine:
        while True:
            before = found[-1].id if found else None
            which = JobFilter(kind=counted_jobs.Counted.name)
            page = await engine.jobs.find(ENGINE, which, before=before, limit=PAGE)
            found += page
            if len(page) < PAGE:
                return found


async def _all_ended(notes: Path, jobs: int) -> None:
    while True:
        if len(_counts(notes, "ended")) == jobs:
            return
        await trio.sleep(0.5)


async def _start(database: str, notes: Path) -> trio.Process:
    command = [sys.executable, "-m", "tertulia", "worker", "--database", database, "--jobs", counted_jobs.__name__]
    environment = {**os.environ, counted_jobs.FILE: str(notes)}
    worker = await trio.lowlevel.open_process(command, env=environment, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    await worker.stdout.receive_some()  # it says so when it works
    return worker


def _counts(notes: Path, what: str) -> Counter[str]:
    lines = notes.read_text().splitlines() if notes.exists() else []
    return Counter(job for job, said in (line.split() for line in lines) if said == what)
