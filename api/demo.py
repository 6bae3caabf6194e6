"""A demo account: an administrator, two agents, a viewer, and contacts with one open conversation each.

Filling is idempotent: the same number of conversations twice gives the same people, ids and tokens. For that the
tokens are derived from a seed that is kept in the database. This is right for a demo and for load tests, and for
nothing else: never keep real conversations in a database with a demo account.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from ..actors.entities import Role
from ..actors.events import CONVERSATION_CREATED
from ..actors.times import rfc3339
from ..engine.errors import TertuliaError
from ..storage.contracts import Journal, Reads
from ..storage.records import (
    Account,
    AccountUser,
    Contact,
    Conversation,
    EventRow,
    Inbox,
    Meta,
    Record,
    Token,
    User,
)
from ..storage.writes import Insert, Unit, Write
from .auth import digest_of
from .passwords import hash_password

META_KEY = "demo"
DEFAULT_CONVERSATIONS = 10
#: The password of the demo's users; its hash is computed once, because a good hash is slow.
PASSWORD = "tertulia"

USERS = (
    ("Alma", "alma@demo.example", Role.ADMINISTRATOR),
    ("Bruno", "bruno@demo.example", Role.AGENT),
    ("Carla", "carla@demo.example", Role.AGENT),
    ("Vera", "vera@demo.example", Role.VIEWER),
)


class Demo(msgspec.Struct, frozen=True):
    """What was filled in: enough to make it again."""

    seed: str
    account_id: int
    inbox_id: int
    first_user_id: int
    first_contact_id: int
    first_conversation_id: int
    conversations: int


class NotTheSameDemo(TertuliaError):
    """The database already has a demo account of another size; name another database."""

    code = "conflict"


async def fill(reads: Reads, journal: Journal, now: int, conversations: int | None = None) -> dict[str, Any]:
    """Make the demo account, or find it; returns its people, ids and tokens.

    Args:
        conversations: how many contacts to make, with one conversation each; None takes what is there, or 10.

    Raises:
        NotTheSameDemo: there is one with another number of conversations.
    """
    stored = await reads.meta(META_KEY)
    if stored is None:
        demo = await _make(reads, journal, now, conversations or DEFAULT_CONVERSATIONS)
    else:
        demo = msgspec.json.decode(stored, type=Demo)
    if conversations is not None and conversations != demo.conversations:
        raise NotTheSameDemo(
            f"The database already has a demo account with {demo.conversations} conversations, not {conversations};"
            " name another database."
        )
    return _description(demo)


def _description(demo: Demo) -> dict[str, Any]:
    return {
        "account_id": demo.account_id,
        "inbox_id": demo.inbox_id,
        "users": [
            {"id": demo.first_user_id + n, "role": str(role), "email": email, "token": _token(demo.seed, f"user:{n}")}
            for n, (_, email, role) in enumerate(USERS)
        ],
        "contacts": [
            {
                "id": demo.first_contact_id + n,
                "token": _token(demo.seed, f"contact:{n}"),
                "conversation_id": demo.first_conversation_id + n,
            }
            for n in range(demo.conversations)
        ],
    }


def _token(seed: str, whose: str) -> str:
    digest = hmac.digest(bytes.fromhex(seed), whose.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def _make(reads: Reads, journal: Journal, now: int, count: int) -> Demo:
    demo = Demo(
        seed=secrets.token_hex(32),
        account_id=await _first(reads, Account),
        inbox_id=await _first(reads, Inbox),
        first_user_id=await _first(reads, User, len(USERS)),
        first_contact_id=await _first(reads, Contact, count),
        first_conversation_id=await _first(reads, Conversation, count),
        conversations=count,
    )
    everybody = range(count)
    writes = await _people(reads, demo, now)
    writes += _visitors(demo, everybody, await _first(reads, Token, count), now)
    writes.append(Insert(Meta(key=META_KEY, value=msgspec.json.encode(demo).decode())))
    # One unit, so that a demo that was interrupted has left nothing.
    events = [_created(demo, n, now) for n in everybody]
    await journal.write(Unit(demo.account_id, lambda: None, lambda _: None, writes=writes, events=events))
    return demo


async def _first(reads: Reads, kind: type[Record], count: int = 1) -> int:
    return (await reads.reserve(kind, max(count, 1))).start


async def _people(reads: Reads, demo: Demo, now: int) -> list[Write]:
    writes: list[Write] = [
        Insert(Account(id=demo.account_id, name="Demo", created_at=now, last_display_id=demo.conversations)),
        Insert(
            Inbox(
                id=demo.inbox_id,
                account_id=demo.account_id,
                name="Website",
                identifier=_token(demo.seed, "inbox")[:24],
                created_at=now,
                updated_at=now,
            )
        ),
    ]
    password = await hash_password(PASSWORD)
    tokens = await reads.reserve(Token, len(USERS))
    for n, (name, email, role) in enumerate(USERS):
        user_id = demo.first_user_id + n
        writes += [
            Insert(
                User(
                    id=user_id,
                    account_id=demo.account_id,
                    email=email,
                    name=name,
                    created_at=now,
                    password_hash=password,
                )
            ),
            Insert(AccountUser(account_id=demo.account_id, user_id=user_id, role=role, created_at=now)),
            Insert(
                Token(
                    id=tokens[n],
                    hash=digest_of(_token(demo.seed, f"user:{n}")),
                    kind="user",
                    user_id=user_id,
                    created_at=now,
                )
            ),
        ]
    return writes


def _visitors(demo: Demo, part: range, first_token: int, now: int) -> list[Write]:
    contacts = [
        Contact(
            id=demo.first_contact_id + n,
            account_id=demo.account_id,
            name=_contact_name(n),
            created_at=now,
            updated_at=now,
        )
        for n in part
    ]
    conversations = [
        Conversation(
            id=demo.first_conversation_id + n,
            account_id=demo.account_id,
            inbox_id=demo.inbox_id,
            contact_id=demo.first_contact_id + n,
            display_id=n + 1,
            last_activity_at=now,
            created_at=now,
            updated_at=now,
            last_seq=1,
        )
        for n in part
    ]
    tokens = [
        Token(
            id=first_token + n,
            account_id=demo.account_id,
            hash=digest_of(_token(demo.seed, f"contact:{n}")),
            kind="contact",
            contact_id=demo.first_contact_id + n,
            inbox_id=demo.inbox_id,
            created_at=now,
        )
        for n in part
    ]
    return [Insert(record) for record in (*contacts, *conversations, *tokens)]


def _contact_name(n: int) -> str:
    return f"Visitor {n + 1}"


def _created(demo: Demo, n: int, now: int) -> EventRow:
    conversation_id = demo.first_conversation_id + n
    data: dict[str, Any] = {
        "conversation_id": conversation_id,
        "seq": 1,
        "inbox_id": demo.inbox_id,
        "display_id": n + 1,
        "contact": {"id": demo.first_contact_id + n, "name": _contact_name(n)},
        "status": "open",
        "priority": None,
        "assignee_id": None,
        "labels": [],
        "custom_attributes": {},
        "snoozed_until": None,
        "created_at": rfc3339(now),
        "by": {"type": "system", "id": None, "name": "demo"},
    }
    return EventRow(
        conversation_id, 1, demo.account_id, demo.inbox_id, CONVERSATION_CREATED, "system", None, "demo", None, False,
        msgspec.json.encode(data).decode(), now,
    )  # fmt: skip


def sheet(filled: Mapping[str, Any]) -> str:
    """The people of the account and their tokens, as text for a shell."""
    users, contacts = filled["users"], filled["contacts"]
    first, last = contacts[0]["id"], contacts[-1]["id"]
    lines = [f"# demo account {filled['account_id']}, inbox {filled['inbox_id']}, password {PASSWORD!r}"]
    lines += (f"# {user['role']:<13} {user['email']:<19} {user['token']}" for user in users)
    return "\n".join(
        [
            *lines,
            f"# contacts {first} to {last}, each with a conversation; --json prints their tokens",
            "# an agent and the visitor of the first conversation, for another terminal:",
            f"export TOKEN={users[1]['token']}",
            f"export VISITOR_TOKEN={contacts[0]['token']}",
        ]
    )
