"""A conversation under everything at once, against what it promises: one order, no gap, no loss, no duplicate.

Hypothesis draws what happens (commands of several people, repeated ones, crashes, commits that fail or lose their
acknowledgement, passivation, restarts and kills of the server, subscribers that drop and resume) and the real engine
runs it on the store in memory and a virtual clock. Commands are posted without waiting for answers, so that they meet
in batches and in flight. At the end the log, the answers and what every subscriber received must tell the same story.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from trio.testing import MockClock

from tertulia.actors.commands.edit_message import DeleteMessage, EditMessage
from tertulia.actors.commands.mark_read import MarkRead
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import UpdateConversation
from tertulia.actors.conversation import ConversationActor
from tertulia.actors.entities import Member, Principal, Status
from tertulia.actors.events import Event
from tertulia.actors.jobs.job import BaseJob, JobContext, Result
from tertulia.actors.jobs.lane import RunJob, conversation_key
from tertulia.actors.jobs.queue import new_job
from tertulia.actors.limits import ChatLimits
from tertulia.engine.config import EngineConfig, Lifecycle
from tertulia.engine.errors import TertuliaError
from tertulia.engine.mailbox import Lane
from tertulia.storage.group_commit import GroupCommitLimits
from tertulia.storage.open import open_store
from tertulia.storage.records import Job, JobState, MessageRow
from tertulia.storage.writes import Enqueue, Unit

from .kit import ADMINISTRATOR, AGENT, BASE, SYSTEM, VISITOR, Answer, Crash, World, payload, run_engine, seed
from .subscriber import KEY, Subscriber

Operation: TypeAlias = tuple[Any, ...]

SENDERS: dict[str, Principal] = {"visitor": VISITOR, "agent": AGENT, "administrator": ADMINISTRATOR}
SUBSCRIBERS = 2
#: Small, so that few operations reach every bound: client ids in memory, rows of a page, seconds of idleness.
LIMITS = ChatLimits(remembered_client_ids=2, history_page=4, visitor_rate=0)
CONFIG = EngineConfig(lifecycle=Lifecycle(idle=3))
GROUP_COMMIT = GroupCommitLimits(patience=0.2)
FAULTS_LAST, BACKOFF_LASTS = 4.0, 11.0  # seconds

senders = st.sampled_from(sorted(SENDERS))
seqs = st.integers(1, 12)
operations: st.SearchStrategy[Operation] = st.one_of(
    st.tuples(st.just("send"), senders, st.sampled_from([None, "a", "b", "c", "d", "shared"]), st.booleans()),
    st.tuples(st.just("send"), senders, st.none(), st.just(False)),
    st.tuples(st.just("edit"), senders, seqs),
    st.tuples(st.just("delete"), senders, seqs),
    st.tuples(st.just("read"), senders, seqs),
    st.tuples(st.just("status"), st.sampled_from(list(Status))),
    st.tuples(st.just("labels"), st.sets(st.sampled_from("xyz"))),
    st.tuples(st.just("job"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("crash")),
    st.tuples(st.just("faults"), st.lists(st.sampled_from(["fail", "lose"]), min_size=1, max_size=8)),
    st.tuples(st.just("settle")),
    st.tuples(st.just("passivate")),
    st.tuples(st.just("drop"), st.integers(0, SUBSCRIBERS - 1)),
    st.tuples(st.just("resume"), st.integers(0, SUBSCRIBERS - 1)),
    st.tuples(st.sampled_from(["restart", "kill"])),
)


@dataclass
class Story:
    """What was asked, what was answered, and who listened."""

    asked: list[tuple[Any, Answer]] = field(default_factory=list[tuple[Any, Answer]])
    jobs: list[tuple[Job, Answer]] = field(default_factory=list[tuple[Job, Answer]])
    subscribers: list[Subscriber] = field(default_factory=lambda: [Subscriber() for _ in range(SUBSCRIBERS)])

    def post(self, world: World, command: Any) -> None:
        with suppress(TertuliaError):  # refused at the door: nothing happened
            self.asked.append((command, world.post(command)))

    async def post_job(self, world: World, job: Job) -> None:
        """Claimed by a worker; its actor is to run it."""
        store: Any = world.collaborators.jobs.store  # past the faults
        await store.commit([Unit(1, writes=[Enqueue(job)])])
        answer = Answer()
        with suppress(TertuliaError):
            world.directory.call((ConversationActor, KEY), RunJob(job), answer, timeout=1000, lane=Lane.JOBS)
            self.jobs.append((job, answer))

    def acknowledged(self, kind: type) -> list[tuple[Any, Any]]:
        return [
            (command, answer.value)
            for command, answer in self.asked
            if isinstance(command, kind) and answer.done.is_set() and answer.error is None
        ]


async def play(script: Sequence[Operation]) -> None:
    story, rest, opened = Story(), deque(script), False
    async with open_store("memory:") as store:
        while rest or not opened:
            async with run_engine(store, limits=LIMITS, config=CONFIG, group_commit=GROUP_COMMIT) as world:
                world.collaborators.registry.add(SayAll)
                if not opened:
                    await world.write(*seed())
                    opened = True
                for subscriber in story.subscribers:
                    await subscriber.resume(world)
                await perform_until_the_end(world, story, rest)
            for subscriber in story.subscribers:
                subscriber.drop()
        async with run_engine(store, limits=LIMITS) as world:
            await check(world, story)


async def perform_until_the_end(world: World, story: Story, rest: deque[Operation]) -> None:
    while rest:
        operation = rest.popleft()
        match operation:
            case ("restart",):
                return
            case ("kill",):
                world.committer.faults.extend(["fail"] * 1000)  # from now on nothing reaches the disk
                return
            case ("settle",):
                await settle(world, story)
            case ("passivate",):
                await trio.sleep(CONFIG.lifecycle.idle + 2)
            case ("faults", faults):
                world.committer.faults.extend(faults)
            case ("drop", int(which)):
                story.subscribers[which].drop()
            case ("resume", int(which)):
                await story.subscribers[which].resume(world)
            case ("job", int(messages), bool(refused)):
                await story.post_job(world, job_of(len(story.jobs), messages, refused=refused))
            case _:
                story.post(world, command_of(operation, len(story.asked)))
    await settle(world, story)


async def settle(world: World, story: Story) -> None:
    """Until all faults are over: then everything is answered, and whoever listens has been told everything."""
    await trio.sleep(FAULTS_LAST)
    world.committer.faults.clear()
    await trio.sleep(BACKOFF_LASTS)
    assert all(answer.done.is_set() for _, answer in (*story.asked, *story.jobs)), "somebody waits for ever"
    last = (await world.record()).last_seq
    assert [subscriber.position for subscriber in story.subscribers if subscriber.connected] == [
        last for subscriber in story.subscribers if subscriber.connected
    ], "a live subscriber missed something"


def command_of(operation: Operation, number: int) -> Any:
    match operation:
        case ("send", who, client_id, private):
            by = SENDERS[who]
            # A repeated request is the same in everything; one id is everybody's.
            id = client_id if client_id in (None, "shared") else f"{who}-{client_id}"
            private = isinstance(by, Member) and (client_id == "d" if client_id else private)
            return SendMessage(by, f"{'private' if private else 'public'} {id or number}", id, private)
        case ("edit", who, seq):
            return EditMessage(SENDERS[who], seq, f"edited {number}")
        case ("delete", who, seq):
            return DeleteMessage(SENDERS[who], seq)
        case ("read", who, seq):
            return MarkRead(SENDERS[who], seq)
        case ("status", status):
            return UpdateConversation(ADMINISTRATOR, status=status)
        case ("labels", labels):
            return UpdateConversation(ADMINISTRATOR, labels=tuple(sorted(labels)))
        case _:
            return Crash()


class SayAll(BaseJob[list[str]]):
    async def perform(self, context: JobContext, args: list[str]) -> Result:
        await trio.sleep(0.01)
        for text in args:
            context.then(SendMessage(SYSTEM, text))
        return None


def job_of(number: int, messages: int, *, refused: bool) -> Job:
    """Says so many things; where it is refused, because of the last of them."""
    texts = [f"job {number} {part}" for part in range(messages)] + [" "] * refused
    job = new_job(SayAll, texts, now=BASE, account_id=1, key=conversation_key(1))
    return replace(job, state=JobState.RUNNING, worker="worker", attempt=1)


# What must be true at the end.


async def check(world: World, story: Story) -> None:
    log = await world.log()
    messages = {row.seq: row for row in await world.reads.messages(*KEY, after=0, limit=10_000)}
    record = await world.record()
    assert [event.seq for event in log] == list(range(1, record.last_seq + 1)), "the log has a gap"
    check_answers(story, messages)
    await check_jobs(world, story, messages)
    for subscriber in story.subscribers:
        before = len(subscriber.received)
        await subscriber.resume(world)
        assert [event.seq for event in subscriber.received] == [event.seq for event in log], before
        told = fold(subscriber.received)
        assert told.texts == {seq: row.content for seq, row in messages.items()}
        assert (told.status, told.labels) == (record.status, record.labels)
        assert told.cursors == await cursors(world)


def check_answers(story: Story, messages: dict[int, MessageRow]) -> None:
    client_ids = [row.client_id for row in messages.values() if row.client_id is not None]
    assert len(client_ids) == len(set(client_ids)), "one request was stored twice"
    sent = story.acknowledged(SendMessage)
    for command, answer in sent:
        row = messages[answer.message.seq]
        assert (row.client_id, row.sender_id) == (command.client_id, command.by.id)
        assert row.deleted_at is not None or row.edited_at is not None or row.content == command.content
    anonymous = [answer.message.seq for command, answer in sent if command.client_id is None]
    assert len(anonymous) == len(set(anonymous)), "two requests got one message"
    asked = [command for command, _ in story.asked if isinstance(command, SendMessage) and command.client_id is None]
    stored = [row for row in messages.values() if row.client_id is None and row.sender_type != "system"]
    assert len(anonymous) <= len(stored) <= len(asked)
    for _, row in story.acknowledged(DeleteMessage):
        assert messages[row.seq].content is None, "an acknowledged deletion did not happen"
    for _, row in story.acknowledged(EditMessage):
        assert messages[row.seq].edited_at is not None, "an acknowledged edit did not happen"


async def check_jobs(world: World, story: Story, messages: dict[int, MessageRow]) -> None:
    """What a job said and its end are both in the store, or neither is."""
    said = [row.content for row in messages.values() if row.content is not None and row.content.startswith("job ")]
    # Members may delete or change what it said.
    touched = sum(1 for row in messages.values() if row.sender_type == "system" and (row.edited_at or row.deleted_at))
    for job, answer in story.jobs:
        stored = await world.collaborators.jobs.store.job(1, job.id)
        assert stored is not None
        texts = [text for text in msgspec.json.decode(job.args, type=list[str]) if text != " "]
        there = [text for text in texts if text in said]
        assert there == [text for text in said if text in texts], "said twice, or in another order"
        if stored.state == JobState.COMPLETED:
            assert len(texts) - len(there) <= touched
        else:
            assert there == []
        if answer.error is None and answer.done.is_set():
            assert answer.value.written is (stored.state == JobState.COMPLETED)


@dataclass
class Told:
    """What a client knows that only listens to events."""

    texts: dict[int, str | None] = field(default_factory=dict[int, "str | None"])
    cursors: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    status: str = "open"
    labels: list[str] = field(default_factory=list[str])


def fold(events: Sequence[Event]) -> Told:
    told = Told()
    for event in events:
        data = payload(event)
        match event.type:
            case "message.created":
                told.texts[data["seq"]] = data["content"]
            case "message.updated":
                told.texts[data["message_seq"]] = data["content"]
            case "message.deleted":
                told.texts[data["message_seq"]] = None
            case "conversation.read":
                told.cursors[data["reader"]["type"], data["reader"]["id"]] = data["read_seq"]
            case "conversation.status_changed":
                told.status = data["status"]
            case "conversation.labels_changed":
                told.labels = data["labels"]
            case other:
                raise AssertionError(other)
    return told


async def cursors(world: World) -> dict[tuple[str, int], int]:
    records = await world.reads.conversation(*KEY)
    assert records is not None
    return {(cursor.reader_type, cursor.reader_id): cursor.seq for cursor in records.cursors}


@given(st.lists(operations, min_size=12, max_size=40))
@example([("faults", ["lose"] * 3), ("send", "agent", "b", False), ("settle",), ("send", "agent", "c", False)])
@example(
    [
        *[("send", "agent", None, False)] * 4,
        *[("resume", 0)] * 3,
        ("send", "agent", None, False),
        ("faults", ["lose"]),
        *[("resume", 0)] * 3,
    ]
)
@example([("send", "agent", id, False) for id in ("a", "b", "c", "d", "a")])
@example([("send", "agent", "a", False), ("restart",), ("send", "agent", "a", False), ("edit", "agent", 1)])
@example([("send", "agent", "a", False), ("crash",), ("edit", "agent", 1), ("crash",), ("delete", "agent", 1)])
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_whatever_happens_the_log_the_answers_and_the_subscribers_tell_one_story(script: list[Operation]) -> None:
    run_on(script, MockClock(autojump_threshold=0))


def run_on(script: Sequence[Operation], autojump_clock: MockClock) -> None:
    trio.run(play, script, clock=autojump_clock)
