"""A small world for tests of the domain: the real engine on the store in memory, with faults at its seams.

Two accounts, so that every test can be tempted to cross between them:

    account 1: administrator 1, agents 2 (member of inbox 1), 3 (not a member), viewer 4
               inbox 1 (members: 2), inbox 2 (open); contacts 1 and 2
               conversation 1 (inbox 1, contact 1), conversation 2 (inbox 2, contact 2)
    account 2: administrator 9, inbox 3 (open), contact 3, conversation 3
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.access import AccessBook
from tertulia.actors.account import AccountActor, account_command_handlers
from tertulia.actors.conversation import Collaborators, CommandHandler, ConversationActor, command_handlers
from tertulia.actors.entities import Member, System, Visitor
from tertulia.actors.events import Event, event_of
from tertulia.actors.jobs.limits import JobLimits
from tertulia.actors.jobs.queue import JobQueue
from tertulia.actors.limits import ChatLimits
from tertulia.actors.webhooks.limits import WebhookLimits
from tertulia.actors.webhooks.port import NoSender, WebhookSender
from tertulia.engine.actor import Actor
from tertulia.engine.config import EngineConfig
from tertulia.engine.directory import Directory, Factory, open_directory
from tertulia.engine.errors import OutcomeUnknown, Unavailable
from tertulia.engine.hub import Hub
from tertulia.engine.mailbox import Lane
from tertulia.storage.contracts import Reads
from tertulia.storage.group_commit import Committer, GroupCommit, GroupCommitLimits
from tertulia.storage.open import open_store
from tertulia.storage.records import (
    Account,
    AccountUser,
    Contact,
    Conversation,
    EventRow,
    Inbox,
    InboxMember,
    Record,
    User,
)
from tertulia.storage.writes import Insert, Unit

BASE = 1_700_000_000_000

ADMINISTRATOR = Member(1, 1, "Ada")
AGENT = Member(1, 2, "Ben")
OUTSIDER = Member(1, 3, "Cleo")  # an agent who is not a member of inbox 1
VIEWER = Member(1, 4, "Dan")
STRANGER = Member(2, 9, "Eve")  # the administrator of the other account
VISITOR = Visitor(1, 1, 1, "Ana")
OTHER_VISITOR = Visitor(1, 2, 2, "Bob")
SYSTEM = System(1)


def seed() -> list[Record]:
    """The rows of the two accounts."""
    people = {1: ("Ada", "administrator"), 2: ("Ben", "agent"), 3: ("Cleo", "agent"), 4: ("Dan", "viewer")}
    at: dict[str, Any] = {"created_at": BASE}
    both: dict[str, Any] = {"created_at": BASE, "updated_at": BASE}
    rows: list[Record] = [Account(id=1, name="One", last_display_id=2, **at), Account(id=2, name="Two", **at)]
    for id, (name, _) in [*people.items(), (9, ("Eve", ""))]:
        rows.append(User(id=id, email=f"{name.lower()}@example.org", name=name, **at))
    for id, (_, role) in people.items():
        rows.append(AccountUser(account_id=1, user_id=id, role=role, **at))
    rows.append(AccountUser(account_id=2, user_id=9, role="administrator", **at))
    for id, account in ((1, 1), (2, 1), (3, 2)):
        rows.append(Inbox(id=id, account_id=account, name=f"Inbox {id}", identifier=f"inbox-{id}", **both))
    rows.append(InboxMember(account_id=1, inbox_id=1, user_id=2))
    for id, account, name in ((1, 1, "Ana"), (2, 1, "Bob"), (3, 2, "Cid")):
        rows.append(Contact(id=id, account_id=account, name=name, **both))
    for id, account, inbox, contact in ((1, 1, 1, 1), (2, 1, 2, 2), (3, 2, 3, 3)):
        rows.append(
            Conversation(
                id=id,
                account_id=account,
                inbox_id=inbox,
                contact_id=contact,
                display_id=id,
                last_activity_at=BASE,
                **both,
            )
        )
    return rows


class FaultyCommitter:
    """A store's writer whose next commits fail: `fail` before anything is written, `lose` after all of it was."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self.faults: deque[str] = deque()
        self.gate = trio.Event()  # commits wait while it is not set
        self.gate.set()

    async def commit(self, units: Sequence[Unit]) -> dict[int, Exception]:
        await self.gate.wait()
        fault = self.faults.popleft() if self.faults else None
        if fault == "fail":
            raise Unavailable("The disk is full.")
        refused = await self._committer.commit(units)
        if fault == "lose":
            raise OutcomeUnknown
        return refused


class Crash:
    """A command whose handler has a bug."""


def _crash(*_: Any) -> None:
    raise ZeroDivisionError("a bug")


