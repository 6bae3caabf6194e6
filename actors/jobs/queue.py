"""How work is put off. In: jobs from anywhere. Next hop: the store, in the transaction of what causes the job.

Inside an actor's turn a job is a part of what the turn decides (`Draft.enqueue`, `AccountChange.enqueue`): it is
written together with the events that cause it, or not at all. Elsewhere `JobQueue.enqueue` writes it by itself.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from ...engine.errors import Conflict, Invalid, NotFound
from ...storage.contracts import Journal
from ...storage.ids import new_id
from ...storage.job_contract import JobFilter, JobStore
from ...storage.records import Job, JobQueueRow, JobState
from ...storage.writes import Enqueue, Unit, Update, Upsert
from ..entities import WallClock
from .job import BaseJob, encode_args
from .limits import JobLimits

Args = TypeVar("Args")

ENGINE = 0  # the account of jobs that are nobody's

PRIORITIES = range(10)


def new_job(
    job: type[BaseJob[Args]],
    args: Args,
    *,
    now: int,
    account_id: int = ENGINE,
    key: str | None = None,
    run_at: int | None = None,
    queue: str | None = None,
    priority: int | None = None,
    unique_key: str | None = None,
    limits: JobLimits | None = None,
) -> Job:
    """A job as it is stored.

    Args:
        now: milliseconds.
        run_at: milliseconds; None: at once.
        unique_key: in place of the one that is made of kind, account, key and arguments, where the job is unique.

    Raises:
        Invalid: the arguments are too large, or the priority is none.
    """
    limits = limits or JobLimits()
    text = encode_args(args)
    if len(text.encode()) > limits.args:
        raise Invalid(f"The arguments of a job may have {limits.args} bytes; put what is larger into the store.")
    priority = job.priority if priority is None else priority
    if priority not in PRIORITIES:
        raise Invalid("The priority of a job is a number from 0 (first) to 9.")
    unique = job.unique_for > 0
    if unique and unique_key is None:
        digest = hashlib.sha256("\0".join((str(account_id), key or "", text)).encode()).hexdigest()
        unique_key = f"{job.name}:{digest[:32]}"
    later = run_at is not None and run_at > now
    return Job(
        id=new_id(now),
        account_id=account_id,
        queue=queue or job.queue,
        kind=job.name,
        args=text,
        key=key,
        priority=priority,
        max_attempts=job.max_attempts,
        state=JobState.SCHEDULED if later else JobState.AVAILABLE,
        run_at=now if run_at is None else run_at,
        created_at=now,
        unique_key=unique_key if unique else None,
        unique_until=now + math.ceil(job.unique_for * 1000) if unique else None,
        unique_while_waiting=unique and job.unique_while_waiting,
    )


class JobQueue:
    """Enqueues, cancels and retries jobs; one per engine."""

    def __init__(self, store: JobStore, journal: Journal, wall_clock: WallClock, limits: JobLimits) -> None:
        self._store = store
        self._journal = journal
        self._now = wall_clock
        self._limits = limits
        #: Called when jobs are durable, with the instant (milliseconds) at which the first of them is due.
        self.listeners: list[Callable[[int], None]] = []
        #: Called with the id of a job that was cancelled while it ran, here or elsewhere.
        self.cancel_listeners: list[Callable[[str], None]] = []
        #: What `enqueue` waits for besides; for tests, which run the job there and then.
        self.after: Callable[[Job], Awaitable[None]] | None = None
        #: The queues that jobs were put into since somebody looked.
        self.seen: set[str] = set()

    @property
    def store(self) -> JobStore:
        """What jobs, webhooks and deliveries are read from."""
        return self._store

    async def enqueue(self, job: type[BaseJob[Args]], args: Args, **options: Any) -> str:
        """Write a job down to be run as soon as there is room; returns its id. Options: as `new_job`.

        A unique job that is enqueued already is left as it is; the id that is returned is then nobody's.

        Raises:
            Invalid: the arguments are too large.
            Unavailable, Overloaded, Draining: of the store; nothing was acknowledged.
        """
        return await self.add(new_job(job, args, now=self._now(), limits=self._limits, **options))

    async def enqueue_in(self, job: type[BaseJob[Args]], args: Args, seconds: float, **options: Any) -> str:
        """Write a job down to be run in so many seconds; see `enqueue`."""
        now = self._now()
        run_at = now + math.ceil(seconds * 1000)
        return await self.add(new_job(job, args, now=now, run_at=run_at, limits=self._limits, **options))

    async def enqueue_at(self, job: type[BaseJob[Args]], args: Args, when: int, **options: Any) -> str:
        """Write a job down to be run at an instant (milliseconds since 1970), or soon after; see `enqueue`."""
        return await self.add(new_job(job, args, now=self._now(), run_at=when, limits=self._limits, **options))

    async def add(self, job: Job) -> str:
        """Write a job down that is made already; see `enqueue`."""
        await self._journal.write(Unit(job.account_id, writes=[Enqueue(job)]))
        self.committed([job])
        if self.after is not None:
            await self.after(job)
        return job.id

    def committed(self, jobs: Iterable[Job]) -> None:
        """These jobs are durable: whoever waits for work may look."""
        due = None
        for job in jobs:
            self.seen.add(job.queue)
            due = job.run_at if due is None else min(due, job.run_at)
        if due is not None:
            for listener in self.listeners:
                listener(due)

    # What is there already.

    async def find(
        self, account_id: int, which: JobFilter, *, before: str | None = None, limit: int = 25
    ) -> Sequence[Job]:
        """The account's jobs, the latest first; `before` is the id of the last one of the page before."""
        return await self.store.jobs(account_id, which, before=before, limit=limit)

    async def get(self, account_id: int, job_id: str) -> Job:
        """Raises NotFound: the account has no such job."""
        job = await self.store.job(account_id, job_id)
        if job is None:
            raise NotFound("There is no such job.")
        return job

    async def cancel(self, account_id: int, job_id: str) -> Job:
        """Do not run it, or stop it where it runs: its worker learns so when it renews the lease. Returns the job.

        Raises:
            NotFound: the account has no such job.
            Conflict: it has ended already.
        """
        job = await self._move(account_id, job_id, (*JobState.WAITING, JobState.RUNNING), self._cancelled)
        for listener in self.cancel_listeners:
            listener(job.id)
        return job

    async def retry(self, account_id: int, job_id: str) -> Job:
        """Run it now: once more, where it was out of attempts; at once, where it was to run later. Returns the job.

        Raises:
            NotFound: the account has no such job.
            Conflict: it is running, waiting, or completed.
        """
        states = (JobState.DISCARDED, JobState.CANCELLED, JobState.SCHEDULED)
        job = await self._move(account_id, job_id, states, self._again)
        self.committed([job])
        return job

    def _cancelled(self, job: Job) -> dict[str, Any]:
        return {
            "state": JobState.CANCELLED,
            "worker": None,
            "lease_until": None,
            "finished_at": self._now(),
            "unique_key": None,
        }

    def _again(self, job: Job) -> dict[str, Any]:
        return {
            "state": JobState.AVAILABLE,
            "run_at": self._now(),
            "finished_at": None,
            "losses": 0,
            "max_attempts": max(job.max_attempts, job.attempt + 1),
        }

    async def _move(
        self, account_id: int, job_id: str, states: Iterable[str], change: Callable[[Job], dict[str, Any]]
    ) -> Job:
        while True:
            job = await self.get(account_id, job_id)
            if job.state not in states:
                raise Conflict(f"The job is {job.state}.")
            where = {"account_id": account_id, "id": job_id, "state": job.state, "attempt": job.attempt}
            values = change(job)
            await self._journal.write(Unit(account_id, writes=[Update(Job, where, values)]))
            moved = await self.store.job(account_id, job_id)
            # Where a worker was faster, it is read again, as what it is now.
            if moved is None or moved.state != job.state or moved.run_at == values.get("run_at"):
                return moved or job

    # Queues as a whole.

    async def pause(self, queue: str) -> None:
        """Start none of its jobs any more, on any node; those that run go on."""
        await self._change_queue(queue, paused=True)

    async def resume(self, queue: str) -> None:
        await self._change_queue(queue, paused=False)
        self.wake()

    async def limit(self, queue: str, rate: float | None, burst: float = 1.0) -> None:
        """Start at most `rate` of its jobs a second, on all nodes together; None: as many as there is room for.

        Raises:
            Invalid: the rate or the burst is not greater than zero.
        """
        if (rate is not None and not rate > 0) or not burst >= 1:
            raise Invalid("A queue's rate is greater than zero, and its burst is 1 or more.")
        await self._change_queue(queue, rate=rate, burst=burst, tokens=burst, refilled_at=self._now())
        self.wake()

    async def _change_queue(self, name: str, **values: Any) -> None:
        known = {row.name: row for row in await self.store.queues()}
        if name in known:
            await self._journal.write(Unit(ENGINE, writes=[Update(JobQueueRow, {"name": name}, values)]))
        else:
            await self._journal.write(Unit(ENGINE, writes=[Upsert(JobQueueRow(name=name, **values))]))

    def wake(self) -> None:
        """There may be work now."""
        for listener in self.listeners:
            listener(self._now())
