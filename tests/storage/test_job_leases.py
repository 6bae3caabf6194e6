"""A running job belongs to a worker for as long as that renews its lease; then others get it."""

from __future__ import annotations

import msgspec

from tertulia.storage.contracts import Store
from tertulia.storage.records import Job, JobState
from tertulia.storage.writes import Update

from .job_sample import LEASE, claim, claimed_ids, enqueue, finish, found, job
from .sample import OURS, T, commit_all, writing

# Renewing


async def test_a_worker_keeps_its_jobs_by_renewing_their_leases(store: Store) -> None:
    await enqueue(store, job("a"), job("b"))
    await claim(store)
    assert list(await store.renew_leases("worker-1", ["b"], T + 2 * LEASE)) == ["b"]
    assert await store.rescue_jobs(T + LEASE + 1, 5) == 1
    assert [(await found(store, id)).state for id in "ab"] == [JobState.AVAILABLE, JobState.RUNNING]
    assert (await found(store, "b")).lease_until == T + 2 * LEASE


async def test_a_worker_learns_which_jobs_are_not_its_own_any_more(store: Store) -> None:
    await enqueue(store, *(job(id) for id in "abcd"))
    given = {job.id: job for job in (await claim(store, {"default": 3})).jobs}
    await claim(store, worker="worker-2")
    await finish(store, given["b"])
    cancelled = Update(Job, {"account_id": OURS, "id": "c"}, {"state": JobState.CANCELLED})
    await commit_all(store, writing(cancelled))
    assert list(await store.renew_leases("worker-1", ["a", "b", "c", "d", "unknown"], T + 99)) == ["a"]
    assert (await found(store, "d")).lease_until == T + LEASE
    assert list(await store.renew_leases("worker-1", [], T + 99)) == []


# Giving back


async def test_jobs_that_are_given_back_are_as_they_were_before(store: Store) -> None:
    await enqueue(store, job("a"), job("b"), job("c"))
    await claim(store, {"default": 2})
    await claim(store, worker="worker-2")
    await store.release_jobs("worker-1", ["a", "c", "unknown"])
    assert await found(store, "a") == job("a")
    assert [(await found(store, id)).worker for id in "bc"] == ["worker-1", "worker-2"]
    assert await claimed_ids(store, worker="worker-3") == ["a"]


async def test_a_job_that_has_ended_is_not_given_back(store: Store) -> None:
    await enqueue(store, job("a"))
    (given,) = (await claim(store)).jobs
    await finish(store, given)
    await store.release_jobs("worker-1", ["a"])
    assert (await found(store, "a")).state == JobState.COMPLETED


# Losing


async def test_jobs_whose_lease_has_ended_are_taken_back_and_the_attempt_is_not_counted(store: Store) -> None:
    await enqueue(store, job("a", key="k"), job("b"))
    await claim(store)
    assert await store.rescue_jobs(T + LEASE - 1, 5) == 0
    assert await store.rescue_jobs(T + LEASE, 5) == 2
    assert await found(store, "a") == msgspec.structs.replace(job("a", key="k"), losses=1)
    (first, _) = (await claim(store, worker="worker-2", now=T + LEASE)).jobs
    assert (first.id, first.attempt, first.losses, first.worker) == ("a", 1, 1, "worker-2")
    assert await store.rescue_jobs(T + LEASE, 5) == 0


async def test_a_job_that_is_lost_too_often_is_discarded_with_a_reason(store: Store) -> None:
    error = {"attempt": 1, "at": T, "error": "the first time"}
    await enqueue(store, job("a", errors=[error]), job("b"))
    for losses in (1, 2):
        now = T + losses * LEASE
        await claim(store, {"default": 1}, now=now - LEASE)
        assert await store.rescue_jobs(now, 2) == 1
        lost = await found(store, "a")
        assert (lost.state, lost.losses, lost.errors, lost.finished_at) == (JobState.AVAILABLE, losses, [error], None)
    await claim(store, now=T + 2 * LEASE)
    assert await store.rescue_jobs(T + 3 * LEASE, 2) == 2
    discarded = await found(store, "a")
    assert (discarded.state, discarded.losses, discarded.finished_at) == (JobState.DISCARDED, 3, T + 3 * LEASE)
    assert (discarded.worker, discarded.lease_until) == (None, None)
    assert discarded.errors[0] == error
    assert discarded.errors[1] == {
        "attempt": 1,
        "at": T + 3 * LEASE,
        "error": "Its worker went away 3 times before the job had ended; it is not given to another one.",
    }
    assert (await found(store, "b")).state == JobState.AVAILABLE
