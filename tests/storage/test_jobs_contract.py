"""Which jobs a worker is given, in which order, and what is written when it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

from tertulia.storage.contracts import Store
from tertulia.storage.records import Job, JobQueueRow, JobState
from tertulia.storage.writes import Update, Upsert

from .job_sample import LEASE, all_ids, claim, claimed_ids, enqueue, finish, found, job, scheduled
from .sample import OURS, THEIRS, T, commit_all, writing


async def set_queue(store: Store, name: str = "default", **values: Any) -> None:
    await commit_all(store, writing(Upsert(JobQueueRow(name=name, **values))))


# What a claim gives


async def test_a_claim_where_nothing_waits_gives_nothing(store: Store) -> None:
    claimed = await claim(store)
    assert (list(claimed.jobs), claimed.next_at) == ([], None)


async def test_a_job_that_is_given_runs_with_a_lease_and_is_stored_as_it_is_given(store: Store) -> None:
    await enqueue(store, job("a"))
    (given,) = (await claim(store, worker="worker-7", now=T + 5)).jobs
    assert given == msgspec.structs.replace(
        job("a"),
        state=JobState.RUNNING,
        attempt=1,
        worker="worker-7",
        lease_until=T + 5 + LEASE,
        started_at=T + 5,
    )
    assert await found(store, "a") == given


async def test_a_job_is_given_once(store: Store) -> None:
    await enqueue(store, job("a"))
    assert await claimed_ids(store) == ["a"]
    assert await claimed_ids(store, worker="worker-2") == []


async def test_workers_that_claim_at_the_same_time_get_different_jobs(store: Store) -> None:
    await enqueue(store, *(job(f"{n:02}") for n in range(40)))
    given: list[str] = []

    async def work(worker: str) -> None:
        while some := await claimed_ids(store, {"default": 3}, worker=worker):
            given.extend(some)

    async with trio.open_nursery() as nursery:
        for n in range(4):
            nursery.start_soon(work, f"worker-{n}")
    assert sorted(given) == [f"{n:02}" for n in range(40)]


async def test_jobs_come_by_priority_then_by_the_time_they_are_due_then_by_id(store: Store) -> None:
    await enqueue(
        store,
        job("d", run_at=T - 1),
        job("b"),
        job("a"),
        job("c", run_at=T - 9, priority=9),
        job("e", run_at=T, priority=0),
    )
    assert await claimed_ids(store) == ["e", "d", "a", "b", "c"]


async def test_a_claim_gives_no_more_than_it_asks_for_of_each_queue(store: Store) -> None:
    await enqueue(store, *(job(f"{queue}{n}", queue=queue) for queue in ("a", "b", "c") for n in range(4)))
    assert await claimed_ids(store, {"b": 2, "a": 3}) == ["b0", "b1", "a0", "a1", "a2"], "in the order of the queues"
    assert await claimed_ids(store, {"a": 9, "b": 0}) == ["a3"]
    assert len(await all_ids(store, state=JobState.AVAILABLE)) == 6


async def test_a_failed_job_that_runs_again_counts_the_attempt(store: Store) -> None:
    await enqueue(store, job("a"))
    (first,) = (await claim(store)).jobs
    where = {"account_id": OURS, "id": "a", "worker": first.worker, "attempt": first.attempt}
    values: dict[str, Any] = {
        "state": JobState.SCHEDULED,
        "run_at": T + 50,
        "worker": None,
        "lease_until": None,
        "duration": 3,
        "errors": [{"attempt": 1, "at": T, "error": "no"}],
    }
    await commit_all(store, writing(Update(Job, where, values)))
    assert await claimed_ids(store, now=T + 49) == []
    (second,) = (await claim(store, now=T + 50)).jobs
    assert (second.attempt, second.started_at, second.duration) == (2, T + 50, 3)
    assert second.errors == [{"attempt": 1, "at": T, "error": "no"}]


async def test_the_end_of_an_attempt_that_is_over_changes_nothing(store: Store) -> None:
    await enqueue(store, job("a"))
    (given,) = (await claim(store)).jobs
    await store.release_jobs("worker-1", ["a"])
    await claim(store, worker="worker-2")
    await finish(store, given)
    assert (await found(store, "a")).state == JobState.RUNNING


# Scheduled jobs


async def test_a_scheduled_job_is_given_when_its_time_has_come_and_not_before(store: Store) -> None:
    await enqueue(store, scheduled("a", T + 10))
    assert await claimed_ids(store, now=T + 9) == []
    assert (await found(store, "a")).state == JobState.SCHEDULED
    assert await claimed_ids(store, now=T + 10) == ["a"]


async def test_a_claim_tells_when_the_next_scheduled_job_of_any_queue_is_due(store: Store) -> None:
    await enqueue(store, scheduled("a", T + 30), scheduled("b", T + 20, queue="other"), scheduled("c", T + 10))
    assert (await claim(store)).next_at == T + 10
    claimed = await claim(store, now=T + 10)
    assert ([given.id for given in claimed.jobs], claimed.next_at) == (["c"], T + 20)
    assert (await claim(store, now=T + 99)).next_at is None


async def test_scheduled_jobs_of_queues_that_nobody_asked_for_become_available_too(store: Store) -> None:
    """Some other worker's queue, which is told by `queue_counts` and `waiting_queues`."""
    await enqueue(store, scheduled("a", T + 10, queue="other"))
    await claim(store, now=T + 10)
    assert (await found(store, "a")).state == JobState.AVAILABLE


