"""Every query on SQLite. In: calls of `contracts.Reads`. Out: records. Runs on one of the reader connections.

The functions are synchronous and take the connection first; `sqlite.SqliteStore` runs them where they may block.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any, TypeVar

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
)
from .rows import columns_of, record_from, records_from

R = TypeVar("R", bound=Record)

_MESSAGE_COLUMNS = ", ".join(MessageRow._fields)
_EVENT_COLUMNS = ", ".join(EventRow._fields)
_ACCOUNT_EVENT_COLUMNS = ", ".join(AccountEventRow._fields)


def _columns(kind: type[Record]) -> str:
    return ", ".join(columns_of(kind))


def select(db: sqlite3.Connection, kind: type[R], condition: str, parameters: Sequence[Any]) -> list[R]:
    table, _ = TABLES[kind]
    return records_from(kind, db.execute(f"select {_columns(kind)} from {table} where {condition}", parameters))


def select_one(db: sqlite3.Connection, kind: type[R], condition: str, parameters: Sequence[Any]) -> R | None:
    table, _ = TABLES[kind]
    row = db.execute(f"select {_columns(kind)} from {table} where {condition}", parameters).fetchone()
    return record_from(kind, row) if row is not None else None


def highest_id(db: sqlite3.Connection, kind: type[Record]) -> int:
    return int(db.execute(f"select coalesce(max(id), 0) from {TABLES[kind][0]}").fetchone()[0])


def epoch(db: sqlite3.Connection) -> str:
    return str(db.execute("select value from meta where key = 'epoch'").fetchone()[0])


def account(db: sqlite3.Connection, account_id: int) -> AccountRecords | None:
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
    found = select_one(db, Conversation, "id = ? and account_id = ?", (conversation_id, account_id))
    if found is None:
        return None
    person = contact(db, account_id, found.contact_id)
    assert person is not None
    cursors = select(db, ReadCursor, "account_id = ? and conversation_id = ?", (account_id, conversation_id))
    return ConversationRecords(found, person, cursors)


def conversations(
    db: sqlite3.Connection, account_id: int, which: ConversationFilter, before: tuple[int, int] | None, limit: int
) -> list[Conversation]:
    conditions, parameters = ["account_id = ?", "deleted_at is null"], [account_id]  # type: tuple[list[str], list[Any]]
    if which.inbox_ids is not None:
        conditions.append(_is_one_of("inbox_id", which.inbox_ids))
        parameters += which.inbox_ids
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
        conditions.append("(last_activity_at, id) < (?, ?)")
        parameters += before
    order = "order by last_activity_at desc, id desc limit ?"
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
        conditions.append("private = 0")
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
    rows = db.execute(
        f"select {_MESSAGE_COLUMNS} from messages where conversation_id = ? and account_id = ?"
        f" and {_is_one_of('client_id', client_ids)}",
        (conversation_id, account_id, *client_ids),
    )
    return [_message(row) for row in rows]


def log(db: sqlite3.Connection, account_id: int, conversation_id: int, after: int, limit: int) -> list[LogRow]:
    parameters = (conversation_id, account_id, after, limit)
    condition = "where conversation_id = ? and account_id = ? and seq > ? order by seq limit ?"
    db.execute("begin")  # both tables as they were at one instant
    try:
        messages = [
            _message(row) for row in db.execute(f"select {_MESSAGE_COLUMNS} from messages {condition}", parameters)
        ]
        events = [_event(row) for row in db.execute(f"select {_EVENT_COLUMNS} from events {condition}", parameters)]
    finally:
        db.execute("commit")
    merged: list[LogRow] = list(heapq.merge(messages, events, key=attrgetter("seq")))
    return merged[:limit]


def last_seq_before(db: sqlite3.Connection, account_id: int, conversation_id: int, since: int) -> int:
    row = db.execute(
        "select max(seq) from ("
        " select seq from messages where conversation_id = ?1 and account_id = ?2 and created_at < ?3 union all"
        " select seq from events where conversation_id = ?1 and account_id = ?2 and created_at < ?3)",
        (conversation_id, account_id, since),
    ).fetchone()
    return int(row[0] or 0)


def changed(
    db: sqlite3.Connection, account_id: int, inbox_ids: Collection[int] | None, since: int, limit: int
) -> list[Conversation]:
    condition, parameters = "account_id = ? and updated_at >= ?", [account_id, since]
    if inbox_ids is not None:
        condition += f" and {_is_one_of('inbox_id', inbox_ids)}"
        parameters += inbox_ids
    return select(db, Conversation, f"{condition} order by updated_at, id limit ?", [*parameters, limit])


def account_log(
    db: sqlite3.Connection, account_id: int, after: int | None, since: int | None, limit: int
) -> list[AccountEventRow]:
    rows = db.execute(
        f"select {_ACCOUNT_EVENT_COLUMNS} from account_events"
        " where account_id = ? and seq > ? and created_at >= ? order by seq limit ?",
        (account_id, after or 0, since or 0, limit),
    )
    return [AccountEventRow(*row) for row in rows]


def _is_one_of(column: str, values: Collection[Any]) -> str:
    return f"{column} in ({','.join('?' * len(values))})"


def _message(row: Sequence[Any]) -> MessageRow:
    found = MessageRow(*row)
    return found._replace(private=bool(found.private))


def _event(row: Sequence[Any]) -> EventRow:
    found = EventRow(*row)
    return found._replace(private=bool(found.private))
