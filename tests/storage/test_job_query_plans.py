"""However many jobs have ended, and however many conversations there are, work is found by an index made for it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tertulia.storage import sqlite_jobs, sqlite_webhooks, sqlite_writer
from tertulia.storage.job_contract import Claim, JobFilter
from tertulia.storage.migrations.apply import apply_migrations
from tertulia.storage.records import TABLES, Job
from tertulia.storage.sqlite_connections import connect
from tertulia.storage.writes import Enqueue, Update

from .job_sample import LEASE, job, scheduled
from .query_plans import Query, plans
from .sample import T, writing

#: Each holds the jobs of one state, and is read from end to end only for a count, or where that is what is few.
OF_ONE_STATE = {"jobs_available", "jobs_scheduled", "jobs_running", "jobs_discarded"}

WHERE: dict[str, Any] = {"account_id": 1, "id": "a", "worker": "w", "attempt": 1}
LISTED = JobFilter("running", "default", "Greet", "k")
CLAIM = Claim("w", T, T + LEASE, {"default": 2}, [7], ["k"])
FINISH = writing(Update(Job, WHERE, {"state": "completed", "worker": None, "lease_until": None, "finished_at": T}))
ENQUEUE = writing(Enqueue(job("u", unique_key="once", unique_until=T + 9)))

#: Each query, and the index that serves it.
QUERIES: Mapping[str, tuple[Query, str]] = {
    "claim": (lambda db: sqlite_jobs.claim_jobs(db, CLAIM), "COVERING INDEX jobs_available (queue=?)"),
    "claim: which keys are running": (
        lambda db: sqlite_jobs.claim_jobs(db, CLAIM),
        "jobs_running (key>?)",
    ),
    "claim: what is due": (lambda db: sqlite_jobs.claim_jobs(db, CLAIM), "jobs_scheduled (queue=? AND run_at<?)"),
    "claim: when is the next due": (lambda db: sqlite_jobs.claim_jobs(db, CLAIM), "jobs_scheduled (queue>?)"),
    "finish": (lambda db: sqlite_writer.commit(db, [FINISH]), "PRIMARY KEY (id=?)"),
    "enqueue a unique one": (lambda db: sqlite_writer.commit(db, [ENQUEUE]), "jobs_by_unique_key (unique_key=?)"),
    "renew": (lambda db: sqlite_jobs.renew_leases(db, "w", ["a"], T), "PRIMARY KEY (id=?)"),
    "release": (lambda db: sqlite_jobs.release_jobs(db, "w", ["a"]), "PRIMARY KEY (id=?)"),
    "rescue": (lambda db: sqlite_jobs.rescue_jobs(db, T, 5), "jobs_running"),
    "prune": (lambda db: sqlite_jobs.prune_jobs(db, T, T, 9), "jobs_done (finished_at<?)"),
    "prune discarded": (lambda db: sqlite_jobs.prune_jobs(db, T, T, 9), "jobs_discarded (finished_at<?)"),
    "counts of what is due": (sqlite_jobs.queue_counts, "COVERING INDEX jobs_available"),
    "counts of what is not": (sqlite_jobs.queue_counts, "COVERING INDEX jobs_scheduled"),
    "counts of what failed": (sqlite_jobs.queue_counts, "COVERING INDEX jobs_discarded"),
    "queues": (sqlite_jobs.waiting_queues, "jobs_available (queue>?)"),
    "list": (lambda db: sqlite_jobs.jobs(db, 1, JobFilter(), "z", 9), "jobs_by_account (account_id=? AND id<?)"),
    "list some": (
        lambda db: sqlite_jobs.jobs(db, 1, JobFilter("running", "a", "b", "c"), None, 9),
        "jobs_by_account",
    ),
    "webhooks": (lambda db: sqlite_webhooks.webhooks(db, 1), "webhooks_by_account"),
    "deliveries that wait": (
        lambda db: sqlite_webhooks.waiting_deliveries(db, 1, 1, 9),
        "webhook_deliveries_waiting (webhook_id=?)",
    ),
    "count of those": (
        lambda db: sqlite_webhooks.count_waiting_deliveries(db, 1, 1, 9),
        "webhook_deliveries_waiting (webhook_id=?)",
    ),
    "webhooks with deliveries": (sqlite_webhooks.waiting_webhooks, "webhook_deliveries_waiting (webhook_id=?)"),
    "delivery log": (
        lambda db: sqlite_webhooks.deliveries(db, 1, 1, "waiting", "z", 9),
        "webhook_deliveries_by_webhook (account_id=? AND webhook_id=? AND id<?)",
    ),
    "prune deliveries": (
        lambda db: sqlite_webhooks.prune_deliveries(db, T, 9),
        "webhook_deliveries_finished (finished_at<?)",
    ),
    "idle conversations": (
        lambda db: sqlite_webhooks.idle_conversations(db, 1, T, (0, 0), 9),
        "conversations_by_activity (account_id=? AND last_activity_at>? AND last_activity_at<?)",
    ),
    "waiting conversations": (
        lambda db: sqlite_webhooks.waiting_conversations(db, 1, T, (0, 0), 9),
        "conversations_waiting (account_id=? AND waiting_since>? AND waiting_since<?)",
    ),
}


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """With a job of each kind that a claim looks at."""
    connection = connect(":memory:")
    apply_migrations(connection)
    jobs = [job("a", key="l"), job("b"), scheduled("c", T), scheduled("d", T + 9)]
    sqlite_writer.commit(connection, [writing(*map(Enqueue, jobs))])
    yield connection
    connection.close()


def read_from_end_to_end(steps: list[str]) -> list[str]:
    """Tables, and indices that hold all of a table's rows; not those of queues and webhooks, of which there are few."""
    tables = {table for table, _ in TABLES.values()} - {"job_queues", "webhooks"}
    found = [(step, re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step)) for step in steps]
    return [step for step, scan in found if scan and scan[1] in tables and scan[2] not in OF_ONE_STATE]


@pytest.mark.parametrize(("query", "index"), QUERIES.values(), ids=QUERIES)
def test_a_query_finds_its_rows_by_the_index_that_was_made_for_it(
    database: sqlite3.Connection, query: Query, index: str
) -> None:
    steps = plans(database, query)
    assert read_from_end_to_end(steps) == []
    assert index in " ".join(steps)


@pytest.mark.parametrize("name", [name for name in QUERIES if not name.startswith("counts")])
def test_rows_are_read_in_the_order_in_which_they_are_asked_for(database: sqlite3.Connection, name: str) -> None:
    """Sorting would read everything that waits before it gives the first job."""
    assert not [step for step in plans(database, QUERIES[name][0]) if "TEMP B-TREE" in step]


def test_a_table_that_is_read_from_end_to_end_would_be_noticed(database: sqlite3.Connection) -> None:
    assert read_from_end_to_end(plans(database, lambda db: db.execute("select * from jobs where kind = 'x'")))
    assert read_from_end_to_end(plans(database, lambda db: db.execute("select count(*) from jobs")))
