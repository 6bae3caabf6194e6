"""Jobs with an actor's key run where that actor lives, whichever node claimed them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tertulia.actors.commands.account import UpdateAccount
from tertulia.actors.commands.update_conversation import UpdateConversation
from tertulia.actors.entities import Status
from tertulia.actors.jobs.endings import Ending
from tertulia.actors.jobs.lane import Ran, RunJob, conversation_key
from tertulia.actors.jobs.queue import new_job
from tertulia.actors.timers.jobs import ReopenSnoozed, Snoozed
from tertulia.engine.errors import OutcomeUnknown
from tertulia.engine.mailbox import Lane
from tertulia.storage.job_contract import JobFilter
from tertulia.storage.records import Job, JobState
from tertulia.storage.writes import Enqueue, Unit

from ..actors.kit import ADMINISTRATOR
from .nodes import Nodes, now, open_nodes


async def claimed_job(nodes: Nodes, until: int) -> Job:
    """A job that ends a snooze, on its way from a worker to its actor."""
    new = new_job(ReopenSnoozed, Snoozed(until), now=now(), account_id=1, key=conversation_key(1))
    values: dict[str, Any] = {"state": JobState.RUNNING, "worker": "w", "attempt": 1, "lease_until": now() + 1_000_000}
    job = Job(**{**{name: getattr(new, name) for name in Job.__struct_fields__}, **values})
    assert await nodes.store.commit([Unit(1, writes=[Enqueue(job)])]) == {}
    return job


async def test_a_job_that_another_node_claimed_runs_at_its_conversations_home(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        heard = await other.listen()
        await home.engine.conversation(1, 1).ask(UpdateConversation(ADMINISTRATOR, status=Status.SNOOZED))
        job = await claimed_job(nodes, now())
        ran = await other.engine.conversation(1, 1).ask(RunJob(job), lane=Lane.JOBS)
        assert ran == Ran(Ending(JobState.COMPLETED), ran.duration, written=True)
        assert (home.hosts(), other.hosts()) == (True, False)
        stored = await nodes.store.job(1, job.id)
        assert stored is not None
        assert stored.state == JobState.COMPLETED
        await trio.sleep(1)
        assert [event.seq for event in heard] == await nodes.seqs()


async def test_a_job_whose_home_goes_away_may_have_run(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        job = await claimed_job(nodes, now())
        home.bus.die()
        with pytest.raises(OutcomeUnknown):
            await other.engine.conversation(1, 1).ask(RunJob(job), lane=Lane.JOBS)


async def test_a_snooze_ends_once_and_to_the_second_on_a_cluster(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        _, other = await nodes.start_two()
        heard = await other.listen()
        until = now() + 90_000
        snooze = UpdateConversation(ADMINISTRATOR, status=Status.SNOOZED, snoozed_until=until)
        await other.engine.conversation(1, 1).ask(snooze)
        await trio.sleep(91)
        records = await nodes.store.conversation(1, 1)
        assert records is not None
        assert records.conversation.status == Status.OPEN
        assert until <= records.conversation.updated_at < until + 1000
        await trio.sleep(60)
        assert [event.seq for event in heard] == await nodes.seqs() == [1, 2, 3, 4]
        assert len(await nodes.store.jobs(1, JobFilter(kind=ReopenSnoozed.name))) == 1


async def test_what_an_account_says_about_its_timers_is_known_on_every_node(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        a, b = await nodes.start_two()
        access = await b.engine.world.access.of(1)
        await a.engine.account(1).ask(UpdateAccount(ADMINISTRATOR, settings={"reminder_after": 5}))
        await trio.sleep(1)
        assert access.settings == {"reminder_after": 5}
        assert (await a.engine.world.access.of(1)).settings == {"reminder_after": 5}
