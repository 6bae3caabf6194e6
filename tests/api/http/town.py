"""Two accounts side by side, and a client for their HTTP API.

`north` has one person of each role, two inboxes and three conversations; `south` is another tenant. Each token is the
name of its holder, so that a test reads `client.get("/inboxes", by="viewer")`.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from quart_trio import QuartTrio

from tertulia.actors.entities import Role
from tertulia.actors.jobs.limits import JobLimits
from tertulia.api.auth import Authenticator, digest_of
from tertulia.api.engine import Engine, open_engine
from tertulia.api.http import make_app
from tertulia.api.http_settings import HttpSettings
from tertulia.api.openapi import PLAIN
from tertulia.api.settings import Settings
from tertulia.storage.records import (
    Account,
    AccountUser,
    Contact,
    Conversation,
    Inbox,
    InboxMember,
    Job,
    JobState,
    MessageRow,
    Record,
    Token,
    User,
    Webhook,
    WebhookDelivery,
)
from tertulia.storage.writes import Insert, Unit, Write

START = 1_700_000_000_000
SECRET = "A" * 43 + "="  # 32 bytes of base64
NORTH, SOUTH = 1, 2
#: Ids of users, by name.
USERS = {"admin": 1, "agent": 2, "other_agent": 3, "viewer": 4, "southerner": 5}
ROLES = {
    "admin": Role.ADMINISTRATOR,
    "agent": Role.AGENT,
    "other_agent": Role.AGENT,
    "viewer": Role.VIEWER,
}
OPEN_INBOX, CLOSED_INBOX, SOUTH_INBOX = 1, 2, 3  # the closed one has `other_agent` as its only member
VISITOR, OTHER_VISITOR, SOUTH_CONTACT = 1, 2, 3
MINE, UNASSIGNED, CLOSED, SOUTH_CONVERSATION = 1, 2, 3, 4  # `MINE` is assigned to `agent`, and the visitor's
NORTH_JOB, SOUTH_JOB = "1" * 28, "2" * 28  # to run in a year
HOOK, SOUTH_HOOK = 1, 2  # webhooks
SENT, SOUTH_SENT = "msg_" + "1" * 28, "msg_" + "2" * 28  # a delivery of each, which failed
NOWHERE = 987_654  # an id that nothing has


class Clock:
    """The time of day, as a test sets it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def data(self) -> Any:
        assert 200 <= self.status < 300, self.body
        return self.json["data"]

    @property
    def cursor(self) -> str | None:
        found: str | None = self.json["meta"]["next_cursor"]
        return found

    @property
    def problem(self) -> tuple[int, str]:
        """Status and code of an error."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        assert self.json["status"] == self.status
        return self.status, self.json["code"]

    @property
    def faults(self) -> dict[str, str]:
        """What is wrong, by path."""
        return {entry["path"]: entry["detail"] for entry in self.json["errors"]}


class Client:
    """Calls the application without a socket."""

    def __init__(self, app: QuartTrio) -> None:
        self.app = app

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Reply:
        return await self.call("POST", path, body, **options)

    async def put(self, path: str, body: Any = None, **options: Any) -> Reply:
        return await self.call("PUT", path, body, **options)

    async def patch(self, path: str, body: Any = None, **options: Any) -> Reply:
        return await self.call("PATCH", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Reply:
        return await self.call("DELETE", path, **options)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        by: str | None = None,
        account: int | None = NORTH,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Reply:
        """One request; `body` goes as JSON, `raw` as it is. Visitors name no account, as in life."""
        sent = {"Content-Type": "application/json"} if body is not None or raw is not None else {}
        if by is not None:
            sent["Authorization"] = f"Bearer {by}"
            if by in USERS and account is not None:
                sent["X-Account-Id"] = str(account)
        content = raw if raw is not None else msgspec.json.encode(body) if body is not None else None
        test_client: Any = self.app.test_client()
        response = await test_client.open(
            path if path in PLAIN or path.startswith("/api") else f"/api/v1{path}",
            method=method,
            headers={**sent, **(headers or {})},
            data=content,
        )
        answer: Any = await response.get_data(as_text=False)
        return Reply(response.status_code, response.headers, bytes(answer))


@dataclass
class Town:
    """All of it."""

    engine: Engine
    authenticator: Authenticator
    app: QuartTrio
    clock: Clock
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.app)

    async def write(self, *records: Record, account_id: int = NORTH) -> None:
        await self.submit(*[Insert(record) for record in records], account_id=account_id)

    async def submit(self, *writes: Write, account_id: int = NORTH, messages: tuple[MessageRow, ...] = ()) -> None:
        unit = Unit(account_id, lambda: None, lambda error: None, writes=list(writes), messages=list(messages))
        await self.engine.world.journal.write(unit)


@asynccontextmanager
async def open_town(
    http: HttpSettings | None = None, settings: Settings | None = None, *, database: str = "memory:"
) -> AsyncGenerator[Town, None]:
    """Without settings it runs no jobs, so that each stays as it is and nothing is sent to anybody."""
    clock = Clock()
    settings = settings or Settings(jobs=JobLimits(run=False))
    async with open_engine(database, settings, wall_clock=clock) as engine:
        world = engine.world
        authenticator = Authenticator(world.reads, world.access, clock)
        app = make_app(engine, authenticator=authenticator, settings=http)
        town = Town(engine, authenticator, app, clock)
        await town.write(*people())
        await town.write(*places())
        await town.write(later(NORTH_JOB, NORTH), *hook(HOOK, NORTH, SENT))
        await town.write(later(SOUTH_JOB, SOUTH), *hook(SOUTH_HOOK, SOUTH, SOUTH_SENT), account_id=SOUTH)
        await town.submit(messages=tuple(first_words()))
        yield town


def people() -> list[Record]:
    accounts = [
        Account(id=account, name=name, created_at=START, last_display_id=4)
        for account, name in ((1, "North"), (2, "South"))
    ]
    users = [User(id=id, email=f"{name}@example.org", name=name, created_at=START) for name, id in USERS.items()]
    members = [
        AccountUser(account_id=NORTH, user_id=USERS[name], role=role, created_at=START) for name, role in ROLES.items()
    ]
    stranger = AccountUser(account_id=SOUTH, user_id=USERS["southerner"], role=Role.ADMINISTRATOR, created_at=START)
    tokens = [
        Token(id=id, hash=digest_of(name), kind="user", user_id=id, created_at=START) for name, id in USERS.items()
    ]
    return [*accounts, *users, *members, stranger, *tokens]


def places() -> list[Record]:
    inboxes = [
        Inbox(id=id, account_id=account, name=name, identifier=f"public-{name}", created_at=START, updated_at=START)
        for id, account, name in ((1, NORTH, "open"), (2, NORTH, "closed"), (3, SOUTH, "south"))
    ]
    member = InboxMember(account_id=NORTH, inbox_id=CLOSED_INBOX, user_id=USERS["other_agent"])
    contacts = [
        Contact(id=id, account_id=account, name=f"contact {id}", created_at=START, updated_at=START)
        for id, account in ((VISITOR, NORTH), (OTHER_VISITOR, NORTH), (SOUTH_CONTACT, SOUTH))
    ]
    tokens = [
        Token(
            id=100 + contact,
            hash=digest_of(name),
            kind="contact",
            account_id=account,
            contact_id=contact,
            inbox_id=inbox,
            created_at=START,
        )
        for name, account, contact, inbox in (
            ("visitor", NORTH, VISITOR, OPEN_INBOX),
            ("other_visitor", NORTH, OTHER_VISITOR, OPEN_INBOX),
            ("south_visitor", SOUTH, SOUTH_CONTACT, SOUTH_INBOX),
        )
    ]
    conversations = [
        Conversation(
            id=id,
            account_id=account,
            inbox_id=inbox,
            contact_id=contact,
            display_id=id,
            assignee_id=assignee,
            last_seq=1,
            last_message_seq=1,
            last_activity_at=START + id,
            created_at=START,
            updated_at=START + id,
        )
        for id, account, inbox, contact, assignee in (
            (MINE, NORTH, OPEN_INBOX, VISITOR, USERS["agent"]),
            (UNASSIGNED, NORTH, OPEN_INBOX, OTHER_VISITOR, None),
            (CLOSED, NORTH, CLOSED_INBOX, OTHER_VISITOR, None),
            (SOUTH_CONVERSATION, SOUTH, SOUTH_INBOX, SOUTH_CONTACT, None),
        )
    ]
    return [*inboxes, member, *contacts, *tokens, *conversations]


def later(id: str, account_id: int) -> Job:
    """A job that has to wait for its time."""
    return Job(
        id=id, account_id=account_id, queue="mail", kind="send_receipt", args='{"to":"ann@example.org"}',
        state=JobState.SCHEDULED, run_at=START + 365 * 86_400_000, created_at=START,
    )  # fmt: skip


def hook(id: int, account_id: int, delivery_id: str) -> list[Record]:
    """A webhook, and a delivery that its receiver did not take."""
    webhook = Webhook(
        id=id, account_id=account_id, url=f"https://hooks.example/{id}", secret=f"whsec_{SECRET}",
        events=["contact.updated"], created_at=START, updated_at=START,
    )  # fmt: skip
    attempt = {"number": 8, "at": START, "status": 500, "duration": 12, "reason": "It said 500.", "answer": "Oh no"}
    delivery = WebhookDelivery(
        id=delivery_id, account_id=account_id, webhook_id=id, event_type="message.created",
        payload='{"type":"message.created","data":{"seq":1}}', created_at=START, state="failed",
        finished_at=START + 1000, attempts=[attempt],
    )  # fmt: skip
    return [webhook, delivery]


def first_words() -> list[MessageRow]:
    """Every conversation begins with one message of its contact, seq 1."""
    return [
        MessageRow(
            conversation, 1, account, inbox, "incoming", "text", f"Hello from {contact}", None,
            False, "contact", contact, f"contact {contact}", None, START,
        )
        for conversation, account, inbox, contact in (
            (MINE, NORTH, OPEN_INBOX, VISITOR),
            (UNASSIGNED, NORTH, OPEN_INBOX, OTHER_VISITOR),
            (CLOSED, NORTH, CLOSED_INBOX, OTHER_VISITOR),
            (SOUTH_CONVERSATION, SOUTH, SOUTH_INBOX, SOUTH_CONTACT),
        )
    ]  # fmt: skip
