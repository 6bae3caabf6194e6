"""Jobs in an SQLite file: what costs no write, and what is left of a write that SQLite cannot do."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import pytest

from tertulia.engine.errors import Unavailable
from tertulia.storage import sqlite_jobs, sqlite_webhooks
from tertulia.storage.job_contract import Claim
from tertulia.storage.migrations.apply import apply_migrations
from tertulia.storage.records import JobQueueRow, JobState
from tertulia.storage.sqlite import SqliteStore
from tertulia.storage.sqlite_connections import Connections, connect
from tertulia.storage.writes import Upsert

from .job_sample import LEASE, claim, claimed_ids, enqueue, finished, found, job, scheduled
from .sample import T, commit_all, fill, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def writer(path: Path) -> sqlite3.Connection:
    connection = connect(str(path))
    apply_migrations(connection)
    connection.execute("pragma busy_timeout = 1")
    return connection


@pytest.fixture
async def sqlite_store(path: Path, writer: sqlite3.Connection) -> AsyncGenerator[SqliteStore]:
    connections = Connections(writer, [connect(str(path), read_only=True)])
    store = SqliteStore(connections)
    await fill(store)
    yield store
    await connections.aclose()


async def test_who_asks_for_work_where_there_is_none_begins_no_transaction(
    sqlite_store: SqliteStore, writer: sqlite3.Connection
) -> None:
    """It asks once a second or more often: each transaction would cost a flush to the disk."""
    await enqueue(sqlite_store, scheduled("a", T + 9), job("b", queue="other"), job("c", key="k"))
    await claim(sqlite_store, {"other": 1})
    statements: list[str] = []
    writer.set_trace_callback(statements.append)
    asked = Claim("worker-2", T, T + LEASE, {"default": 5, "other": 5}, busy_keys=["k"])
    assert sqlite_jobs.claim_jobs(writer, asked).jobs == []
    assert sqlite_jobs.renew_leases(writer, "worker-2", ["b"], T + 99) == []
    sqlite_jobs.release_jobs(writer, "worker-2", ["b"])
    assert sqlite_jobs.rescue_jobs(writer, T, 5) == 0
    assert sqlite_jobs.prune_jobs(writer, T, T, 9) == 0
    assert sqlite_webhooks.prune_deliveries(writer, T, 9) == 0
    writer.set_trace_callback(None)
    assert statements
    assert [sql for sql in statements if sql.split()[0] not in ("select", "with")] == []


async def test_a_job_store_whose_file_cannot_be_written_is_unavailable_and_works_again_later(
    sqlite_store: SqliteStore, path: Path
) -> None:
    await finished(sqlite_store, "old", JobState.COMPLETED, T)
    await enqueue(sqlite_store, job("a"), job("b"))
    await claim(sqlite_store, {"default": 1})
    with closing(connect(str(path))) as other:
        other.execute("begin immediate")
        for work in (
            lambda: claim(sqlite_store),
            lambda: sqlite_store.renew_leases("worker-1", ["a"], T + 99),
            lambda: sqlite_store.release_jobs("worker-1", ["a"]),
            lambda: sqlite_store.rescue_jobs(T + LEASE, 5),
            lambda: sqlite_store.prune_jobs(completed_before=T + 1, discarded_before=T, limit=9),
        ):
            with pytest.raises(Unavailable, match="cannot be written: database is locked"):
                await work()
        other.execute("rollback")
    assert (await found(sqlite_store, "a")).lease_until == T + LEASE
    assert await claimed_ids(sqlite_store) == ["b"]


async def test_a_claim_is_written_whole_or_not_at_all(sqlite_store: SqliteStore, writer: sqlite3.Connection) -> None:
    bucket = JobQueueRow(name="default", rate=1.0, burst=9.0, tokens=9.0, refilled_at=T)
    await commit_all(sqlite_store, writing(Upsert(bucket)))
    await enqueue(sqlite_store, job("a"), scheduled("b", T))
    before = [await found(sqlite_store, id) for id in "ab"]
    writer.execute("create trigger broken before update on job_queues begin select raise(abort, 'broken'); end")
    with pytest.raises(Unavailable, match="broken"):
        await claim(sqlite_store)
    assert [await found(sqlite_store, id) for id in "ab"] == before
    writer.execute("drop trigger broken")
    assert await claimed_ids(sqlite_store) == ["a", "b"]


async def test_a_claim_leaves_no_snapshot_open_that_would_keep_the_log_from_being_copied(
    sqlite_store: SqliteStore, path: Path
) -> None:
    await enqueue(sqlite_store, *(job(f"{n:03}") for n in range(300)), scheduled("later", T + 9))
    await claim(sqlite_store, {"default": 1})
    with closing(sqlite3.connect(path)) as other:
        busy, *_ = other.execute("pragma wal_checkpoint(truncate)").fetchone()
    assert busy == 0
