"""What a job's turn of a conversation writes: its messages and its own end, or nothing."""

from __future__ import annotations

from typing import Any

from tertulia.storage.contracts import Store
from tertulia.storage.records import Job, JobState
from tertulia.storage.writes import Unit, Update

from .job_sample import claim, enqueue, job
from .sample import OURS, commit_all, log_unit, message, refusals, seqs

END: dict[str, Any] = {"state": JobState.COMPLETED, "worker": None, "lease_until": None}


async def running(store: Store, id: str) -> Job:
    await enqueue(store, job(id, key="conversation:1"))
    return (await claim(store)).jobs[0]


def ended(given: Job) -> Update:
    where = {"account_id": OURS, "id": given.id, "worker": given.worker, "attempt": given.attempt}
    return Update(Job, where, END)


async def state_of(store: Store, id: str) -> str:
    found = await store.job(OURS, id)
    assert found is not None
    return found.state


async def test_a_message_and_the_end_of_its_job_are_written_together(store: Store) -> None:
    unit = log_unit(0, message(1))
    unit.writes = [ended(await running(store, "a"))]
    await commit_all(store, unit)
    assert (await seqs(store), await state_of(store, "a")) == ([1], JobState.COMPLETED)


async def test_where_the_log_moved_on_neither_is_written(store: Store) -> None:
    unit = log_unit(5, message(6))
    unit.writes = [ended(await running(store, "a"))]
    assert await refusals(store, unit) == {0: "StaleWrite"}
    assert (await seqs(store), await state_of(store, "a")) == ([], JobState.RUNNING)


async def test_a_job_that_changed_nothing_ends_only_where_it_saw_the_latest(store: Store) -> None:
    await commit_all(store, log_unit(0, message(1)))
    before = await store.conversation(OURS, log_unit(0, message(1)).conversation_id or 0)
    assert before is not None
    given = await running(store, "a")

    def looked(seq: int) -> Unit:
        unit = log_unit(seq, message(seq + 1))
        return Unit(
            OURS,
            conversation_id=unit.conversation_id,
            old_seq=seq,
            new_seq=seq,
            changes={"updated_at": before.conversation.updated_at},
            writes=[ended(given)],
        )

    assert await refusals(store, looked(0)) == {0: "StaleWrite"}
    assert await state_of(store, "a") == JobState.RUNNING
    await commit_all(store, looked(1))
    assert (await seqs(store), await state_of(store, "a")) == ([1], JobState.COMPLETED)
    after = await store.conversation(OURS, before.conversation.id)
    assert after is not None
    assert after.conversation == before.conversation
