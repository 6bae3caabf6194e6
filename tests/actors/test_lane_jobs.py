"""Jobs in the lanes of actors: never at the same time as a command, and one transaction with what they cause."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.account import CreateContact, UpdateAccount
from tertulia.actors.commands.edit_message import DeleteMessage, EditMessage
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import DeleteConversation, UpdateConversation
from tertulia.actors.conversation import ConversationActor
from tertulia.actors.entities import Status
from tertulia.actors.events import MESSAGE_CREATED
from tertulia.actors.jobs.endings import Ending
from tertulia.actors.jobs.job import BaseJob, Cancel, Discard, JobContext, Result, Snooze
from tertulia.actors.jobs.lane import Ran, RunJob, account_key, conversation_key
from tertulia.engine.errors import NotFound, OutcomeUnknown, Unavailable
from tertulia.engine.mailbox import Lane
from tertulia.storage.records import Job, JobState
from tertulia.storage.writes import Unit

from .kit import ADMINISTRATOR, AGENT, SYSTEM, VISITOR, Answer, World, kinds
from .lane_worker import LaneWorker

HERE = conversation_key(1)


class Script(BaseJob[str]):
    """Does what the test says."""

    def __init__(self, acts: dict[str, Any]) -> None:
        self._acts = acts

    async def perform(self, context: JobContext, args: str) -> Result:
        result: Result = await self._acts[args](context)
        return result

    def backoff(self, attempt: int) -> float:
        return 7.0


class Worker(LaneWorker):
    """With a job that does what `acts` says under its name."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.acts: dict[str, Any] = {}
        world.collaborators.registry.add(Script, lambda: Script(self.acts))

    async def run(self, act: Any, *, key: str = HERE) -> tuple[Ran, Job]:
        """A job that does this: how it ended, and what the store says of it."""
        self.acts["it"] = act
        new = await self.enqueue(Script, "it", key)
        [ran] = await self.run_due()
        job = await self.store.job(1, new.id)
        assert job is not None
        return ran, job


@pytest.fixture
def worker(world: World) -> Worker:
    return Worker(world)


def says(*commands: Any, result: Result = None) -> Any:
    async def act(context: JobContext) -> Result:
        for command in commands:
            context.then(command)
        return result

    return act


async def contents(world: World) -> list[str | None]:
    return [row.content for row in await world.reads.messages(1, 1, limit=1000)]


async def test_what_a_job_says_and_its_end_are_one_transaction(world: World, worker: Worker) -> None:
    heard = world.listen()
    ran, job = await worker.run(says(SendMessage(SYSTEM, "one"), SendMessage(SYSTEM, "two")))
    assert (ran.ending, ran.written) == (Ending(JobState.COMPLETED), True)
    assert (job.state, job.worker, job.attempt) == (JobState.COMPLETED, None, 1)
    assert await contents(world) == ["one", "two"]
    assert kinds(heard) == [MESSAGE_CREATED, MESSAGE_CREATED]


