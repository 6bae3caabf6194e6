"""Jobs on SQLite. In: calls of `job_contract.JobStore`. Out: jobs, claimed or listed.

The functions take the connection first. Those that change something run on the writer and raise Unavailable; what they
change they look for first, outside a transaction: a worker that asks for work where there is none costs no write. No
other program writes to the file, so what they found is still so when they write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from ..engine.errors import Unavailable
from .job_contract import Claim, Claimed, JobFilter, QueueCount
from .job_rules import lost_too_often, tokens_now, whole_tokens
from .records import Job, JobQueueRow, JobState
from .rows import to_value
from .sqlite_reads import select, select_one

#: Scheduled jobs of one queue that become available by one claim.
DUE_PER_CLAIM = 1000

_GIVEN = "id in (select value from json_each(?))"
#: All of it is in the index.
_AVAILABLE = (
    "select id, key from jobs where state = 'available' and queue = ?"
    " and account_id not in (select value from json_each(?))"
    " and (key is null or key not in (select value from json_each(?)))"
    " order by priority, run_at, id"
)
_RUNNING_KEYS = "select key from jobs where state = 'running' and key is not null"
_DUE = "select id from jobs where state = 'scheduled' and queue = ? and run_at <= ? order by run_at limit ?"
_START = (
    "update jobs set state = 'running', attempt = attempt + 1, worker = ?, lease_until = ?, started_at = ?"
    f" where {_GIVEN}"
)
_GIVE_BACK = (
    "update jobs set state = 'available', attempt = attempt - 1, worker = null, lease_until = null, started_at = null"
)
#: A condition that holds for the jobs of a worker, and whose parameters are the worker and a JSON array of ids.
_STILL_ITS_OWN = f"{_GIVEN} and state = 'running' and worker = ?"


@contextmanager
def _told_plainly(database: sqlite3.Connection) -> Generator[None]:
    """Errors of SQLite as errors of the store; the transaction under way is rolled back."""
    try:
        try:
            yield
        finally:
            if database.in_transaction:
                database.execute("rollback")
    except sqlite3.Error as error:
        raise Unavailable(f"The database cannot be written: {error}.") from error


@contextmanager
def _transaction(database: sqlite3.Connection) -> Generator[None]:
    """Inside `_told_plainly`, which rolls it back where it does not come to its end."""
    database.execute("begin immediate")
    yield
    database.execute("commit")


# What a worker does.


def claim_jobs(database: sqlite3.Connection, claim: Claim) -> Claimed:
    with _told_plainly(database):
        due = _due(database, claim.now)
        if due:
            database.execute("begin immediate")
            database.execute(f"update jobs set state = 'available' where {_GIVEN}", (_json(due),))
        charged: dict[str, float] = {}
        jobs = list(_first_of_each_queue(database, claim, charged))
        if jobs:
            if not due:
                database.execute("begin immediate")
            _start(database, claim, jobs)
            database.executemany(
                "update job_queues set tokens = ?, refilled_at = max(refilled_at, ?) where name = ?",
                [(tokens, claim.now, name) for name, tokens in charged.items()],
            )
        if due or jobs:
            database.execute("commit")
        starts = [_first_start(database, queue) for queue in _queues_with(database, JobState.SCHEDULED)]
        return Claimed([_started(job, claim) for job in jobs], min(starts, default=None))


def _due(database: sqlite3.Connection, now: int) -> list[str]:
    due: list[str] = []
    for queue in _queues_with(database, JobState.SCHEDULED):
        due += [row[0] for row in database.execute(_DUE, (queue, now, DUE_PER_CLAIM))]
    return due


def _first_of_each_queue(database: sqlite3.Connection, claim: Claim, charged: dict[str, float]) -> Iterator[Job]:
    """Notes in `charged` what the buckets of queues with a rate then hold."""
    rows = {row.name: row for row in queues(database)}
    accounts = _json([account_id for account_id in claim.busy_accounts if account_id != 0])
    keys = {*claim.busy_keys, *(row[0] for row in database.execute(_RUNNING_KEYS))}
    for queue, limit in claim.queues.items():
        row = rows.get(queue)
        tokens = tokens_now(row, claim.now) if row is not None else None
        if tokens is not None:
            limit = min(limit, whole_tokens(tokens))
        if limit < 1 or (row is not None and row.paused):
            continue
        found = _first(database, (queue, accounts, _json(keys)), keys, limit)
        if tokens is not None and found:
            charged[queue] = tokens - len(found)
        yield from found


def _first(database: sqlite3.Connection, parameters: Sequence[Any], keys: set[str], limit: int) -> list[Job]:
    """Adds the keys of what it finds to `keys`."""
    found: list[str] = []
    for job_id, key in database.execute(_AVAILABLE, parameters):
        if key is not None:
            if key in keys:
                continue
            keys.add(key)
        found.append(job_id)
        if len(found) == limit:
            break
    if not found:
        return []
    jobs = {job.id: job for job in select(database, Job, _GIVEN, (_json(found),))}
    return [jobs[job_id] for job_id in found]


def _start(database: sqlite3.Connection, claim: Claim, jobs: Sequence[Job]) -> None:
    started = (claim.worker, claim.lease_until, claim.now, _json([job.id for job in jobs]))
    database.execute(_START, started)
    freed = [job.id for job in jobs if job.unique_while_waiting and job.unique_key is not None]
    if freed:
        database.execute(f"update jobs set unique_key = null where {_GIVEN}", (_json(freed),))


def _started(job: Job, claim: Claim) -> Job:
    return msgspec.structs.replace(
        job,
        state=JobState.RUNNING,
        attempt=job.attempt + 1,
        worker=claim.worker,
        lease_until=claim.lease_until,
        started_at=claim.now,
        unique_key=None if job.unique_while_waiting else job.unique_key,
    )


def renew_leases(database: sqlite3.Connection, worker: str, job_ids: Collection[str], lease_until: int) -> list[str]:
    own = (_json(job_ids), worker)
    with _told_plainly(database):
        kept = [row[0] for row in database.execute(f"select id from jobs where {_STILL_ITS_OWN}", own)]
        if kept:
            with _transaction(database):
                database.execute(f"update jobs set lease_until = ? where {_STILL_ITS_OWN}", (lease_until, *own))
        return kept


def release_jobs(database: sqlite3.Connection, worker: str, job_ids: Collection[str]) -> None:
    own = (_json(job_ids), worker)
    with _told_plainly(database):
        if database.execute(f"select 1 from jobs where {_STILL_ITS_OWN} limit 1", own).fetchone() is not None:
            with _transaction(database):
                database.execute(f"{_GIVE_BACK} where {_STILL_ITS_OWN}", own)


def rescue_jobs(database: sqlite3.Connection, now: int, max_losses: int) -> int:
    with _told_plainly(database):
        lost = select(database, Job, "state = 'running' and lease_until <= ?", (now,))
        if lost:
            with _transaction(database):
                database.execute(
                    f"{_GIVE_BACK}, losses = losses + 1 where {_GIVEN}", (_json([job.id for job in lost]),)
                )
                database.executemany(
                    "update jobs set state = 'discarded', finished_at = ?, errors = ? where id = ?",
                    [
                        (now, to_value([*job.errors, lost_too_often(job.attempt, job.losses + 1, now)]), job.id)
                        for job in lost
                        if job.losses + 1 > max_losses
                    ],
                )
        return len(lost)


def prune_jobs(database: sqlite3.Connection, completed_before: int, discarded_before: int, limit: int) -> int:
    ended = (
        "select id from (select id from jobs where {} and finished_at < ? and (unique_key is null or unique_until < ?)"
        " order by finished_at limit ?)"
    )
    query = " union all ".join(map(ended.format, ("state in ('completed', 'cancelled')", "state = 'discarded'")))
    parameters = (completed_before, completed_before, limit, discarded_before, discarded_before, limit, limit)
    return remove(database, "jobs", f"{query} limit ?", parameters)


def remove(database: sqlite3.Connection, table: str, query: str, parameters: Sequence[Any]) -> int:
    """Delete the rows whose ids a query finds; returns how many. Raises Unavailable."""
    with _told_plainly(database):
        found = [row[0] for row in database.execute(query, parameters)]
        if found:
            with _transaction(database):
                database.execute(f"delete from {table} where {_GIVEN}", (_json(found),))
        return len(found)


# What is asked about jobs.


def queue_counts(database: sqlite3.Connection) -> list[QueueCount]:
    states = (JobState.SCHEDULED, JobState.AVAILABLE, JobState.RUNNING, JobState.DISCARDED)
    counts = " union all ".join(
        f"select queue, '{state}', count(*), min(run_at) from jobs where state = '{state}' group by queue"
        for state in states
    )
    return [QueueCount(*row) for row in database.execute(f"{counts} order by 1, 2")]


def queues(database: sqlite3.Connection) -> list[JobQueueRow]:
    return select(database, JobQueueRow, "true order by name", ())


def waiting_queues(database: sqlite3.Connection) -> list[str]:
    return sorted({queue for state in JobState.WAITING for queue in _queues_with(database, state)})


def jobs(database: sqlite3.Connection, account_id: int, which: JobFilter, before: str | None, limit: int) -> list[Job]:
    conditions = ["account_id = ?"]
    parameters: list[Any] = [account_id]
    for column in ("state", "queue", "kind", "key"):
        value = getattr(which, column)
        if value is not None:
            conditions.append(f"+{column} = ?")  # not by the index on it: the page is in the order of the ids
            parameters.append(value)
    if before is not None:
        conditions.append("id < ?")
        parameters.append(before)
    return select(database, Job, f"{' and '.join(conditions)} order by id desc limit ?", [*parameters, limit])


def job(database: sqlite3.Connection, account_id: int, job_id: str) -> Job | None:
    return select_one(database, Job, "id = ? and account_id = ?", (job_id, account_id))


def _queues_with(database: sqlite3.Connection, state: str) -> list[str]:
    """The queues that have jobs in this state: from one to the next by the index, however many jobs there are."""
    next_queue = f"select min(queue) from jobs where state = '{state}'"
    rows = database.execute(
        f"with recursive found (queue) as ({next_queue} union all"
        f" select ({next_queue} and queue > found.queue) from found where found.queue is not null)"
        " select queue from found where queue is not null"
    )
    return [row[0] for row in rows]


def _first_start(database: sqlite3.Connection, queue: str) -> int:
    query = "select min(run_at) from jobs where state = 'scheduled' and queue = ?"
    return int(database.execute(query, (queue,)).fetchone()[0])


def _json(values: Collection[Any]) -> str:
    return msgspec.json.encode(list(values)).decode()
