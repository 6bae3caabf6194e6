"""What time does to conversations: snoozes end, silence resolves, members are reminded of visitors who wait."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tertulia.actors.commands.account import UpdateAccount
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import DeleteConversation, UpdateConversation
from tertulia.actors.entities import Status
from tertulia.actors.events import LABELS_CHANGED, MESSAGE_CREATED, STATUS_CHANGED
from tertulia.actors.jobs.job import BaseJob, JobContext
from tertulia.actors.jobs.lane import conversation_key
from tertulia.actors.own_jobs import add_timers
from tertulia.actors.timers.account_settings import TimerSettings, timer_settings
from tertulia.actors.timers.jobs import AutoResolve, RemindOfVisitor, ReopenSnoozed, Silence, Snoozed, Wait
from tertulia.actors.timers.sweep import SweepTimers
from tertulia.engine.errors import Invalid, NotFound
from tertulia.storage.open import open_store
from tertulia.storage.records import JobState

from .kit import ADMINISTRATOR, AGENT, BASE, SYSTEM, VISITOR, World, kinds, run_engine, seed
from .lane_worker import LaneWorker

MINUTE = 60_000


class Worker(LaneWorker):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        add_timers(world.collaborators.registry, world.collaborators)

    async def run_timers(self) -> None:
        await self.run_due("timers")

    async def sweep(self) -> None:
        """What cron does every minute, and what follows from it."""
        await self.enqueue(SweepTimers, None, account=0)
        await self.run_timers()

    async def look(self, sweep: BaseJob[Any]) -> None:
        """Only find out what is to be done."""
        job = await self.enqueue(SweepTimers, None, account=0)
        await sweep.perform(JobContext(job, self.world.collaborators.wall_clock), None)

    async def sleep_until(self, instant: int) -> None:
        await trio.sleep((instant - self.now) / 1000)


@pytest.fixture
def worker(world: World) -> Worker:
    return Worker(world)


async def snooze(world: World, until: int | None) -> None:
    await world.ask(UpdateConversation(ADMINISTRATOR, status=Status.SNOOZED, snoozed_until=until))


async def choose(world: World, **settings: Any) -> None:
    await world.ask_account(UpdateAccount(ADMINISTRATOR, settings=settings))


async def seqs(world: World) -> list[int | None]:
    return [event.seq for event in await world.log()]


async def texts(world: World) -> list[str | None]:
    return [row.content for row in await world.reads.messages(1, 1, limit=1000)]


# Snoozes.


async def test_a_snoozed_conversation_reopens_at_its_time(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    until = worker.now + 90_000
    await snooze(world, until)
    heard = world.listen()
    await worker.sleep_until(until - 1)
    await worker.run_timers()
    assert heard == []
    await worker.sleep_until(until)
    await worker.run_timers()
    assert kinds(heard) == [STATUS_CHANGED, MESSAGE_CREATED]
    record = await world.record()
    assert (record.status, record.snoozed_until) == (Status.OPEN, None)
    assert (await texts(world))[-1] == "Conversation was reopened by system"
    assert (await worker.job(ReopenSnoozed)).state == JobState.COMPLETED


async def test_a_snooze_that_is_made_longer_ends_at_the_new_time(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    first, second = worker.now + MINUTE, worker.now + 2 * MINUTE
    await snooze(world, first)
    await snooze(world, second)
    await worker.sleep_until(first)
    await worker.run_timers()
    assert (await world.record()).status == Status.SNOOZED
    await worker.sleep_until(second)
    await worker.run_timers()
    assert (await world.record()).status == Status.OPEN


async def test_a_snooze_that_is_made_shorter_ends_at_the_new_time_and_once(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    first, second = worker.now + MINUTE, worker.now + 2 * MINUTE
    await snooze(world, second)
    await snooze(world, first)
    await worker.sleep_until(first)
    await worker.run_timers()
    assert (await world.record()).status == Status.OPEN
    log = await seqs(world)
    await worker.sleep_until(second)
    await worker.run_timers()
    assert await seqs(world) == log


@pytest.mark.parametrize(
    "ended_by", [SendMessage(VISITOR, "I am back"), UpdateConversation(ADMINISTRATOR, status=Status.RESOLVED)]
)
async def test_a_snooze_that_ended_otherwise_does_not_end_again(
    world: World, worker: Worker, autojump_clock: MockClock, ended_by: Any
) -> None:
    until = worker.now + MINUTE
    await snooze(world, until)
    await world.ask(ended_by)
    log = await seqs(world)
    await worker.sleep_until(until)
    await worker.run_timers()
    assert await seqs(world) == log
    assert (await worker.job(ReopenSnoozed)).state == JobState.COMPLETED


async def test_a_snooze_without_an_end_lasts_until_the_visitor_writes(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    await snooze(world, None)
    assert await worker.jobs() == []
    await world.ask(SendMessage(VISITOR, "I am back"))
    assert (await world.record()).status == Status.OPEN


async def test_a_snooze_that_ended_while_the_server_was_down_ends_when_it_is_back(autojump_clock: MockClock) -> None:
    async with open_store("memory:") as store:
        async with run_engine(store) as world:
            await world.write(*seed())
            await snooze(world, Worker(world).now + MINUTE)
        await trio.sleep(7 * 86_400)
        async with run_engine(store) as world:
            await Worker(world).run_timers()
            assert (await world.record()).status == Status.OPEN


async def test_a_job_that_is_early_by_its_conversations_clock_waits(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    until = worker.now + MINUTE
    await snooze(world, until)
    await worker.enqueue(ReopenSnoozed, Snoozed(until), conversation_key(1))
    await worker.run_timers()
    early = (await worker.jobs())[1]
    assert (early.state, early.attempt, early.run_at) == (JobState.SCHEDULED, 0, until)
    assert (await world.record()).status == Status.SNOOZED


async def test_nothing_happens_to_a_deleted_conversation(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    until = worker.now + MINUTE
    await choose(world, auto_resolve_after=10, reminder_after=1)
    await world.ask(SendMessage(VISITOR, "hello?"))
    since = (await world.record()).waiting_since
    assert since is not None
    await snooze(world, until)
    await world.ask(DeleteConversation(ADMINISTRATOR))
    log = await seqs(world)
    here = conversation_key(1)
    await worker.sleep_until(until)
    await worker.enqueue(AutoResolve, Silence((await world.record()).last_activity_at, 10), here)
    await worker.enqueue(RemindOfVisitor, Wait(since, 1), here)
    await worker.run_timers()
    assert {job.state for job in await worker.jobs()} == {JobState.COMPLETED}
    assert await seqs(world) == log
    await world.forget_actors(autojump_clock)
    await worker.enqueue(ReopenSnoozed, Snoozed(until), here)
    with pytest.raises(NotFound):
        await worker.run_timers()


# Silence.


async def test_a_silent_conversation_is_resolved(world: World, worker: Worker, autojump_clock: MockClock) -> None:
    await choose(world, auto_resolve_after=10, auto_resolve_message="Good bye!", auto_resolve_label=" silent ")
    await world.ask(SendMessage(AGENT, "Anything else?"))
    said = (await world.record()).last_activity_at
    await worker.sleep_until(said + 10 * MINUTE - 1)
    await worker.sweep()
    assert (await world.record()).status == Status.OPEN
    heard = world.listen()
    await worker.sleep_until(said + 10 * MINUTE)
    await worker.sweep()
    assert kinds(heard) == [MESSAGE_CREATED, LABELS_CHANGED, STATUS_CHANGED, MESSAGE_CREATED]
    record = await world.record()
    assert (record.status, record.labels) == (Status.RESOLVED, ["silent"])
    assert (await texts(world))[1:] == ["Good bye!", "Conversation was marked resolved by system"]
    goodbye = (await world.reads.messages(1, 1, limit=1000))[1]
    assert (goodbye.message_type, goodbye.private, goodbye.sender_type) == ("outgoing", False, "system")


async def test_what_has_been_silent_for_hours_already_is_found_by_the_first_sweep_of_an_hour(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    hour = 60 * MINUTE
    await choose(world, auto_resolve_after=10)
    full = (BASE // hour + 4) * hour
    await worker.sleep_until(full - 30 * MINUTE)
    await worker.sweep()
    assert (await world.record()).status == Status.OPEN
    await worker.sleep_until(full)
    await worker.sweep()
    assert (await world.record()).status == Status.RESOLVED


async def test_without_message_and_label_it_is_only_resolved(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    await choose(world, auto_resolve_after=10)
    await worker.sleep_until(BASE + 10 * MINUTE)
    heard = world.listen()
    await worker.sweep()
    assert kinds(heard) == [STATUS_CHANGED, MESSAGE_CREATED]
    assert (await world.record(2)).status == Status.RESOLVED, "and so are the account's others"
    assert (await world.record(3, 2)).status == Status.OPEN, "and no other account's"


@pytest.mark.parametrize(
    "change",
    [
        SendMessage(VISITOR, "wait"),
        UpdateConversation(ADMINISTRATOR, status=Status.PENDING),
        UpdateConversation(ADMINISTRATOR, status=Status.RESOLVED),
    ],
)
async def test_what_happens_after_the_sweep_is_respected(
    world: World, worker: Worker, autojump_clock: MockClock, change: Any
) -> None:
    await choose(world, auto_resolve_after=10)
    await worker.enqueue(AutoResolve, Silence(BASE, 10), conversation_key(1))
    await trio.sleep(1)
    await world.ask(change)
    log = await seqs(world)
    await worker.run_timers()
    assert await seqs(world) == log
    assert (await worker.job(AutoResolve)).state == JobState.COMPLETED


@pytest.mark.parametrize("settings", [{}, {"auto_resolve_after": 20}, {"auto_resolve_after": None}])
async def test_a_setting_that_is_changed_after_the_sweep_is_respected(
    world: World, worker: Worker, autojump_clock: MockClock, settings: dict[str, Any]
) -> None:
    await choose(world, auto_resolve_after=10)
    await world.ask(SendMessage(AGENT, "one"))
    since = (await world.record()).last_activity_at
    await worker.enqueue(AutoResolve, Silence(since, 10), conversation_key(1))
    await choose(world, **settings)
    await worker.run_timers()
    assert (await world.record()).status == Status.OPEN


async def test_a_visitor_who_waits_can_be_left_alone(world: World, worker: Worker, autojump_clock: MockClock) -> None:
    await choose(world, auto_resolve_after=10, auto_resolve_ignore_waiting=True)
    await world.ask(SendMessage(VISITOR, "hello?"))
    await trio.sleep(601)
    await worker.sweep()
    assert (await world.record()).status == Status.OPEN
    await world.ask(SendMessage(ADMINISTRATOR, "hello!"))
    await trio.sleep(601)
    await worker.sweep()
    assert (await world.record()).status == Status.RESOLVED


async def test_sweeps_do_not_pile_up_jobs(world: World, worker: Worker, autojump_clock: MockClock) -> None:
    await choose(world, auto_resolve_after=10, reminder_after=10)
    await world.ask(SendMessage(VISITOR, "hello?"))
    await trio.sleep(601)
    for _ in range(3):
        await worker.look(world.collaborators.registry.make(SweepTimers.name))
    assert len(await worker.jobs(kind=AutoResolve.name, key="conversation:1")) == 1
    assert len(await worker.jobs(kind=RemindOfVisitor.name)) == 1


async def test_a_sweep_finds_all_however_many_pages_they_are(autojump_clock: MockClock) -> None:
    async with open_store("memory:") as store, run_engine(store) as world:
        await world.write(*seed())
        worker = Worker(world)
        await choose(world, auto_resolve_after=10)
        await worker.sleep_until(BASE + 10 * MINUTE)
        collaborators = world.collaborators
        journal, access, jobs = collaborators.journal, collaborators.access, collaborators.jobs
        one_by_one = SweepTimers(worker.store, journal, access, jobs, page=1)
        await worker.look(one_by_one)
        assert [job.key for job in await worker.jobs()] == ["conversation:1", "conversation:2"]


# Reminders.


async def waiting(world: World) -> tuple[int | None, int | None]:
    record = await world.record()
    return record.waiting_since, record.reminded_at


async def test_a_visitor_waits_from_the_first_message_to_a_members_answer(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    began = worker.now
    await world.ask(SendMessage(VISITOR, "hello?"))
    await trio.sleep(5)
    await world.ask(SendMessage(VISITOR, "is anybody there?"))
    await world.ask(SendMessage(AGENT, "who takes this?", private=True))
    await world.ask(SendMessage(SYSTEM, "We will be with you soon."))
    since, _ = await waiting(world)
    assert since is not None
    assert since == pytest.approx(began, abs=1000)
    await world.forget_actors(autojump_clock)
    await world.ask(SendMessage(AGENT, "hello!"))
    assert await waiting(world) == (None, None)


async def test_who_is_resolved_waits_no_more_and_who_writes_again_does(world: World, autojump_clock: MockClock) -> None:
    await world.ask(SendMessage(VISITOR, "hello?"))
    record = await world.ask(UpdateConversation(ADMINISTRATOR, status=Status.RESOLVED))
    assert record.waiting_since is None
    await world.ask(SendMessage(VISITOR, "no!"))
    assert (await waiting(world))[0] is not None


async def test_members_are_reminded_once_of_a_visitor_who_waits(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    await choose(world, reminder_after=30)
    await world.ask(SendMessage(VISITOR, "hello?"))
    since, _ = await waiting(world)
    assert since is not None
    await worker.sleep_until(since + 30 * MINUTE - 1)
    await worker.sweep()
    assert len(await texts(world)) == 1
    await worker.sleep_until(since + 30 * MINUTE)
    for _ in range(3):
        await worker.sweep()
        await trio.sleep(60)
    reminder = (await world.reads.messages(1, 1, limit=1000))[1]
    assert reminder.content == "The visitor has been waiting for an answer for 30 minutes."
    assert (reminder.message_type, reminder.private, len(await texts(world))) == ("activity", True, 2)
    assert await waiting(world) == (since, since + 30 * MINUTE)


async def test_a_visitor_who_waits_again_is_worth_another_reminder(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    await choose(world, reminder_after=1)
    for number in (1, 2):
        await world.ask(SendMessage(VISITOR, "hello?"))
        await trio.sleep(60)
        await worker.sweep()
        assert (await texts(world)).count("The visitor has been waiting for an answer for 1 minute.") == number
        await world.ask(SendMessage(AGENT, "hello!"))
        assert await waiting(world) == (None, None)


async def test_an_answer_that_came_after_the_sweep_is_respected(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    await choose(world, reminder_after=1)
    await world.ask(SendMessage(VISITOR, "hello?"))
    since, _ = await waiting(world)
    assert since is not None
    await worker.enqueue(RemindOfVisitor, Wait(since, 1), conversation_key(1))
    await world.ask(SendMessage(AGENT, "hello!"))
    await worker.run_timers()
    assert await texts(world) == ["hello?", "hello!"]


# Settings.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto_resolve_after", 9),
        ("auto_resolve_after", 1_439_857),
        ("auto_resolve_after", True),
        ("auto_resolve_after", 10.0),
        ("auto_resolve_message", " "),
        ("auto_resolve_message", 1),
        ("auto_resolve_label", ""),
        ("auto_resolve_label", "x" * 65),
        ("auto_resolve_label", ["a"]),
        ("auto_resolve_ignore_waiting", 1),
        ("reminder_after", 0),
        ("reminder_after", "30"),
    ],
)
async def test_a_setting_of_a_timer_that_is_not_acceptable_is_refused(world: World, name: str, value: object) -> None:
    with pytest.raises(Invalid) as refusal:
        await choose(world, **{name: value, "mine": "anything"})
    assert list(refusal.value.fields) == [f"settings.{name}"]
    assert timer_settings({name: value}) == TimerSettings()


async def test_settings_that_are_not_known_and_nulls_are_accepted(world: World) -> None:
    await choose(world, mine={"a": 1}, auto_resolve_after=None, reminder_after=1_439_856, auto_resolve_label="x")
    settings = (await world.collaborators.access.of(1)).settings
    assert timer_settings(settings) == TimerSettings(auto_resolve_label="x", reminder_after=1_439_856)
