"""Giving jobs to workers, on PostgreSQL, of which each node has some. In: a `Claim`. Out: jobs that are running now.

A look that finds nothing is one read, and writes nothing. Otherwise one transaction takes the first jobs of each queue,
in three steps:

1. Lock candidates and pass over those that another node has locked (`skip locked`): nobody waits, and no job is given
   twice.
2. For those with a key that are the first of it, try an advisory lock on the key until the end of the transaction;
   drop the others, and those of keys that another node has.
3. In a new statement, start what is left, but no job whose key has a running one.

Why no key runs twice: a job starts only in a transaction that holds its key's advisory lock, which PostgreSQL lets go
after the commit is visible. Who gets the lock next sees the running job in step 3, since under READ COMMITTED every
statement sees all that was committed when it began. The check in step 1 alone would be from before the lock.

Queues with a rate have one bucket for all nodes, in their row, which is locked while it is charged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import asyncpg

from .job_contract import Claim, Claimed
from .job_rules import tokens_now, whole_tokens
from .postgres_reads import all_as_json, records_from_json, select
from .records import Job, JobQueueRow
from .rows import columns_of, records_from

#: Scheduled jobs of one queue that become available by one claim.
DUE_PER_CLAIM = 1000
#: How often more candidates are locked in the place of those that were dropped; the next claim gets the rest.
ROUNDS = 4

#: The first number of the advisory locks on keys: "jobs" in ASCII. The second is the key's hash.
_LOCKS = int.from_bytes(b"jobs", "big")

#: Each queue with scheduled jobs and its first one: from queue to queue by the index, however many jobs there are.
_FIRST_SCHEDULED = """
with recursive scheduled (queue, run_at) as (
    (select queue, run_at from jobs where state = 'scheduled' order by queue, run_at limit 1)
    union all
    select next.queue, next.run_at from scheduled, lateral (
        select queue, run_at from jobs where state = 'scheduled' and queue > scheduled.queue
         order by queue, run_at limit 1
    ) as next
)
"""
_LOOK = f"""
{_FIRST_SCHEDULED}
select (select min(run_at) from scheduled),
       array(select queue from scheduled where run_at <= $2),
       array(select queue from unnest($1::text[]) as wanted (queue) where (
           select true from jobs where jobs.queue = wanted.queue and state = 'available'
            order by priority, run_at, id limit 1)),
       {all_as_json(JobQueueRow, "name = any($1::text[])")}
"""
_NEXT = f"{_FIRST_SCHEDULED} select min(run_at) from scheduled"

_MAKE_AVAILABLE = """
update jobs set state = 'available' where id in (
    select id from jobs where state = 'scheduled' and queue = $1 and run_at <= $2 order by run_at limit $3
       for update skip locked
)
"""

#: The keys of running jobs and the busy ones are looked up in a hash table: a key may have thousands of jobs in wait.
_CANDIDATES = """
select id, key from jobs
 where state = 'available' and queue = $1 and account_id <> all($2::bigint[])
   and (key is null or key not in (
       select other.key from jobs as other where other.state = 'running' and other.key is not null
        union all select unnest($3::text[])))
 order by priority, run_at, id limit $4 for update skip locked
"""
#: By `jobs_by_key`, whose columns these are in their order, and which has no other states.
_EARLIER = """exists (
    select from jobs as other
     where other.key = jobs.key and other.state in ('available', 'running') and other.queue = jobs.queue
       and (other.state, other.queue, other.priority, other.run_at, other.id)
         < ('available', jobs.queue, jobs.priority, jobs.run_at, jobs.id)
)"""
#: Only for a job that is the first of its key: whoever may not start a job does not keep others from starting another.
_LOCK_KEYS = f"""
select id from jobs where id = any($1::text[])
   and case when {_EARLIER} then false else pg_try_advisory_xact_lock({_LOCKS}, hashtext(key)) end
"""
_START = f"""
update jobs
   set state = 'running', attempt = attempt + 1, worker = $2, lease_until = $3, started_at = $4,
       unique_key = case when unique_while_waiting then null else unique_key end
 where id = any($1::text[]) and (key is null or not exists (
           select from jobs as other where other.key = jobs.key and other.state = 'running'))