async def test_more_scheduled_jobs_than_one_claim_takes_up_come_with_the_next(store: Store) -> None:
    await enqueue(store, *(scheduled(f"{n:04}", T + 10) for n in range(1100)))
    given = await claimed_ids(store, {"default": 2000}, now=T + 10)
    given += await claimed_ids(store, {"default": 2000}, now=T + 10)
    assert sorted(given) == [f"{n:04}" for n in range(1100)]


# Keys and accounts


async def test_of_jobs_with_one_key_the_first_is_given_and_the_next_when_it_has_ended(store: Store) -> None:
    await enqueue(store, *(job(id, key="conversation:1") for id in "abc"), job("d", key="conversation:2"), job("e"))
    (first, *others) = (await claim(store)).jobs
    assert [first.id, *(other.id for other in others)] == ["a", "d", "e"]
    assert await claimed_ids(store, worker="worker-2") == []
    await finish(store, first)
    assert await claimed_ids(store, worker="worker-2") == ["b"]


async def test_the_first_of_a_key_is_the_first_in_the_order_of_the_queue(store: Store) -> None:
    await enqueue(store, job("a", key="k"), job("b", key="k", priority=1))
    assert await claimed_ids(store) == ["b"]


async def test_a_key_holds_in_all_queues(store: Store) -> None:
    await enqueue(store, job("a", queue="one", key="k"), job("b", queue="two", key="k"), job("c", queue="two"))
    assert await claimed_ids(store, {"one": 5, "two": 5}) == ["a", "c"]
    assert await claimed_ids(store, {"two": 5}) == []


async def test_a_key_is_passed_over_and_does_not_use_up_what_was_asked_for(store: Store) -> None:
    await enqueue(store, *(job(f"a{n}", key="k") for n in range(20)), job("b"), job("c"))
    assert await claimed_ids(store, {"default": 2}) == ["a0", "b"]
    assert await claimed_ids(store, {"default": 2}) == ["c"]


async def test_busy_keys_are_left_where_they_are(store: Store) -> None:
    await enqueue(store, job("a", key="k"), job("b", key="l"), job("c"))
    assert await claimed_ids(store, busy_keys=["k"]) == ["b", "c"]
    assert await claimed_ids(store) == ["a"]


async def test_jobs_of_busy_accounts_are_left_where_they_are(store: Store) -> None:
    await enqueue(store, job("a"), job("b", account_id=THEIRS), job("c"))
    assert await claimed_ids(store, busy_accounts=[OURS, 99]) == ["b"]
    assert await claimed_ids(store) == ["a", "c"]


async def test_the_engine_s_own_account_is_never_busy(store: Store) -> None:
    await enqueue(store, job("a", account_id=0))
    assert await claimed_ids(store, busy_accounts=[0, OURS]) == ["a"]


