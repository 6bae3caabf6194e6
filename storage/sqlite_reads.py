"""Every query on SQLite. In: calls of `contracts.Reads`. Out: records. Runs on one of the reader connections.

The functions are synchronous and take the connection first; `sqlite.SqliteStore` runs them where they may block.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from .contracts import AccountRecords, ConversationFilter, ConversationRecords
from .records import (
    TABLES,
    Account,
    AccountEventRow,
    AccountUser,
    Contact,
    Conversation,
    EventRow,
    Inbox,
    InboxMember,
    LogRow,
    MessageRow,
    ReadCursor,
    Record,
    Token,
    User,
    Webhook,
)
from .rows import columns_of, is_numbered, record_from, records_from

R = TypeVar("R", bound=Record)

_MESSAGE_COLUMNS = ", ".join(MessageRow.__struct_fields__)
_EVENT_COLUMNS = ", ".join(EventRow.__struct_fields__)
_ACCOUNT_EVENT_COLUMNS = ", ".join(AccountEventRow.__struct_fields__)


def _columns(kind: type[Record]) -> str:
    return ", ".join(columns_of(kind))


def select(db: sqlite3.Connection, kind: type[R], condition: str, parameters: Sequence[Any]) -> list[R]:
    table, _ = TABLES[kind]
    return records_from(kind, db.execute(f"select {_columns(kind)} from {table} where {condition}", parameters))


def select_one(db: sqlite3.Connection, kind: type[R], condition: str, parameters: Sequence[Any]) -> R | None:
    table, _ = TABLES[kind]
    row = db.execute(f"select {_columns(kind)} from {table} where {condition}", parameters).fetchone()
    return record_from(kind, row) if row is not None else None


@contextmanager
def _one_instant(db: sqlite3.Connection) -> Generator[None]:
    """All reads inside see the same state."""
    db.execute("begin")
    try:
        yield
    finally:
        db.execute("commit")


def highest_id(db: sqlite3.Connection, kind: type[Record]) -> int:
    """The highest id that a record of this kind ever had, which may be deleted now; 0 where there was none."""
    table, _ = TABLES[kind]
    if not is_numbered(kind):
        raise ValueError(f"{kind.__name__} records have no id.")
    row = db.execute("select seq from sqlite_sequence where name = ?", (table,)).fetchone()
    return int(row[0]) if row is not None else 0


def epoch(db: sqlite3.Connection) -> str:
    return str(db.execute("select value from meta where key = 'epoch'").fetchone()[0])


def meta(db: sqlite3.Connection, key: str) -> str | None:
    row = db.execute("select value from meta where key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def account(db: sqlite3.Connection, account_id: int) -> AccountRecords | None:
    with _one_instant(db):
        found = select_one(db, Account, "id = ?", (account_id,))
        if found is None:
            return None
        users = select(db, User, "id in (select user_id from account_users where account_id = ?)", (account_id,))
        return AccountRecords(
            account=found,
            users={user.id: user for user in users},
            members=select(db, AccountUser, "account_id = ?", (account_id,)),
            inboxes=select(db, Inbox, "account_id = ? order by id", (account_id,)),
            inbox_members=select(db, InboxMember, "account_id = ?", (account_id,)),
            blocked_contacts=[
                row[0] for row in db.execute("select id from contacts where account_id = ? and blocked", (account_id,))
            ],
            webhooks=select(db, Webhook, "account_id = ? order by id", (account_id,)),
        )


def user(db: sqlite3.Connection, user_id: int) -> User | None:
    return select_one(db, User, "id = ?", (user_id,))


def user_by_email(db: sqlite3.Connection, email: str) -> User | None:
    return select_one(db, User, "email = ?", (email.lower(),))


def memberships(db: sqlite3.Connection, user_id: int) -> list[AccountUser]:
    return select(db, AccountUser, "user_id = ? order by account_id", (user_id,))


def token(db: sqlite3.Connection, digest: str) -> Token | None:
    return select_one(db, Token, "hash = ?", (digest,))


def tokens_of(db: sqlite3.Connection, user_id: int | None, contact_id: int | None) -> list[Token]:
    if user_id is not None:
        return select(db, Token, "user_id = ?", (user_id,))
    return select(db, Token, "contact_id = ?", (contact_id,))


def live_tokens(db: sqlite3.Connection, token_ids: Collection[int]) -> list[int]:
    return [row[0] for row in db.execute(f"select id from tokens where {_is_one_of('id')}", (_json(token_ids),))]


def inbox_by_identifier(db: sqlite3.Connection, identifier: str) -> Inbox | None:
    return select_one(db, Inbox, "identifier = ?", (identifier,))


def contact(db: sqlite3.Connection, account_id: int, contact_id: int) -> Contact | None:
    return select_one(db, Contact, "account_id = ? and id = ?", (account_id, contact_id))


def contact_by_identifier(db: sqlite3.Connection, account_id: int, identifier: str) -> Contact | None:
    return select_one(db, Contact, "account_id = ? and identifier = ?", (account_id, identifier))


def contacts(db: sqlite3.Connection, account_id: int, query: str | None, after: int, limit: int) -> list[Contact]:
    condition, parameters = "account_id = ? and id > ?", [account_id, after]
    if query:
        pattern = "%" + query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        fields = ("name", "email", "phone", "identifier")
        condition += " and (" + " or ".join(f"{name} like ? escape '\\'" for name in fields) + ")"
        return select(db, Contact, f"{condition} order by id limit ?", [*parameters, *[pattern] * 4, limit])
    return select(db, Contact, f"{condition} order by id limit ?", [*parameters, limit])


def conversation(db: sqlite3.Connection, account_id: int, conversation_id: int) -> ConversationRecords | None:
    with _one_instant(db):
        found = select_one(db, Conversation, "id = ? and account_id = ?", (conversation_id, account_id))
        if found is None:
            return None
        person = contact(db, account_id, found.contact_id)
        assert person is not None  # a foreign key
        # The account is no search term: the primary key finds the few rows of the conversation.
        cursors = select(db, ReadCursor, "conversation_id = ? and +account_id = ?", (conversation_id, account_id))
        return ConversationRecords(found, person, cursors)


def conversations(
    db: sqlite3.Connection, account_id: int, which: ConversationFilter, before: tuple[int, int] | None, limit: int
) -> list[Conversation]:
    conditions = ["account_id = ?", "deleted_at is null"]
    parameters: list[Any] = [account_id]
    # Without the index on the activity: a contact has few conversations, and the account has many to walk through.
    active_at = "last_activity_at" if which.contact_id is None else "+last_activity_at"
    if which.inbox_ids is not None:
        conditions.append(_is_one_of("inbox_id"))
        parameters.append(_json(which.inbox_ids))
    for column in ("contact_id", "status", "assignee_id"):
        value = getattr(which, column)
        if value is not None:
            conditions.append(f"{column} = ?")
            parameters.append(value)
    if which.unassigned:
        conditions.append("assignee_id is null")
    for label in which.labels:
        conditions.append("exists (select 1 from json_each(labels) where value = ?)")
        parameters.append(label)
    if which.updated_since is not None:
        conditions.append("updated_at >= ?")
        parameters.append(which.updated_since)
    if before is not None:
        conditions.append(f"({active_at}, id) < (?, ?)")
        parameters += before
    order = f"order by {active_at} desc, id desc limit ?"
    return select(db, Conversation, f"{' and '.join(conditions)} {order}", [*parameters, limit])


def messages(
    db: sqlite3.Connection,
    account_id: int,
    conversation_id: int,
    after: int | None,
    before: int | None,
    include_private: bool,
    limit: int,
) -> list[MessageRow]:
    conditions, parameters = ["conversation_id = ?", "account_id = ?"], [conversation_id, account_id]
    if after is not None:
        conditions.append("seq > ?")
        parameters.append(after)
    if before is not None:
        conditions.append("seq < ?")
        parameters.append(before)
    if not include_private:
        conditions.append("private = 0 and message_type <> 'activity'")
    direction = "asc" if after is not None else "desc"
    rows = db.execute(
        f"select {_MESSAGE_COLUMNS} from messages where {' and '.join(conditions)} order by seq {direction} limit ?",
        [*parameters, limit],
    )
    found = [_message(row) for row in rows]
    return found if direction == "asc" else found[::-1]


def message(db: sqlite3.Connection, account_id: int, conversation_id: int, seq: int) -> MessageRow | None:
    row = db.execute(
        f"select {_MESSAGE_COLUMNS} from messages where conversation_id = ? and seq = ? and account_id = ?",
        (conversation_id, seq, account_id),
    ).fetchone()
    return _message(row) if row is not None else None


def sent(
    db: sqlite3.Connection, account_id: int, conversation_id: int, client_ids: Collection[str]
) -> list[MessageRow]:
    # From the ids to their messages, by the index on both: the other way around would read the whole conversation.
    rows = db.execute(
        f"select {_MESSAGE_COLUMNS} from json_each(?) as given cross join messages on conversation_id = ?"
        " and client_id = given.value where client_id is not null and account_id = ? order by seq",
        (_json(set(client_ids)), conversation_id, account_id),
    )
    return [_message(row) for row in rows]


def log(db: sqlite3.Connection, account_id: int, conversation_id: int, after: int, limit: int) -> list[LogRow]:
    parameters = (conversation_id, account_id, after, limit)
    condition = "where conversation_id = ? and account_id = ? and seq > ? order by seq limit ?"
    with _one_instant(db):
        messages = [
            _message(row) for row in db.execute(f"select {_MESSAGE_COLUMNS} from messages {condition}", parameters)
        ]
        events = [_event(row) for row in db.execute(f"select {_EVENT_COLUMNS} from events {condition}", parameters)]
    merged: list[LogRow] = list(heapq.merge(messages, events, key=attrgetter("seq")))
    return merged[:limit]


def last_seqs(db: sqlite3.Connection, account_id: int, conversation_ids: Collection[int]) -> dict[int, int]:
    rows = db.execute(
        "select id, last_seq from conversations where account_id = ? and id in (select value from json_each(?))",
        (account_id, json.dumps(list(conversation_ids))),
    )
    return dict(rows)


def last_seq_before(db: sqlite3.Connection, account_id: int, conversation_id: int, since: int) -> int:
    # Backwards from the end of the log: `since` is mostly a moment ago, and the log may be long.
    last = (
        "select seq from (select seq from {} where conversation_id = ? and account_id = ? and created_at < ?"
        " order by seq desc limit 1)"
    )
    row = db.execute(
        f"select max(seq) from ({last.format('messages')} union all {last.format('events')})",
        (conversation_id, account_id, since) * 2,
    ).fetchone()
    return int(row[0] or 0)


def changed(
    db: sqlite3.Connection, account_id: int, inbox_ids: Collection[int] | None, since: int, limit: int
) -> list[Conversation]:
    condition = "account_id = ? and updated_at >= ?"
    parameters: list[Any] = [account_id, since]
    if inbox_ids is not None:
        condition += f" and {_is_one_of('inbox_id')}"
        parameters.append(_json(inbox_ids))
    return select(db, Conversation, f"{condition} order by updated_at, id limit ?", [*parameters, limit])


def account_log(
    db: sqlite3.Connection, account_id: int, after: int | None, since: int | None, limit: int
) -> list[AccountEventRow]:
    condition, parameters = "account_id = ?", [account_id]
    if after is not None:
        condition += " and seq > ?"
        parameters.append(after)
    if since is not None:
        condition += " and created_at >= ?"
        parameters.append(since)
    # With `since` alone, the index on the time finds the rows and they are sorted: few, where the log may be long.
    order = "+seq" if after is None and since is not None else "seq"
    rows = db.execute(
        f"select {_ACCOUNT_EVENT_COLUMNS} from account_events where {condition} order by {order} limit ?",
        [*parameters, limit],
    )
    return [AccountEventRow(*row) for row in rows]


def _is_one_of(column: str) -> str:
    """A condition whose parameter is a JSON array: one statement, however many values there are."""
    return f"{column} in (select value from json_each(?))"


def _json(values: Collection[Any]) -> str:
    return msgspec.json.encode(list(values)).decode()


_MESSAGE_PRIVATE = MessageRow.__struct_fields__.index("private")
_EVENT_PRIVATE = EventRow.__struct_fields__.index("private")


def _message(row: tuple[Any, ...]) -> MessageRow:
    values = list(row)
    values[_MESSAGE_PRIVATE] = row[_MESSAGE_PRIVATE] != 0
    return MessageRow(*values)


def _event(row: tuple[Any, ...]) -> EventRow:
    values = list(row)
    values[_EVENT_PRIVATE] = row[_EVENT_PRIVATE] != 0
    return EventRow(*values)
