"""Changes of jobs and deliveries in one batch have the outcome of their order, however a store writes them together."""

from __future__ import annotations

from typing import Any

import pytest

from tertulia.storage.contracts import Store
from tertulia.storage.records import Contact, Job, JobState, WebhookDelivery
from tertulia.storage.writes import Delete, Enqueue, Insert, Unit, Update, Upsert, Write

from .job_sample import all_ids, claim, delivery, enqueue, found, job
from .sample import OURS, THEIRS, T, commit_all, contact, inserting, refusals, writing

#: All writes in one unit, or each in one of its own.
together_and_apart = pytest.mark.parametrize("apart", [False, True])


def batch(writes: list[Write], apart: bool) -> list[Unit]:
    return [writing(write) for write in writes] if apart else [writing(*writes)]


def change(id: str, where: dict[str, Any] | None = None, **values: Any) -> Update:
    return Update(Job, {"account_id": OURS, "id": id, **(where or {})}, values)


def ended(job: Job, **values: Any) -> Update:
    where = {"worker": job.worker, "attempt": job.attempt}
    return change(job.id, where, state=JobState.COMPLETED, worker=None, lease_until=None, finished_at=T, **values)


@together_and_apart
async def test_a_job_can_be_changed_by_the_batch_that_enqueues_it(store: Store, apart: bool) -> None:
    writes: list[Write] = [Enqueue(job("a")), change("a", state=JobState.CANCELLED), Enqueue(job("b"))]
    await commit_all(store, *batch(writes, apart))
    assert [(await found(store, id)).state for id in "ab"] == [JobState.CANCELLED, JobState.AVAILABLE]


@together_and_apart
async def test_changes_of_one_job_follow_each_other(store: Store, apart: bool) -> None:
    await enqueue(store, job("a"), job("b"))
    writes: list[Write] = [
        change("a", {"priority": 5}, priority=6),
        change("b", {"priority": 5}, priority=7),
        change("a", {"priority": 6}, priority=8),
        change("b", {"priority": 5}, priority=9),
        change("a", {"priority": 8}, queue="other"),
    ]
    await commit_all(store, *batch(writes, apart))
    assert [((await found(store, id)).priority, (await found(store, id)).queue) for id in "ab"] == [
        (8, "other"),
        (7, "default"),
    ]


@together_and_apart
async def test_a_change_of_many_jobs_comes_between_those_before_and_after_it(store: Store, apart: bool) -> None:
    await enqueue(store, job("a"), job("b", queue="mail"))
    writes: list[Write] = [
        change("a", queue="mail"),
        Enqueue(job("c", queue="mail")),
        Update(Job, {"account_id": OURS, "queue": "mail"}, {"priority": 1}),
        Enqueue(job("d", queue="mail")),
        change("b", {"priority": 1}, queue="late"),
    ]
    await commit_all(store, *batch(writes, apart))
    jobs = [await found(store, id) for id in "abcd"]
    assert [(each.queue, each.priority) for each in jobs] == [("mail", 1), ("late", 1), ("mail", 1), ("mail", 5)]


@together_and_apart
async def test_jobs_that_end_in_many_ways_among_others_that_come_end_each_in_its_own(store: Store, apart: bool) -> None:
    await enqueue(store, *map(job, "abcd"), job("e", account_id=THEIRS))
    a, b, c, d, e = (await claim(store)).jobs
    again: dict[str, Any] = {
        "state": JobState.SCHEDULED,
        "run_at": T + 5,
        "worker": None,
        "lease_until": None,
        "errors": [{"attempt": 1, "at": T, "error": 'ÿ "x"'}],
    }
    writes: list[Write] = [
        ended(a, duration=3),
        Enqueue(job("f")),
        change(b.id, {"worker": b.worker, "attempt": 1}, **again),
        Insert(delivery("1")),
        ended(c, duration=None),
        change(d.id, {"worker": "another", "attempt": 1}, state=JobState.COMPLETED, worker=None),
        Update(Job, {"account_id": OURS, "id": e.id}, {"state": JobState.COMPLETED}),  # not ours
        Enqueue(job("g")),
    ]
    await commit_all(store, *batch(writes, apart))
    assert [(await found(store, id)).state for id in "abcdfg"] == [
        *("completed", "scheduled", "completed", "running", "available", "available")
    ]
    assert [(await found(store, id)).duration for id in "ac"] == [3, None]
    assert (await found(store, "b")).errors == again["errors"]
    assert (await found(store, "e", THEIRS)).state == JobState.RUNNING
    assert await store.delivery(OURS, "1") == delivery("1")


