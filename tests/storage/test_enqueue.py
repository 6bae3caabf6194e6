"""A job is written down with what causes it or not at all, and a unique one only where no other is in force."""

from __future__ import annotations

from typing import Any

from tertulia.storage.contracts import Store
from tertulia.storage.records import Job, JobState
from tertulia.storage.writes import Enqueue, Update

from .job_sample import all_ids, claim, claimed_ids, enqueue, finish, found, job
from .sample import OURS, T, commit_all, contact, inserting, log_unit, message, refusals, seqs, writing


def unique(id: str, *, created_at: int = T, until: int | None = T + 100, **values: Any) -> Job:
    return job(id, unique_key="once", created_at=created_at, unique_until=until, **values)


# With what causes it


async def test_a_job_comes_back_as_it_was_enqueued(store: Store) -> None:
    given = job(
        "a",
        account_id=OURS,
        queue="mail",
        kind="SendReceipt",
        args='{"to":"ana@example.com"}',
        key="conversation:1",
        priority=2,
        max_attempts=9,
        state=JobState.SCHEDULED,
        run_at=T + 5,
        errors=[{"attempt": 1, "at": T, "error": "no"}],
        unique_key="k",
        unique_until=T + 9,
        unique_while_waiting=True,
    )
    await enqueue(store, given)
    assert await store.job(OURS, "a") == given


async def test_a_job_is_written_with_the_message_that_causes_it(store: Store) -> None:
    unit = log_unit(0, message(1))
    unit.writes = [Enqueue(job("a"))]
    await commit_all(store, unit)
    assert await seqs(store) == [1]
    assert await all_ids(store) == ["a"]


async def test_a_stale_unit_enqueues_nothing_and_its_neighbours_enqueue(store: Store) -> None:
    stale = log_unit(5, message(6))
    stale.writes = [Enqueue(job("b")), Enqueue(unique("c"))]
    assert await refusals(store, writing(Enqueue(job("a"))), stale, writing(Enqueue(job("d")))) == {1: "StaleWrite"}
    assert await all_ids(store) == ["a", "d"]
    await enqueue(store, unique("e"))
    assert await all_ids(store) == ["a", "d", "e"], "a key that was not written is not in force"


async def test_a_unit_that_is_refused_for_another_reason_enqueues_nothing_either(store: Store) -> None:
    taken = inserting(contact(1))
    taken.writes += [Enqueue(job("b")), Enqueue(unique("c"))]
    assert await refusals(store, writing(Enqueue(job("a"))), taken) == {1: "Conflict"}
    assert await all_ids(store) == ["a"]


async def test_a_job_is_enqueued_for_an_account_that_nobody_owns(store: Store) -> None:
    await enqueue(store, job("a", account_id=0))
    assert await all_ids(store, account_id=0) == ["a"]


async def test_the_same_job_a_second_time_is_nothing(store: Store) -> None:
    """What a writer does whose answer was lost, and who does not remember."""
    await enqueue(store, job("a"), job("b"))
    await enqueue(store, job("a", args='{"again":1}'), job("c"))
    assert await all_ids(store) == ["a", "b", "c"]
    assert (await found(store, "a")).args == "{}"


async def test_a_unit_may_change_the_job_that_it_enqueues(store: Store) -> None:
    await commit_all(store, writing(Enqueue(job("a")), Update(Job, {"account_id": OURS, "id": "a"}, {"priority": 1})))
    assert (await found(store, "a")).priority == 1


# Unique


async def test_a_unique_job_in_force_keeps_others_out_and_their_unit_is_none_the_worse(store: Store) -> None:
    await enqueue(store, unique("a"))
    unit = log_unit(0, message(1))
    unit.writes = [Enqueue(unique("b", created_at=T + 99)), Enqueue(job("c"))]
    await commit_all(store, unit)
    assert await all_ids(store) == ["a", "c"]
    assert await seqs(store) == [1]


async def test_of_unique_jobs_in_one_batch_the_first_is_written(store: Store) -> None:
    await commit_all(store, writing(Enqueue(unique("b")), Enqueue(unique("c"))), writing(Enqueue(unique("a"))))
    assert await all_ids(store) == ["b"]


async def test_jobs_with_other_keys_and_without_any_are_not_kept_out(store: Store) -> None:
    await enqueue(store, unique("a"), job("b"), job("c"), job("d", unique_key="other", unique_until=T + 100))
    assert await all_ids(store) == ["a", "b", "c", "d"]


async def test_a_key_is_in_force_until_its_time_is_over(store: Store) -> None:
    await enqueue(store, unique("a"))
    await enqueue(store, unique("b", created_at=T + 100, until=T + 200))
    assert await all_ids(store) == ["a", "b"]
    assert [(await found(store, id)).unique_key for id in ("a", "b")] == [None, "once"]
    await enqueue(store, unique("c", created_at=T + 199))
    assert await all_ids(store) == ["a", "b"]


async def test_in_one_batch_a_key_may_end_and_be_taken_again(store: Store) -> None:
    await enqueue(store, unique("a"), unique("b", created_at=T + 100, until=T + 200), unique("c", created_at=T + 150))
    assert await all_ids(store) == ["a", "b"]


async def test_a_key_is_in_force_also_when_its_job_runs_or_has_ended(store: Store) -> None:
    await enqueue(store, unique("a"))
    (running,) = (await claim(store)).jobs
    assert running.unique_key == "once"
    await enqueue(store, unique("b"))
    await finish(store, running)
    await enqueue(store, unique("c"))
    assert await all_ids(store) == ["a"]


async def test_a_job_that_is_unique_while_it_waits_gives_its_key_up_when_it_starts(store: Store) -> None:
    await enqueue(store, unique("a", unique_while_waiting=True))
    await enqueue(store, unique("b", unique_while_waiting=True))
    assert await all_ids(store) == ["a"]
    (running,) = (await claim(store)).jobs
    assert running.unique_key is None
    assert await found(store, "a") == running
    await enqueue(store, unique("c", unique_while_waiting=True))
    assert await all_ids(store) == ["a", "c"]
    assert await claimed_ids(store) == ["c"], "and the next one may start while the first one runs"