async def test_a_job_whose_transaction_fails_said_nothing_and_is_not_over(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    async def act(context: JobContext) -> Result:
        world.committer.faults.extend(["fail"] * 1000)
        context.then(SendMessage(SYSTEM, "one"))
        return None

    with pytest.raises(Unavailable):
        await worker.run(act)
    [job] = await worker.jobs()
    assert job.state == JobState.RUNNING
    assert await contents(world) == []


async def test_where_the_answer_of_the_store_is_lost_both_are_there(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    heard = world.listen()

    async def act(context: JobContext) -> Result:
        world.committer.faults.extend(["lose"] * 1000)
        context.then(SendMessage(SYSTEM, "one"))
        return None

    with pytest.raises(OutcomeUnknown):
        await worker.run(act)
    [job] = await worker.jobs()
    assert job.state == JobState.COMPLETED
    assert await contents(world) == ["one"]
    world.committer.faults.clear()
    await world.ask(SendMessage(AGENT, "two"), timeout=60)
    assert len(heard) == 2, "the next incarnation broadcasts what the first one could not"


async def test_a_job_enqueued_by_a_turn_is_there_if_and_only_if_its_events_are(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    due: list[int] = []
    world.collaborators.jobs.listeners.append(due.append)
    until = worker.now + 600_000
    snooze = UpdateConversation(ADMINISTRATOR, status=Status.SNOOZED, snoozed_until=until)
    world.committer.faults.extend(["fail"] * 1000)
    with pytest.raises(Unavailable):
        await world.ask(snooze, timeout=60)
    assert (await worker.jobs(), await world.log(), due) == ([], [], [])
    world.committer.faults.clear()
    await world.ask(snooze, timeout=60)
    [job] = await worker.jobs()
    assert (job.key, job.account_id, job.run_at, job.state) == (HERE, 1, until, JobState.SCHEDULED)
    assert (len(await world.log()), due) == (2, [until])


async def test_a_job_of_a_turn_that_is_run_again_is_enqueued_once(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    await world.ask(SendMessage(AGENT, "one"))
    another_node = Unit(1, conversation_id=1, old_seq=1, new_seq=2)
    await world.collaborators.journal.write(another_node)
    until = worker.now + 60_000
    await world.ask(UpdateConversation(ADMINISTRATOR, status=Status.SNOOZED, snoozed_until=until), timeout=60)
    assert (await world.record()).last_seq == 4
    assert len(await worker.jobs()) == 1


async def test_a_job_that_met_a_stale_state_is_run_again(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    runs: list[int] = []

    async def act(context: JobContext) -> Result:
        if not runs:
            await world.collaborators.journal.write(Unit(1, conversation_id=1, old_seq=0, new_seq=1))
        runs.append(1)
        context.then(UpdateConversation(SYSTEM, status=Status.OPEN))  # which it is: nothing to write
        return None

    ran, job = await worker.run(act)
    assert (len(runs), ran.written, job.state) == (2, True, JobState.COMPLETED)


async def test_a_command_that_is_refused_takes_back_those_before_it(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    heard = world.listen()
    refused = SendMessage(SYSTEM, " ")
    ran, job = await worker.run(says(SendMessage(SYSTEM, "one", "c1"), refused))
    assert not ran.written
    assert job.state == JobState.SCHEDULED
    assert job.run_at == pytest.approx(worker.now + 7000, abs=1)
    assert job.errors[0]["error"] == "A value is not acceptable. content: A message must not be empty."
    assert (await contents(world), heard) == ([], [])
    sent = await world.ask(SendMessage(SYSTEM, "again", "c1"))
    assert (sent.message.seq, sent.repeated) == (1, False)


async def test_a_command_with_a_bug_does_not_crash_the_actor(world: World, worker: Worker) -> None:
    def bug(state: Any, command: Any, draft: Any) -> None:
        draft.add_message(SYSTEM, "activity", "half")
        raise ZeroDivisionError("a bug")

    world.handlers[int] = bug
    before = world.directory.crashes
    _, job = await worker.run(says(SendMessage(SYSTEM, "one"), 1))
    assert job.errors[0]["error"] == "ZeroDivisionError: a bug"
    assert world.directory.crashes == before
    assert await contents(world) == []
    assert (await world.ask(SendMessage(AGENT, "two"))).message.seq == 1


async def test_a_job_that_fails_says_nothing(world: World, worker: Worker) -> None:
    async def act(context: JobContext) -> Result:
        context.then(SendMessage(SYSTEM, "one"))
        raise OSError("no such thing")

    ran, job = await worker.run(act)
    assert not ran.written
    assert job.errors == [{"attempt": 1, "at": job.errors[0]["at"], "error": "OSError: no such thing"}]
    assert await contents(world) == []


@pytest.mark.parametrize(
    ("result", "state"),
    [(Snooze(5), JobState.SCHEDULED), (Cancel("late"), JobState.CANCELLED), (Discard("never"), JobState.DISCARDED)],
)
async def test_every_result_goes_with_what_the_job_says(
    world: World, worker: Worker, result: Result, state: str
) -> None:
    ran, job = await worker.run(says(SendMessage(SYSTEM, "one"), result=result))
    assert (job.state, ran.written) == (state, True)
    assert await contents(world) == ["one"]


async def test_a_job_that_takes_too_long_is_stopped(world: World, worker: Worker, autojump_clock: MockClock) -> None:
    async def act(context: JobContext) -> Result:
        await trio.sleep_forever()

    ran, job = await worker.run(act)
    assert ran.duration == pytest.approx(world.collaborators.job_limits.in_lane)
    assert "longer than 10 s" in job.errors[0]["error"]


async def test_what_is_no_job_no_result_or_no_argument_ends_the_attempt(world: World, worker: Worker) -> None:
    class Gone(BaseJob[str]):
        pass

    class Picky(BaseJob[int]):
        name = "script"

    async def act(context: JobContext) -> Any:
        return "done"

    _, job = await worker.run(act)
    assert job.errors[0]["error"].startswith("TypeError: perform answered 'done'")
    await worker.enqueue(Gone, "", HERE)
    await worker.enqueue(Picky, 1, HERE)
    await worker.run_due()
    gone, picky = (await worker.jobs())[1:]
    assert gone.errors[0]["error"] == "This program knows no job that is called 'gone'."
    assert picky.state == JobState.DISCARDED
    assert picky.errors[0]["error"].startswith("Its arguments cannot be read")


async def test_no_command_runs_while_a_job_runs(world: World, worker: Worker) -> None:
    going_on, go_on = trio.Event(), trio.Event()

    async def act(context: JobContext) -> Result:
        going_on.set()
        await go_on.wait()
        context.then(SendMessage(SYSTEM, "of the job"))
        return None

    async with trio.open_nursery() as nursery:
        first = world.post(SendMessage(AGENT, "before"))
        nursery.start_soon(worker.run, act)
        await going_on.wait()
        second = world.post(SendMessage(AGENT, "after"))
        await wait_all_tasks_blocked()
        assert first.done.is_set()
        assert not second.done.is_set()
        go_on.set()
    await second.get()
    assert await contents(world) == ["before", "of the job", "after"]


async def test_jobs_and_commands_that_come_together_all_run_in_their_order(world: World, worker: Worker) -> None:
    async def act(context: JobContext) -> Result:
        context.then(SendMessage(SYSTEM, f"job {context.job.id}"))
        return None

    worker.acts["it"] = act
    jobs: list[Job] = []
    for key in ("x", "y", "z"):  # claimed together: no store would do that with one key
        await worker.enqueue(Script, "it", key)
        jobs += await worker.claim()
    answers = [world.post(SendMessage(AGENT, "one")), world.post(SendMessage(AGENT, "two"))]
    ran = [Answer() for _ in jobs]
    for job, answer in zip(jobs, ran, strict=True):
        world.directory.call((ConversationActor, (1, 1)), RunJob(job), answer, timeout=1000, lane=Lane.JOBS)
    for answer in (*answers, *ran):
        await answer.get()
    assert await contents(world) == ["one", "two", *[f"job {job.id}" for job in jobs]]


async def test_a_job_that_was_given_up_leaves_nothing_behind(world: World, worker: Worker) -> None:
    going_on, go_on = trio.Event(), trio.Event()

    async def act(context: JobContext) -> Result:
        going_on.set()
        await go_on.wait()
        context.then(SendMessage(SYSTEM, "one"))
        return None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run, act)
        await going_on.wait()
        nursery.cancel_scope.cancel()
    go_on.set()
    assert (await world.ask(SendMessage(AGENT, "two"))).message.seq == 1
    [job] = await worker.jobs()
    assert job.state == JobState.RUNNING


async def test_a_message_that_an_earlier_attempt_has_sent_is_not_sent_again(
    world: World, worker: Worker, autojump_clock: MockClock
) -> None:
    for number in range(100):
        await world.ask(SendMessage(SYSTEM, "first", f"c{number}"))
        await world.ask(SendMessage(SYSTEM, "first", f"d{number}"))
    ran, _ = await worker.run(says(SendMessage(SYSTEM, "first", "c0")))
    assert ran.written
    assert len(await contents(world)) == 200


async def test_a_job_edits_and_deletes_what_is_in_the_store(world: World, worker: Worker) -> None:
    await world.ask(SendMessage(VISITOR, "one"))
    ran, _ = await worker.run(says(SendMessage(SYSTEM, "bye"), DeleteMessage(SYSTEM, 1)))
    assert (ran.written, await contents(world)) == (True, [None, "bye"])
    ran, _ = await worker.run(says(DeleteMessage(SYSTEM, 2), EditMessage(AGENT, 1, "no")))
    assert (ran.written, await contents(world)) == (False, [None, "bye"])
    ran, _ = await worker.run(says(DeleteConversation(SYSTEM)))
    assert ran.written
    assert (await world.record()).deleted_at is not None


async def test_the_job_of_a_conversation_that_is_not_there_is_refused(world: World, worker: Worker) -> None:
    worker.acts["it"] = says()
    await worker.enqueue(Script, "it", conversation_key(77))
    with pytest.raises(NotFound):
        await worker.run_due()


async def test_an_account_runs_its_jobs_between_its_commands(world: World, worker: Worker) -> None:
    commands = CreateContact(SYSTEM, "Dora"), UpdateAccount(ADMINISTRATOR, name="Uno")
    ran, job = await worker.run(says(*commands), key=account_key(1))
    assert (ran.written, job.state) == (False, JobState.COMPLETED)
    records = await world.reads.account(1)
    assert records is not None
    assert records.account.name == "Uno"


async def test_a_refused_command_ends_the_attempt_of_an_accounts_job(world: World, worker: Worker) -> None:
    commands = UpdateAccount(SYSTEM, name="Uno"), UpdateAccount(AGENT, name="Due")
    _, job = await worker.run(says(*commands), key=account_key(1))
    assert (job.state, job.errors[0]["error"]) == (JobState.SCHEDULED, "You may not do this.")
    _, job = await worker.run(says(SendMessage(SYSTEM, "no")), key=account_key(1))
    assert "SendMessage is no command of an account" in job.errors[0]["error"]