@together_and_apart
async def test_a_delivery_can_end_in_the_batch_that_writes_it(store: Store, apart: bool) -> None:
    attempts = [{"at": T, "status": 200, "duration": 3}]
    where = {"account_id": OURS, "id": "1"}
    writes: list[Write] = [
        Insert(delivery("1")),
        Insert(delivery("2")),
        Update(WebhookDelivery, where, {"state": "delivered", "finished_at": T, "attempts": attempts}),
        Delete(WebhookDelivery, {"account_id": OURS, "state": "waiting"}),
        Insert(delivery("3")),
    ]
    await commit_all(store, *batch(writes, apart))
    log = await store.deliveries(OURS, 1)
    assert [each.id for each in log] == ["3", "1"]
    assert log[1] == delivery("1", state="delivered", finished_at=T, attempts=attempts)


@together_and_apart
async def test_a_unique_key_that_a_batch_gives_up_can_be_taken_in_it(store: Store, apart: bool) -> None:
    unique = {"unique_key": "u", "unique_until": T + 10}
    await enqueue(store, job("a", **unique))
    writes: list[Write] = [
        Enqueue(job("b", **unique)),
        change("a", unique_key=None),
        Enqueue(job("c", **unique)),
        Enqueue(job("d", **unique)),
        Enqueue(job("e", created_at=T + 10, unique_key="u", unique_until=T + 20)),
    ]
    await commit_all(store, *batch(writes, apart))
    assert await all_ids(store) == ["a", "c", "e"]
    assert [(await found(store, id)).unique_key for id in "ace"] == [None, None, "u"]


async def test_a_unit_that_is_refused_takes_its_jobs_with_it_and_no_others(store: Store) -> None:
    await enqueue(store, job("a"), job("b"))
    a, b = (await claim(store)).jobs
    units = [
        writing(ended(a), Enqueue(job("c"))),
        writing(ended(b), Enqueue(job("d")), Insert(contact(1))),
        writing(Enqueue(job("e", unique_key="u", unique_until=T + 1)), Upsert(contact(8, name="Ada"))),
        writing(Enqueue(job("f")), change("a", unheard_of=1)),
        inserting(contact(9)),
    ]
    assert await refusals(store, *units) == {1: "Conflict", 3: "Invalid"}
    assert await all_ids(store) == ["a", "b", "c", "e"]
    assert [(await found(store, id)).state for id in "ab"] == [JobState.COMPLETED, JobState.RUNNING]
    names = [each.name for each in await store.contacts(OURS)]
    assert names == ["Contact 1", "Ada", "Contact 9"]


async def test_changes_of_other_records_keep_their_order_among_those_of_jobs(store: Store) -> None:
    await enqueue(store, job("a"))
    where = {"account_id": OURS, "id": 8}
    await commit_all(
        store,
        writing(Insert(contact(8)), change("a", priority=1), Update(Contact, where, {"name": "x"})),
        writing(Enqueue(job("b")), Update(Contact, {**where, "name": "x"}, {"name": "y"}), change("b", priority=2)),
    )
    kept = await store.contact(OURS, 8)
    assert kept is not None
    assert kept.name == "y"
    assert [(await found(store, id)).priority for id in "ab"] == [1, 2]