returning {", ".join(columns_of(Job))}
"""
_CHARGE = "update job_queues set tokens = $2, refilled_at = greatest(refilled_at, $3) where name = $1"

_in_order = attrgetter("priority", "run_at", "id")


async def claim_jobs(connection: asyncpg.Connection, claim: Claim) -> Claimed:
    row = await connection.fetchrow(_LOOK, list(claim.queues), claim.now)
    assert row is not None
    next_at, due, ready, said = row
    said = {queue.name: queue for queue in records_from_json(JobQueueRow, said)}
    ready = [queue for queue in claim.queues if queue in {*due, *ready} and _may_give(said.get(queue), claim.now)]
    if not due and not ready:
        return Claimed([], next_at)
    async with connection.transaction(isolation="read_committed"):
        for queue in due:
            await connection.execute(_MAKE_AVAILABLE, queue, claim.now, DUE_PER_CLAIM)
        worker = _Claiming(connection, claim, {*claim.busy_keys})
        limited = {name for name, queue in said.items() if queue.rate is not None}
        given: dict[str, list[Job]] = {}
        # Buckets stay locked until the end, and are locked in one order on all nodes: nobody waits in a circle.
        for queue in [queue for queue in ready if queue not in limited] + sorted(limited.intersection(ready)):
            given[queue] = await worker.first_of(queue, limited=queue in limited)
        if due:
            next_at = await connection.fetchval(_NEXT)
    return Claimed([job for queue in ready for job in given[queue]], next_at)


def _may_give(queue: JobQueueRow | None, now: int) -> bool:
    if queue is None:
        return True
    tokens = tokens_now(queue, now)
    return not queue.paused and (tokens is None or whole_tokens(tokens) > 0)


@dataclass(slots=True)
class _Claiming:
    """One transaction of one worker."""

    connection: asyncpg.Connection
    claim: Claim
    keys: set[str]  # whose jobs are not given: busy ones, and those that this claim met
    accounts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.accounts = [account_id for account_id in self.claim.busy_accounts if account_id != 0]

    async def first_of(self, queue: str, *, limited: bool) -> list[Job]:
        """The first jobs of a queue, started, in their order."""
        given: list[Job] = []
        bucket: float | None = None
        limit = self.claim.queues[queue]
        for _ in range(ROUNDS):
            wanted = limit - len(given)
            if wanted < 1:
                break
            rows: Any = await self.connection.fetch(_CANDIDATES, queue, self.accounts, sorted(self.keys), wanted)
            if rows and limited and bucket is None:
                bucket = await self._lock_bucket(queue)
                limit = wanted = min(limit, whole_tokens(bucket))
            given += await self._start(await self._with_own_keys(rows[:wanted]))
            if len(rows) < wanted:
                break
        if bucket is not None and given:
            await self.connection.execute(_CHARGE, queue, bucket - len(given), self.claim.now)
        return sorted(given, key=_in_order)

    async def _lock_bucket(self, queue: str) -> float:
        """What the bucket holds, which nobody else changes until the transaction ends."""
        rows = await select(self.connection, JobQueueRow, "name = $1 for update", queue)
        if not rows or rows[0].paused:  # since a moment ago
            return 0.0
        tokens = tokens_now(rows[0], self.claim.now)
        return float(self.claim.queues[queue]) if tokens is None else tokens

    async def _with_own_keys(self, rows: Iterable[tuple[str, str | None]]) -> list[str]:
        """The jobs without a key, and the first one of each key that no other node has."""
        ids: list[str] = []
        firsts: list[str] = []
        for id, key in rows:
            if key is None:
                ids.append(id)
            elif key not in self.keys:
                self.keys.add(key)
                firsts.append(id)
        if firsts:
            ids += [row["id"] for row in await self.connection.fetch(_LOCK_KEYS, firsts)]
        return ids

    async def _start(self, ids: Sequence[str]) -> list[Job]:
        if not ids:
            return []
        claim = self.claim
        rows: Any = await self.connection.fetch(_START, ids, claim.worker, claim.lease_until, claim.now)
        return records_from(Job, rows)