# What was said of a queue


async def test_a_paused_queue_gives_nothing_until_it_goes_on(store: Store) -> None:
    await set_queue(store, paused=True)
    await enqueue(store, job("a"), job("b", queue="other"))
    assert await claimed_ids(store, {"default": 5, "other": 5}) == ["b"]
    await commit_all(store, writing(Update(JobQueueRow, {"name": "default"}, {"paused": False})))
    assert await claimed_ids(store) == ["a"]


async def test_a_queue_with_a_rate_gives_what_its_bucket_holds(store: Store) -> None:
    await set_queue(store, rate=2.0, burst=3.0, tokens=3.0, refilled_at=T)
    await enqueue(store, *(job(f"{n}") for n in range(9)))
    assert await claimed_ids(store) == ["0", "1", "2"]
    assert await claimed_ids(store) == []
    assert await claimed_ids(store, now=T + 499) == []
    assert await claimed_ids(store, now=T + 500) == ["3"]
    assert await claimed_ids(store, now=T + 60_000) == ["4", "5", "6"], "the bucket holds no more than its burst"


async def test_a_claim_that_asks_for_less_than_the_bucket_holds_is_charged_for_what_it_gets(store: Store) -> None:
    await set_queue(store, rate=1.0, burst=5.0, tokens=5.0, refilled_at=T)
    await enqueue(store, *(job(f"{n}") for n in range(9)))
    assert await claimed_ids(store, {"default": 2}) == ["0", "1"]
    assert await claimed_ids(store) == ["2", "3", "4"]


async def test_a_claim_that_finds_fewer_jobs_than_it_may_have_is_charged_for_those(store: Store) -> None:
    await set_queue(store, rate=1.0, burst=5.0, tokens=5.0, refilled_at=T)
    await enqueue(store, job("a"))
    assert await claimed_ids(store) == ["a"]
    await enqueue(store, *(job(f"{n}") for n in range(9)))
    assert await claimed_ids(store) == ["0", "1", "2", "3"]


async def test_a_claim_that_finds_nothing_is_not_charged(store: Store) -> None:
    await set_queue(store, rate=1.0, burst=2.0, tokens=2.0, refilled_at=T)
    await claim(store, now=T + 10)
    (row,) = await store.queues()
    assert row == JobQueueRow(name="default", rate=1.0, burst=2.0, tokens=2.0, refilled_at=T)


async def test_fractions_of_a_token_are_kept(store: Store) -> None:
    await set_queue(store, rate=0.1, burst=1.0, tokens=0.0, refilled_at=T)
    await enqueue(store, job("a"), job("b"))
    assert [await claimed_ids(store, now=T + 1000 * n) for n in range(21)] == [
        *[[]] * 10, ["a"], *[[]] * 9, ["b"]
    ]  # fmt: skip


async def test_a_token_that_lacks_no_more_than_a_rounding_error_is_one(store: Store) -> None:
    tokens = sum([0.1] * 10)
    assert tokens < 1
    await set_queue(store, rate=0.001, burst=3.0, tokens=tokens, refilled_at=T)
    await enqueue(store, job("a"))
    assert await claimed_ids(store) == ["a"]


async def test_a_clock_that_goes_back_adds_nothing_to_a_bucket(store: Store) -> None:
    await set_queue(store, rate=1000.0, burst=9.0, tokens=1.0, refilled_at=T)
    await enqueue(store, job("a"), job("b"), job("c"))
    assert await claimed_ids(store, now=T - 500) == ["a"]
    assert await claimed_ids(store, now=T) == []


@pytest.mark.parametrize("paused", [True, False])
async def test_what_was_said_of_a_queue_comes_back(store: Store, paused: bool) -> None:
    rows = [
        JobQueueRow(name="a", paused=paused, rate=2.5, burst=4.0, tokens=1.5, refilled_at=T),
        JobQueueRow(name="b", paused=not paused),
    ]
    await commit_all(store, writing(*(Upsert(row) for row in reversed(rows))))
    assert await store.queues() == rows
