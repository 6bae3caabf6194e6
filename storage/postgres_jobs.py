"""Jobs on PostgreSQL, but for claims. In: calls of `job_contract.JobStore`. Out: jobs, and what became of leases.

The functions take the connection first. Jobs are locked by several nodes at a time and in no common order, so whoever
locks many passes over those that are locked (`skip locked`) instead of waiting.
"""

from __future__ import annotations

from collections.abc import Collection

import asyncpg

from .job_contract import JobFilter, QueueCount
from .job_rules import lost_too_often
from .postgres_conditions import Conditions
from .postgres_reads import select, select_one
from .records import Job, JobQueueRow, JobState
from .rows import to_value

_OWN = "id = any($1::text[]) and worker = $2 and state = 'running'"

#: The rows that are locked are being finished by this very worker, or rescued from it: the next time will tell.
_RENEW = f"""
with own as (select id from jobs where {_OWN} for update skip locked),
     renewed as (update jobs set lease_until = $3 from own where jobs.id = own.id)
select id from jobs where {_OWN}
"""
_GIVE_BACK = (
    "update jobs set state = 'available', attempt = attempt - 1, worker = null, lease_until = null, started_at = null"
)
_LOST = "state = 'running' and lease_until <= $1 for update skip locked"
_GIVE_UP = "update jobs set state = 'discarded', finished_at = $2, errors = $3 where id = $1"

_ENDED = (
    "(select id from jobs where state = '{0}' and finished_at < {1}"
    " and (unique_key is null or unique_until < {1}) order by finished_at limit $3)"
)
_ALL_ENDED = " union all ".join(
    _ENDED.format(state, before)
    for state, before in ((JobState.COMPLETED, "$1"), (JobState.CANCELLED, "$1"), (JobState.DISCARDED, "$2"))
)
_PRUNE = f"""
delete from jobs where id in (
    select id from jobs where id in (select id from ({_ALL_ENDED}) as ended limit $3) for update skip locked
)
"""

_COUNTS = " union all ".join(
    f"select queue, '{state}', count(*), min(run_at) from jobs where state = '{state}' group by queue"
    for state in (JobState.SCHEDULED, JobState.AVAILABLE, JobState.RUNNING, JobState.DISCARDED)
)

#: From one queue to the next by the index, however many jobs there are.
_QUEUES = """
with recursive found (queue) as (
    (select queue from jobs where state = '{0}' order by queue limit 1)
    union all
    select (select queue from jobs where state = '{0}' and queue > found.queue order by queue limit 1)
      from found where found.queue is not null
)
select queue from found where queue is not null
"""
_WAITING_QUEUES = " union ".join(f"({_QUEUES.format(state)})" for state in JobState.WAITING)


async def renew_leases(db: asyncpg.Connection, worker: str, job_ids: Collection[str], lease_until: int) -> list[str]:
    return [row[0] for row in await db.fetch(_RENEW, list(job_ids), worker, lease_until)]


async def release_jobs(db: asyncpg.Connection, worker: str, job_ids: Collection[str]) -> None:
    locked = f"select id from jobs where {_OWN} order by id for update"
    await db.execute(f"{_GIVE_BACK} where id in ({locked})", list(job_ids), worker)


async def rescue_jobs(db: asyncpg.Connection, now: int, max_losses: int) -> int:
    async with db.transaction(isolation="read_committed"):
        lost = await select(db, Job, _LOST, now)
        if lost:
            back = f"{_GIVE_BACK}, losses = losses + 1 where id = any($1::text[])"
            await db.execute(back, [job.id for job in lost])
        given_up = [
            (job.id, now, to_value([*job.errors, lost_too_often(job.attempt, job.losses + 1, now)]))
            for job in lost
            if job.losses + 1 > max_losses
        ]
        if given_up:
            await db.executemany(_GIVE_UP, given_up)
        return len(lost)


async def prune_jobs(db: asyncpg.Connection, completed_before: int, discarded_before: int, limit: int) -> int:
    return _count(await db.execute(_PRUNE, completed_before, discarded_before, limit))


def _count(status: str) -> int:
    """How many rows a statement changed, from what PostgreSQL says of it: `DELETE 3`."""
    return int(status.rpartition(" ")[2])


async def queue_counts(db: asyncpg.Connection) -> list[QueueCount]:
    return [QueueCount(*row) for row in await db.fetch(f"{_COUNTS} order by 1, 2")]


async def queues(db: asyncpg.Connection) -> list[JobQueueRow]:
    return await select(db, JobQueueRow, "true order by name")


async def waiting_queues(db: asyncpg.Connection) -> list[str]:
    return [row[0] for row in await db.fetch(f"{_WAITING_QUEUES} order by 1")]


async def jobs(db: asyncpg.Connection, account_id: int, which: JobFilter, before: str | None, limit: int) -> list[Job]:
    where = Conditions()
    where.add("account_id = {}", account_id)
    for column in ("state", "queue", "kind", "key"):
        value = getattr(which, column)
        if value is not None:
            where.add(f"{column} = {{}}", value)
    if before is not None:
        where.add("id < {}", before)
    return await select(db, Job, f"{where} order by id desc limit {where.parameter(limit)}", *where.parameters)


async def job(db: asyncpg.Connection, account_id: int, job_id: str) -> Job | None:
    return await select_one(db, Job, "id = $1 and account_id = $2", job_id, account_id)
