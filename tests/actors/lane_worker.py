"""The least of a worker: it claims what is due, one after the other, and hands it to the actor whose lane it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tertulia.actors.account import AccountActor
from tertulia.actors.conversation import ConversationActor
from tertulia.actors.jobs.endings import ending_of, write_of
from tertulia.actors.jobs.job import BaseJob, JobContext
from tertulia.actors.jobs.lane import Ran, RunJob, actor_of
from tertulia.actors.jobs.queue import new_job
from tertulia.engine.mailbox import Lane
from tertulia.storage.job_contract import Claim, JobFilter
from tertulia.storage.records import Job
from tertulia.storage.writes import Enqueue, Unit

from .kit import World

LEASE = 30_000  # milliseconds


@dataclass
class LaneWorker:
    world: World
    name: str = "worker"

    @property
    def now(self) -> int:
        return self.world.collaborators.wall_clock()

    @property
    def store(self) -> Any:
        return self.world.collaborators.jobs.store

    async def enqueue(self, job: type[BaseJob[Any]], args: Any, key: str | None = None, account: int = 1) -> Job:
        """Of the account, due now."""
        new = new_job(job, args, now=self.now, account_id=account, key=key)
        await self.world.collaborators.journal.write(Unit(account, writes=[Enqueue(new)]))
        return new

    async def jobs(self, account: int = 1, **which: str) -> list[Job]:
        """The account's, the first one first."""
        return list(reversed(await self.store.jobs(account, JobFilter(**which), limit=1000)))

    async def job(self, kind: type[BaseJob[Any]], account: int = 1) -> Job:
        """The only one of its kind."""
        [job] = await self.jobs(account, kind=kind.name)
        return job

    async def claim(self, queue: str = "default") -> list[Job]:
        claimed = await self.store.claim_jobs(Claim(self.name, self.now, self.now + LEASE, {queue: 1}))
        return list(claimed.jobs)

    async def start(self, job: Job) -> Ran:
        """Let the actor run a claimed job, and write its end where that was left to the worker."""
        actor = actor_of(job.key)
        assert actor is not None
        kind, id = actor
        collaborators = self.world.collaborators
        if kind == "conversation":
            ref: Any = self.world.directory.ref(ConversationActor, (job.account_id, id))
        else:
            ref = self.world.directory.ref(AccountActor, id)
        ran: Ran = await ref.ask(RunJob(job), lane=Lane.JOBS, timeout=100)
        if not ran.written:
            write = write_of(job, ran.ending, self.now, ran.duration, collaborators.job_limits)
            await collaborators.journal.write(Unit(job.account_id, writes=[write]))
        return ran

    async def run_due(self, queue: str = "default") -> list[Ran]:
        """Everything of the queue that is due, and what that makes due."""
        ran: list[Ran] = []
        while jobs := await self.claim(queue):
            for job in jobs:
                if actor_of(job.key) is None:
                    await self.perform(job)
                else:
                    ran.append(await self.start(job))
        return ran

    async def perform(self, job: Job) -> None:
        """A job without arguments, as the pool does."""
        collaborators = self.world.collaborators
        performer = collaborators.registry.make(job.kind)
        ending = ending_of(await performer.perform(JobContext(job, collaborators.wall_clock), None), self.now)
        write = write_of(job, ending, self.now, 0.0, collaborators.job_limits)
        await collaborators.journal.write(Unit(job.account_id, writes=[write]))