class Answer:
    """What came of a posted command: `value` or `error`, once `done` is set."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.value: Any = None
        self.error: Exception | None = None

    def resolve(self, value: Any) -> None:
        self.value = value
        self.done.set()

    def refuse(self, error: Exception) -> None:
        self.error = error
        self.done.set()

    async def get(self) -> Any:
        await self.done.wait()
        if self.error is not None:
            raise self.error
        return self.value


@dataclass
class World:
    """One running engine over the store, and what happened in it."""

    directory: Directory
    collaborators: Collaborators
    committer: FaultyCommitter
    handlers: dict[type, CommandHandler]
    limits: ChatLimits

    @property
    def reads(self) -> Reads:
        return self.collaborators.reads

    @property
    def hub(self) -> Hub[Event]:
        return self.collaborators.hub

    async def ask(self, command: Any, conversation: int = 1, account: int = 1, timeout: float | None = None) -> Any:
        return await self.directory.ref(ConversationActor, (account, conversation)).ask(command, timeout=timeout)

    def post(self, command: Any, conversation: int = 1, account: int = 1) -> Answer:
        """Ask without waiting: commands posted one after the other are in the mailbox in that order."""
        answer = Answer()
        self.directory.call((ConversationActor, (account, conversation)), command, answer, timeout=1000)
        return answer

    def post_account(self, command: Any, account: int = 1) -> Answer:
        answer = Answer()
        self.directory.call((AccountActor, account), command, answer, timeout=1000)
        return answer

    def tell(self, command: Any, lane: Lane = Lane.COMMANDS) -> None:
        self.directory.ref(ConversationActor, (1, 1)).tell(command, lane)

    async def ask_account(self, command: Any, account: int = 1) -> Any:
        return await self.directory.ref(AccountActor, account).ask(command)

    def listen(self, topic: str = "conversation:1") -> list[Event]:
        """Everything that the topic publishes from now on."""
        heard: list[Event] = []
        self.hub.tap(topic, heard.extend)
        return heard

    async def log(self, conversation: int = 1, account: int = 1, after: int = 0) -> list[Event]:
        rows = await self.reads.log(account, conversation, after=after, limit=100_000)
        return [event_of(row) for row in rows]

    async def event_rows(self, type: str, conversation: int = 1) -> list[EventRow]:
        rows = await self.reads.log(1, conversation, after=0, limit=1000)
        return [row for row in rows if isinstance(row, EventRow) and row.type == type]

    async def record(self, conversation: int = 1, account: int = 1) -> Conversation:
        records = await self.reads.conversation(account, conversation)
        assert records is not None
        return records.conversation

    async def write(self, *rows: Record) -> None:
        await self.collaborators.journal.write(Unit(account_id=1, writes=[Insert(row) for row in rows]))

    async def forget_actors(self, autojump_clock: MockClock) -> None:
        """Let every actor passivate; takes the clock to show that the time is virtual."""
        await trio.sleep(self.directory.config.lifecycle.idle + 1)
        await wait_all_tasks_blocked()
        assert not self.directory.cells


def payload(event: Event, audience: Any = "member") -> dict[str, Any]:
    """The event's data as this audience gets it."""
    message: dict[str, Any] = msgspec.json.decode(event.encoded("json", audience))
    assert message["type"] == event.type
    data: dict[str, Any] = message["data"]
    return data


def kinds(events: Sequence[Event]) -> list[str]:
    return [event.type for event in events]


def visible_to_visitors(events: Sequence[Event]) -> list[Event]:
    """What the gateway's projection lets through."""
    return [event for event in events if not event.private]


def wall_clock() -> int:
    """Virtual: it moves with trio's clock."""
    return BASE + int(trio.current_time() * 1000) % 1_000_000_000


@asynccontextmanager
async def run_engine(
    store: Any,
    *,
    limits: ChatLimits | None = None,
    config: EngineConfig | None = None,
    group_commit: GroupCommitLimits | None = None,
    extra_handlers: Mapping[type, Callable[..., Any]] | None = None,
    sender: WebhookSender | None = None,
    webhook_limits: WebhookLimits | None = None,
) -> AsyncGenerator[World]:
    """An engine over a store that is open already: what `open_engine` puts together, with a faulty writer."""
    limits = limits or ChatLimits()
    committer = FaultyCommitter(store)
    journal = GroupCommit(committer, group_commit)
    jobs = JobQueue(store, journal, wall_clock, JobLimits())
    collaborators = Collaborators(
        store, journal, Hub[Event](), AccessBook(store), wall_clock, limits, jobs,
        webhook_limits=webhook_limits or WebhookLimits(), sender=sender or NoSender(),
    )  # fmt: skip
    handlers: dict[type, CommandHandler] = {**command_handlers(limits), Crash: _crash, **(extra_handlers or {})}
    account_handlers = account_command_handlers(collaborators)
    factories: dict[type[Actor[Any]], Factory] = {
        ConversationActor: lambda context: ConversationActor(context, collaborators, handlers),
        AccountActor: lambda context: AccountActor(context, collaborators, account_handlers),
    }
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        async with open_directory(config or EngineConfig(), factories) as directory:
            yield World(directory, collaborators, committer, handlers, limits)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_world(**settings: Any) -> AsyncGenerator[World]:
    async with open_store("memory:") as store, run_engine(store, **settings) as world:
        await world.write(*seed())
        yield world
