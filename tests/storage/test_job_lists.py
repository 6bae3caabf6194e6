"""What is asked about jobs, and which of them are removed when they are old."""

from __future__ import annotations

import pytest

from tertulia.storage.contracts import Store
from tertulia.storage.job_contract import JobFilter, QueueCount
from tertulia.storage.records import Job, JobState

from .job_sample import all_ids, claim, enqueue, finished, found, job, scheduled
from .sample import OURS, THEIRS, T

# Counts


async def test_jobs_are_counted_by_queue_and_state_with_the_time_of_the_oldest(store: Store) -> None:
    await finished(store, "x", JobState.DISCARDED, T, run_at=T - 30)
    await finished(store, "y", JobState.COMPLETED, T)
    await enqueue(
        store,
        job("a", run_at=T - 5),
        job("b", run_at=T - 9, priority=9),
        job("c", queue="other", run_at=T - 7),
        job("d", queue="other"),
        scheduled("e", T + 9),
        scheduled("f", T + 8),
    )
    await claim(store, {"other": 1})
    assert sorted(await store.queue_counts(), key=lambda count: (count.queue, count.state)) == [
        QueueCount("default", JobState.AVAILABLE, 2, T - 9),
        QueueCount("default", JobState.DISCARDED, 1, T - 30),
        QueueCount("default", JobState.SCHEDULED, 2, T + 8),
        QueueCount("other", JobState.AVAILABLE, 1, T),
        QueueCount("other", JobState.RUNNING, 1, T - 7),
    ]


async def test_the_queues_are_named_that_have_jobs_which_wait(store: Store) -> None:
    assert list(await store.waiting_queues()) == []
    await finished(store, "x", JobState.COMPLETED, T)
    await enqueue(store, *(job(f"{name}{n}", queue=name) for name in "ca" for n in range(3)), scheduled("b", T + 9))
    await enqueue(store, scheduled("d", T + 9, queue="a"), job("e", queue="busy"))
    await claim(store, {"busy": 1})
    assert sorted(await store.waiting_queues()) == ["a", "c", "default"]


# Lists


async def test_jobs_are_listed_the_latest_first_in_pages(store: Store) -> None:
    await enqueue(store, *(job(id) for id in "bdace"), job("f", account_id=THEIRS))
    pages = [await store.jobs(OURS, JobFilter(), limit=2)]
    while pages[-1]:
        pages.append(await store.jobs(OURS, JobFilter(), before=pages[-1][-1].id, limit=2))
    assert [[found.id for found in page] for page in pages] == [["e", "d"], ["c", "b"], ["a"], []]
    assert pages[0][0] == job("e")


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        (JobFilter(state=JobState.SCHEDULED), ["c"]),
        (JobFilter(queue="mail"), ["b", "a"]),
        (JobFilter(kind="Remind"), ["d", "b"]),
        (JobFilter(key="k"), ["d", "a"]),
        (JobFilter(queue="mail", kind="Remind"), ["b"]),
        (JobFilter(queue="mail", state=JobState.RUNNING), []),
    ],
)
async def test_a_list_shows_the_jobs_that_were_asked_for(store: Store, which: JobFilter, ids: list[str]) -> None:
    await enqueue(
        store,
        job("a", queue="mail", key="k"),
        job("b", queue="mail", kind="Remind"),
        scheduled("c", T + 1),
        job("d", kind="Remind", key="k"),
    )
    assert [found.id for found in await store.jobs(OURS, which)] == ids
    assert [found.id for found in await store.jobs(OURS, which, before="z", limit=1)] == ids[:1]


async def test_a_job_that_does_not_exist_is_none(store: Store) -> None:
    assert await store.job(OURS, "unknown") is None


async def test_a_number_for_a_job_cannot_be_reserved(store: Store) -> None:
    with pytest.raises(ValueError, match="Job records have no id"):
        await store.reserve(Job)


# Old ones


async def test_jobs_that_ended_long_ago_are_removed_each_kind_after_its_own_time(store: Store) -> None:
    for n, state in enumerate((JobState.COMPLETED, JobState.CANCELLED, JobState.DISCARDED)):
        await finished(store, f"{state}-old", state, T + n)
        await finished(store, f"{state}-new", state, T + 50)
    await enqueue(store, job("waits"), job("runs", queue="other"), scheduled("later", T + 10))
    await claim(store, {"other": 1})
    assert await store.prune_jobs(completed_before=T + 50, discarded_before=T, limit=10) == 2
    assert await store.prune_jobs(completed_before=T, discarded_before=T + 50, limit=10) == 1
    assert set(await all_ids(store)) == {
        *(f"{state}-new" for state in JobState.FINISHED), "waits", "runs", "later"
    }  # fmt: skip


async def test_a_job_that_keeps_others_from_being_enqueued_is_kept_until_it_does_not(store: Store) -> None:
    for state in (JobState.COMPLETED, JobState.DISCARDED):
        await finished(store, state, state, T, unique_key=state, unique_until=T + 50)
    assert await store.prune_jobs(completed_before=T + 50, discarded_before=T + 50, limit=9) == 0
    assert await store.prune_jobs(completed_before=T + 51, discarded_before=T + 51, limit=9) == 2


async def test_no_more_jobs_are_removed_at_once_than_allowed(store: Store) -> None:
    for n in range(3):
        await finished(store, f"a{n}", JobState.COMPLETED, T)
        await finished(store, f"b{n}", JobState.DISCARDED, T)
    removed = [await store.prune_jobs(completed_before=T + 1, discarded_before=T + 1, limit=4) for _ in range(3)]
    assert removed == [4, 2, 0]
    assert await all_ids(store) == []


async def test_removing_where_nothing_is_old_removes_nothing(store: Store) -> None:
    await finished(store, "a", JobState.COMPLETED, T)
    assert await store.prune_jobs(completed_before=T, discarded_before=T, limit=9) == 0
    assert (await found(store, "a")).state == JobState.COMPLETED
