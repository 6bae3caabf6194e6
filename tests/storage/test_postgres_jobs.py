"""Workers of several nodes on one PostgreSQL database. What every store promises is in `test_jobs_contract.py`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
import trio

from tertulia.storage.contracts import Store
from tertulia.storage.open import open_store
from tertulia.storage.postgres_writer import Writer
from tertulia.storage.records import Job, JobQueueRow, JobState
from tertulia.storage.writes import Enqueue, Unit, Update, Upsert

from .job_sample import LEASE, claim, claimed_ids, enqueue, finish, found, job
from .postgres_nodes import PATIENCE, Database
from .sample import OURS, T, commit_all, log_unit, message, writing


@pytest.fixture
async def one(database: Database) -> AsyncGenerator[Store]:
    async with open_store(database.url) as store:
        yield store


@pytest.fixture
async def two(database: Database) -> AsyncGenerator[Store]:
    async with open_store(database.url) as store:
        yield store


#: That wrote anything, in the whole server; the one that asks writes nothing.
LAST_TRANSACTION = "select pg_snapshot_xmax(pg_current_snapshot())::text"


def ids(jobs: Any) -> list[str]:
    return [job.id for job in jobs]


# Each job once


async def test_nodes_that_claim_at_the_same_time_share_the_jobs(one: Store, two: Store) -> None:
    await enqueue(one, *(job(f"{n:03}") for n in range(300)))
    given: list[str] = []

    async def work(store: Store, worker: str) -> None:
        while claimed := await claimed_ids(store, {"default": 7}, worker=worker):
            given.extend(claimed)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(work, (one, two)[number % 2], f"worker-{number}")
    assert sorted(given) == [f"{n:03}" for n in range(300)]


async def test_nobody_waits_for_a_job_that_somebody_else_has_locked(database: Database, one: Store) -> None:
    await enqueue(one, *map(job, "abc"))
    async with database.locked("select from jobs where id = 'a' for update") as release:
        with trio.fail_after(PATIENCE):
            assert await claimed_ids(one) == ["b", "c"]
        await release()
    assert await claimed_ids(one) == ["a"]


async def test_leases_are_renewed_and_ended_ones_rescued_beside_jobs_that_somebody_else_has_locked(
    database: Database, one: Store
) -> None:
    await enqueue(one, *map(job, "abc"))
    await claim(one)
    async with database.locked("select from jobs where id = 'b' for update"):
        with trio.fail_after(PATIENCE):
            kept = await one.renew_leases("worker-1", ["a", "b"], T + 2 * LEASE)
            assert await one.rescue_jobs(T + LEASE, 3) == 1
    assert sorted(kept) == ["a", "b"], "whoever ends it has it still"
    assert [(await found(one, id)).state for id in "abc"] == ["running", "running", "available"]
    assert [(await found(one, id)).lease_until for id in "ab"] == [T + 2 * LEASE, T + LEASE]


async def test_a_look_where_nothing_can_be_given_writes_nothing(database: Database, one: Store) -> None:
    await commit_all(one, writing(Upsert(JobQueueRow(name="slow", rate=1, tokens=0, refilled_at=T))))
    await enqueue(one, job("a", queue="slow"), job("b", key="k"), job("c", key="k"), job("d", account_id=OURS))
    assert await claimed_ids(one) == ["b", "d"]
    before = await database.value(LAST_TRANSACTION)
    assert ids((await claim(one, {"default": 5, "slow": 5, "none": 5})).jobs) == []
    assert await one.rescue_jobs(T, 3) == 0
    assert await database.value(LAST_TRANSACTION) == before


# One running job of a key


@pytest.fixture
async def exclusive(database: Database) -> AsyncGenerator[None]:
    """PostgreSQL itself sees to it that no key runs twice: whoever tries fails."""
    await database.fetch("create unique index one_of_a_key on jobs (key) where state = 'running'")
    yield
    await database.fetch("drop index one_of_a_key")


async def test_of_one_key_never_two_jobs_run_however_nodes_race(exclusive: None, one: Store, two: Store) -> None:
    await enqueue(one, *(job(f"{n:03}", key=f"key-{n % 5}") for n in range(200)))
    done: list[Job] = []
    writing_to = {one: trio.Lock(), two: trio.Lock()}  # a store has one writer

    async def work(store: Store, worker: str) -> None:
        while len(done) < 200:
            for each in (await claim(store, {"default": 3}, worker=worker)).jobs:
                done.append(each)
                async with writing_to[store]:
                    await finish(store, each)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(work, (one, two)[number % 2], f"worker-{number}")
    assert len(set(ids(done))) == 200
    for key in range(5):
        own = [each.id for each in done if each.key == f"key-{key}"]
        assert own == sorted(own), "in their order"


async def test_a_job_whose_key_began_to_run_since_it_was_looked_at_is_not_given(database: Database, one: Store) -> None:
    await commit_all(one, writing(Upsert(JobQueueRow(name="default", rate=9, burst=9, tokens=9, refilled_at=T))))
    await enqueue(one, job("a", key="k"), job("b", key="k"), job("c"))
    given: list[str] = []

    async def look() -> None:
        given.extend(await claimed_ids(one, {"default": 1}))

    # The worker has chosen `a` and waits for the queue's bucket, and another node starts the other job of the key.
    async with database.locked("select from job_queues for update") as release, trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await database.until_waiting(1)
        await database.fetch("update jobs set state = 'running' where id = 'b'")
        await release()
    assert given == ["c"]


async def test_a_job_is_not_given_while_another_node_is_about_to_start_an_earlier_one_of_its_key(
    database: Database, one: Store
) -> None:
    await enqueue(one, job("a", key="k"), job("b", key="k"), job("c"))
    async with database.locked("select from jobs where id = 'a' for update") as release:
        assert await claimed_ids(one) == ["c"]
        await release()
    assert await claimed_ids(one) == ["a"]


async def test_a_key_that_another_node_is_about_to_start_is_left_to_it(database: Database, one: Store) -> None:
    await enqueue(one, job("a", key="k"), job("b", key="other"))
    lock = f"select pg_advisory_xact_lock({int.from_bytes(b'jobs', 'big')}, hashtext('k'))"
    async with database.locked(lock) as release:
        assert await claimed_ids(one) == ["b"]
        await release()
    assert await claimed_ids(one) == ["a"]


async def test_a_claim_is_filled_although_the_first_jobs_are_all_of_one_key(one: Store) -> None:
    await enqueue(one, *(job(f"a{n}", key="k") for n in range(9)), job("b"), job("c", key="other"))
    assert await claimed_ids(one, {"default": 3}) == ["a0", "b", "c"]


# Queues with a rate


async def test_nodes_share_a_queue_s_rate(one: Store, two: Store) -> None:
    row = JobQueueRow(name="default", rate=2.0, burst=5, tokens=5, refilled_at=T)
    await commit_all(one, writing(Upsert(row)))
    await enqueue(one, *(job(f"{n:02}") for n in range(40)))
    given: list[str] = []

    async def work(store: Store, now: int) -> None:
        given.extend(await claimed_ids(store, {"default": 3}, now=now))

    for now, total in ((T, 5), (T + 1000, 7)):
        async with trio.open_nursery() as nursery:
            for store in (one, two) * 4:
                nursery.start_soon(work, store, now)
        assert len(given) == len(set(given)) == total


async def test_nodes_that_name_queues_with_rates_in_another_order_do_not_block_each_other(
    database: Database, one: Store, two: Store
) -> None:
    for name in ("a", "b", "c"):
        row = JobQueueRow(name=name, rate=1.0, burst=50, tokens=50, refilled_at=T)
        await commit_all(one, writing(Upsert(row)))
    await enqueue(one, *(job(f"{name}{n}", queue=name) for name in ("a", "b", "c") for n in range(4)))
    given: dict[Store, list[str]] = {}

    async def look(store: Store, *names: str) -> None:
        given[store] = list(await claimed_ids(store, dict.fromkeys(names, 2)))

    async with (
        database.locked("select from job_queues where name = 'c' for update") as release,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(look, one, "b", "c", "a")
        await database.until_waiting(1)
        nursery.start_soon(look, two, "a", "b")
        await database.until_waiting(2)
        await release()
    assert given[one] == ["b0", "b1", "c0", "c1", "a0", "a1"]
    assert sorted(given[two]) == ["a2", "a3", "b2", "b3"]


# Batches


async def statements(database: Database, *units: Unit) -> list[str]:
    """What the server is sent for a batch."""
    sent: list[str] = []
    async with database.connected() as connection:
        writer = Writer()
        await database.bridge.call(writer.commit, connection, [Unit(OURS)])  # registered

        async def commit() -> dict[int, Exception]:
            with connection.query_logger(lambda query: sent.append(query.query)):
                return await writer.commit(connection, units)

        assert await database.bridge.call(commit) == {}
    return sent


async def test_hundreds_of_jobs_that_come_and_end_in_one_batch_are_a_statement_for_each_kind_of_change(
    database: Database, one: Store
) -> None:
    await enqueue(one, *(job(f"a{n:03}") for n in range(300)))
    given = (await claim(one, {"default": 300})).jobs
    units: list[Unit] = []
    for each in given:
        where = {"account_id": OURS, "id": each.id, "worker": each.worker, "attempt": each.attempt}
        ended: dict[str, Any] = {"state": "completed", "worker": None, "lease_until": None, "finished_at": T}
        units.append(writing(Update(Job, where, ended), Enqueue(job(f"b{each.id}"))))
    sent = await statements(database, *units)
    assert sum("update jobs" in query for query in sent) == 1
    assert sum("insert into jobs" in query for query in sent) == 1
    assert await database.fetch("select state, count(*)::int from jobs group by 1 order by 1") == [
        ("available", 300),
        ("completed", 300),
    ]


# Wake-ups


class Ear:
    def __init__(self) -> None:
        self.times = 0
        self._news = trio.Event()

    def heard(self) -> None:
        self.times += 1
        self._news.set()
        self._news = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await self._news.wait()

    async def until_times(self, times: int) -> None:
        await self.until(lambda: self.times >= times)


async def test_a_node_hears_of_jobs_that_another_one_enqueued_and_not_of_its_own(one: Store, two: Store) -> None:
    first, second = Ear(), Ear()
    async with one.job_wakeups(first.heard), two.job_wakeups(second.heard):
        await first.until_times(1)  # listening
        await second.until_times(1)
        await enqueue(one, job("a"), job("b"))
        await second.until_times(2)
        await enqueue(two, job("c"))
        await first.until_times(2)
    assert (first.times, second.times) == (2, 2)


async def test_only_a_job_that_is_due_and_written_wakes(one: Store, two: Store) -> None:
    ear = Ear()
    stale = log_unit(7, message(8))
    stale.writes = [Enqueue(job("a"))]
    async with two.job_wakeups(ear.heard):
        await ear.until_times(1)
        await enqueue(one, job("b", state=JobState.SCHEDULED, run_at=T + 1))
        assert list(await one.commit([stale])) == [0]
        await commit_all(one, log_unit(0, message(1)))
        await enqueue(one, job("c"))
        await ear.until_times(2)
    assert ear.times == 2, "notifications arrive in the order of the commits"


async def test_a_node_that_did_not_hear_for_a_while_is_told_to_look(database: Database, one: Store, two: Store) -> None:
    ear = Ear()
    async with two.job_wakeups(ear.heard):
        await ear.until_times(1)
        await database.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and query ilike 'listen%'"
        )
        await ear.until_times(2)
        await enqueue(one, job("a"))
        await ear.until_times(3)


async def test_a_listener_does_not_stay_behind(database: Database, one: Store) -> None:
    listeners = (
        "select count(*) = {} from pg_stat_activity where datname = current_database() and query ilike 'listen%'"
    )
    ear = Ear()
    async with one.job_wakeups(ear.heard):
        await ear.until_times(1)
        await database.until(listeners.format(1))
    await database.until(listeners.format(0))
