"""Two small accounts to store: rows with the least that each needs, and units that write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tertulia.storage.contracts import Reads
from tertulia.storage.group_commit import Committer
from tertulia.storage.records import (
    Account,
    AccountEventRow,
    AccountUser,
    Contact,
    Conversation,
    EventRow,
    Inbox,
    InboxMember,
    MessageRow,
    ReadCursor,
    Record,
    Token,
    User,
)
from tertulia.storage.writes import Insert, Unit, Write

T = 1_700_000_000_000  # milliseconds: when everything began

OURS, THEIRS = 1, 2  # accounts; what belongs to THEIRS has ids from 21 on


def conversation(id: int, account_id: int = OURS, **values: Any) -> Conversation:
    first = {OURS: 1, THEIRS: 21}[account_id]
    defaults: dict[str, Any] = {
        "inbox_id": first,
        "contact_id": first,
        "display_id": id,
        "last_activity_at": T,
        "created_at": T,
        "updated_at": T,
    }
    return Conversation(id=id, account_id=account_id, **{**defaults, **values})


def contact(id: int, account_id: int = OURS, **values: Any) -> Contact:
    defaults: dict[str, Any] = {"name": f"Contact {id}"}
    return Contact(id=id, account_id=account_id, created_at=T, updated_at=T, **{**defaults, **values})


def inbox(id: int, account_id: int = OURS) -> Inbox:
    return Inbox(id=id, account_id=account_id, name=f"Inbox {id}", identifier=f"inbox-{id}", created_at=T, updated_at=T)


def message(seq: int, content: str | None = "hello", *, conversation_id: int = 1, **values: Any) -> MessageRow:
    row = MessageRow(
        conversation_id, seq, OURS, 1, "incoming", "text", content, None, False, "contact", 1, "Ana", None, T + seq
    )  # fmt: skip
    return msgspec.structs.replace(row, **values)


def event(seq: int, data: str = "{}", *, conversation_id: int = 1, **values: Any) -> EventRow:
    row = EventRow(conversation_id, seq, OURS, 1, "conversation.updated", "user", 1, "Bo", None, False, data, T + seq)
    return msgspec.structs.replace(row, **values)


def account_event(seq: int, *, account_id: int = OURS, created_at: int | None = None) -> AccountEventRow:
    return AccountEventRow(account_id, seq, "contact.created", "user", 1, '{"n":1}', created_at or T + seq)


def log_unit(old: int, *rows: MessageRow | EventRow, conversation_id: int = 1, **changes: Any) -> Unit:
    """What a turn of a conversation's actor submits: rows that follow the log's seq `old`."""
    messages = [row for row in rows if isinstance(row, MessageRow)]
    events = [row for row in rows if isinstance(row, EventRow)]
    return Unit(
        OURS,
        conversation_id=conversation_id,
        old_seq=old,
        new_seq=max((row.seq for row in rows), default=old),
        messages=messages,
        events=events,
        changes=changes,
    )


def inserting(*records: Record) -> Unit:
    return Unit(OURS, writes=[Insert(record) for record in records])


def writing(*writes: Write) -> Unit:
    return Unit(OURS, writes=list(writes))


async def commit_all(store: Committer, *units: Unit) -> None:
    """Commit units that nothing speaks against."""
    assert await store.commit(units) == {}


async def refusals(store: Committer, *units: Unit) -> dict[int, str]:
    """The refused ones of the units, and the names of the reasons."""
    refused = await store.commit(units)
    return {index: type(error).__name__ for index, error in refused.items()}


async def seqs(store: Reads, conversation_id: int = 1) -> list[int]:
    return [row.seq for row in await store.log(OURS, conversation_id, after=0, limit=100)]


async def contents(store: Reads, conversation_id: int = 1) -> list[str | None]:
    return [row.content for row in await store.messages(OURS, conversation_id)]


def account_records(account_id: int) -> Sequence[Record]:
    """An account with one of each kind, and two conversations."""
    first = {OURS: 1, THEIRS: 21}[account_id]
    return [
        Account(id=account_id, name=f"Account {account_id}", created_at=T, settings={"language": "es"}),
        User(id=first, email=f"user{first}@example.com", name=f"User {first}", created_at=T, password_hash="x"),
        AccountUser(account_id=account_id, user_id=first, role="agent", created_at=T),
        inbox(first, account_id),
        InboxMember(account_id=account_id, inbox_id=first, user_id=first),
        contact(first, account_id, email=f"c{first}@example.com", identifier=f"crm-{first}"),
        conversation(first, account_id),
        conversation(first + 1, account_id),
        ReadCursor(
            account_id=account_id, conversation_id=first, reader_type="user", reader_id=first, seq=0, updated_at=T
        ),
        Token(id=first, hash=f"hash-{first}", kind="user", created_at=T, user_id=first),
        Token(
            id=first + 1,
            hash=f"hash-{first + 1}",
            kind="contact",
            created_at=T,
            account_id=account_id,
            contact_id=first,
            inbox_id=first,
            expires_at=T + 1,
        ),
    ]


async def fill(store: Committer) -> None:
    """Both accounts, without any messages."""
    await commit_all(store, inserting(*account_records(OURS)), inserting(*account_records(THEIRS)))
