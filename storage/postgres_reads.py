"""Every query on PostgreSQL. In: calls of `contracts.Reads`. Out: records. Runs on one of the reading connections.

The functions are coroutine functions for the bridge's loop and take the connection first; `postgres.PostgresStore`
runs them there. A read is one statement wherever it can be: then it sees one instant, and costs one round trip.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import asyncpg
import msgspec

from .contracts import AccountRecords, ConversationFilter, ConversationRecords
from .postgres_conditions import Conditions
from .postgres_moves import type_of
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

MAX_NUMBER = 2**63 - 1

_MESSAGE_COLUMNS = ", ".join(MessageRow.__struct_fields__)
_ACCOUNT_EVENT_COLUMNS = ", ".join(AccountEventRow.__struct_fields__)


def _columns(kind: type[Record], table: str = "") -> str:
    return ", ".join(table + column for column in columns_of(kind))


async def select(db: asyncpg.Connection, kind: type[R], condition: str, *parameters: Any) -> list[R]:
    table, _ = TABLES[kind]
    rows: Any = await db.fetch(f"select {_columns(kind)} from {table} where {condition}", *parameters)
    return records_from(kind, rows)


async def select_one(db: asyncpg.Connection, kind: type[R], condition: str, *parameters: Any) -> R | None:
    found = await select(db, kind, condition, *parameters)
    return found[0] if found else None


async def reserve(db: asyncpg.Connection, kind: type[Record], count: int) -> int:
    """The first of `count` consecutive ids that no record had, and that nobody else gets."""
    table, _ = TABLES[kind]
    if not is_numbered(kind):
        raise ValueError(f"{kind.__name__} records have no id.")
    return int(await db.fetchval("select reserve_ids($1::text::regclass, $2)", f"{table}_ids", count))


async def epoch(db: asyncpg.Connection) -> str:
    return str(await db.fetchval("select value from meta where key = 'epoch'"))


async def meta(db: asyncpg.Connection, key: str) -> str | None:
    found = await db.fetchval("select value from meta where key = $1", key)
    return None if found is None else str(found)


def all_as_json(kind: type[Record], condition: str, order: str = "") -> str:
    """All records of a kind as one column. So one statement reads them: a transaction would have to end, and a caller
    that is cancelled would wait for that."""
    table, _ = TABLES[kind]
    rows = f"json_agg(json_build_array({_columns(kind)}){order})"
    return f"(select coalesce({rows}, '[]')::text from {table} where {condition})"


_ACCOUNT_WIDTH = len(columns_of(Account))
_ACCOUNT = f"""
select {_columns(Account)},
       {all_as_json(User, "id in (select user_id from account_users where account_id = $1)")},
       {all_as_json(AccountUser, "account_id = $1")},
       {all_as_json(Inbox, "account_id = $1", " order by id")},
       {all_as_json(InboxMember, "account_id = $1")},
       array(select id from contacts where account_id = $1 and blocked),
       {all_as_json(Webhook, "account_id = $1", " order by id")}
  from accounts where id = $1
"""


async def account(db: asyncpg.Connection, account_id: int) -> AccountRecords | None:
    row: Any = await db.fetchrow(_ACCOUNT, account_id)
    if row is None:
        return None
    users, members, inboxes, inbox_members, blocked_contacts, webhooks = row[_ACCOUNT_WIDTH:]
    return AccountRecords(
        account=record_from(Account, row[:_ACCOUNT_WIDTH]),
        users={user.id: user for user in records_from_json(User, users)},
        members=records_from_json(AccountUser, members),
        inboxes=records_from_json(Inbox, inboxes),
        inbox_members=records_from_json(InboxMember, inbox_members),
        blocked_contacts=blocked_contacts,
        webhooks=records_from_json(Webhook, webhooks),
    )


def records_from_json(kind: type[R], rows: str) -> list[R]:
    """What `all_as_json` selected."""
    return records_from(kind, msgspec.json.decode(rows))


async def user(db: asyncpg.Connection, user_id: int) -> User | None:
    return await select_one(db, User, "id = $1", user_id)


async def user_by_email(db: asyncpg.Connection, email: str) -> User | None:
    return await select_one(db, User, "email = $1", email.lower())


async def memberships(db: asyncpg.Connection, user_id: int) -> list[AccountUser]:
    return await select(db, AccountUser, "user_id = $1 order by account_id", user_id)


async def token(db: asyncpg.Connection, digest: str) -> Token | None:
    return await select_one(db, Token, "hash = $1", digest)


async def tokens_of(db: asyncpg.Connection, user_id: int | None, contact_id: int | None) -> list[Token]:
    if user_id is not None:
        return await select(db, Token, "user_id = $1", user_id)
    return await select(db, Token, "contact_id = $1", contact_id)


async def live_tokens(db: asyncpg.Connection, token_ids: Collection[int]) -> list[int]:
    rows = await db.fetch("select id from tokens where id = any($1::bigint[])", _numbers(token_ids))
    return [row[0] for row in rows]


async def inbox_by_identifier(db: asyncpg.Connection, identifier: str) -> Inbox | None:
    return await select_one(db, Inbox, "identifier = $1", identifier)


async def contact(db: asyncpg.Connection, account_id: int, contact_id: int) -> Contact | None:
    return await select_one(db, Contact, "account_id = $1 and id = $2", account_id, contact_id)


async def contact_by_identifier(db: asyncpg.Connection, account_id: int, identifier: str) -> Contact | None:
    return await select_one(db, Contact, "account_id = $1 and identifier = $2", account_id, identifier)


async def contacts(db: asyncpg.Connection, account_id: int, query: str | None, after: int, limit: int) -> list[Contact]:
    condition = "account_id = $1 and id > $2"
    if not query:
        return await select(db, Contact, f"{condition} order by id limit $3", account_id, after, limit)
    pattern = "%" + query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    named = " or ".join(f"{name} ilike $4" for name in ("name", "email", "phone", "identifier"))
    return await select(
        db, Contact, f"{condition} and ({named}) order by id limit $3", account_id, after, limit, pattern
    )


_CONVERSATION_WIDTH = len(columns_of(Conversation))
_CONTACT_END = _CONVERSATION_WIDTH + len(columns_of(Contact))
#: A row for each cursor; one without a cursor where there is none.
_CONVERSATION = f"""
select {_columns(Conversation, "c.")}, {_columns(Contact, "p.")}, {_columns(ReadCursor, "r.")}
  from conversations c join contacts p on p.id = c.contact_id and p.account_id = c.account_id
  left join read_cursors r on r.conversation_id = c.id and r.account_id = c.account_id
 where c.id = $1 and c.account_id = $2
"""


async def conversation(db: asyncpg.Connection, account_id: int, conversation_id: int) -> ConversationRecords | None:
    rows: Sequence[Any] = await db.fetch(_CONVERSATION, conversation_id, account_id)
    if not rows:
        return None
    return ConversationRecords(
        record_from(Conversation, rows[0][:_CONVERSATION_WIDTH]),
        record_from(Contact, rows[0][_CONVERSATION_WIDTH:_CONTACT_END]),
        [record_from(ReadCursor, row[_CONTACT_END:]) for row in rows if row[_CONTACT_END] is not None],
    )


async def conversations(
    db: asyncpg.Connection, account_id: int, which: ConversationFilter, before: tuple[int, int] | None, limit: int
) -> list[Conversation]:
    where = Conditions()
    where.add("account_id = {} and deleted_at is null", account_id)
    # Without the index on the activity: a contact has few conversations, and the account has many to walk through.
    active_at = "last_activity_at" if which.contact_id is None else "(last_activity_at + 0)"
    if which.inbox_ids is not None:
        where.add("inbox_id = any({}::bigint[])", _numbers(which.inbox_ids))
    for column in ("contact_id", "status", "assignee_id"):
        value = getattr(which, column)
        if value is not None:
            where.add(f"{column} = {{}}", value)
    if which.unassigned:
        where.add("assignee_id is null")
    if which.labels:
        where.add("labels::jsonb ?& {}::text[]", list(which.labels))
    if which.updated_since is not None:
        where.add("updated_at >= {}", which.updated_since)
    if before is not None:
        where.add(f"({active_at}, id) < ({{}}, {{}})", *before)
    order = f"order by {active_at} desc, id desc limit {where.parameter(limit)}"
    return await select(db, Conversation, f"{where} {order}", *where.parameters)


async def messages(
    db: asyncpg.Connection,
    account_id: int,
    conversation_id: int,
    after: int | None,
    before: int | None,
    include_private: bool,
    limit: int,
) -> list[MessageRow]:
    where = Conditions()
    where.add("conversation_id = {} and account_id = {}", conversation_id, account_id)
    if after is not None:
        where.add("seq > {}", after)
    if before is not None:
        where.add("seq < {}", before)
    if not include_private:
        where.add("not private and message_type <> 'activity'")
    direction = "asc" if after is not None else "desc"
    rows = await db.fetch(
        f"select {_MESSAGE_COLUMNS} from messages where {where} order by seq {direction}"
        f" limit {where.parameter(limit)}",
        *where.parameters,
    )
    found = [MessageRow(*row) for row in rows]
    return found if direction == "asc" else found[::-1]


async def message(db: asyncpg.Connection, account_id: int, conversation_id: int, seq: int) -> MessageRow | None:
    row = await db.fetchrow(
        f"select {_MESSAGE_COLUMNS} from messages where conversation_id = $1 and seq = $2 and account_id = $3",
        conversation_id,
        seq,
        account_id,
    )
    return MessageRow(*row) if row is not None else None


async def sent(
    db: asyncpg.Connection, account_id: int, conversation_id: int, client_ids: Collection[str]
) -> list[MessageRow]:
    rows = await db.fetch(
        f"select {_MESSAGE_COLUMNS} from messages where conversation_id = $1 and client_id = any($2::text[])"
        " and client_id is not null and account_id = $3 order by seq",
        conversation_id,
        list(set(client_ids)),
        account_id,
    )
    return [MessageRow(*row) for row in rows]


#: What messages and events both begin with, and then the messages' own columns before the events' own.
_BOTH = MessageRow.__struct_fields__[:4]
_MESSAGES_OWN, _EVENTS_OWN = MessageRow.__struct_fields__[4:], EventRow.__struct_fields__[4:]
assert EventRow.__struct_fields__[:4] == _BOTH

_LOG_PART = "(select {} from {} where conversation_id = $1 and account_id = $2 and seq > $3 order by seq limit $4)"


def _log_statement() -> str:
    no_message = (f"null::{type_of(MessageRow, column)}" for column in _MESSAGES_OWN)
    no_event = (f"null::{type_of(EventRow, column)}" for column in _EVENTS_OWN)
    messages = ", ".join(("true", *_BOTH, *_MESSAGES_OWN, *no_event))
    events = ", ".join(("false", *_BOTH, *no_message, *_EVENTS_OWN))
    parts = f"{_LOG_PART.format(messages, 'messages')} union all {_LOG_PART.format(events, 'events')}"
    return f"{parts} order by seq limit $4"


_LOG = _log_statement()
_MESSAGE_END = 1 + len(MessageRow.__struct_fields__)


async def log(db: asyncpg.Connection, account_id: int, conversation_id: int, after: int, limit: int) -> list[LogRow]:
    rows: Sequence[Any] = await db.fetch(_LOG, conversation_id, account_id, after, limit)
    return [MessageRow(*row[1:_MESSAGE_END]) if row[0] else EventRow(*row[1:5], *row[_MESSAGE_END:]) for row in rows]


async def last_seqs(db: asyncpg.Connection, account_id: int, conversation_ids: Collection[int]) -> dict[int, int]:
    rows = await db.fetch(
        "select id, last_seq from conversations where account_id = $1 and id = any($2::bigint[])",
        account_id,
        _numbers(conversation_ids),
    )
    return {row[0]: row[1] for row in rows}


async def last_seq_before(db: asyncpg.Connection, account_id: int, conversation_id: int, since: int) -> int:
    # Backwards from the end of the log: `since` is mostly a moment ago, and the log may be long.
    last = (
        "(select seq from {} where conversation_id = $1 and account_id = $2 and created_at < $3"
        " order by seq desc limit 1)"
    )
    statement = f"select greatest({last.format('messages')}, {last.format('events')})"
    return int(await db.fetchval(statement, conversation_id, account_id, since) or 0)


async def changed(
    db: asyncpg.Connection, account_id: int, inbox_ids: Collection[int] | None, since: int, limit: int
) -> list[Conversation]:
    where = Conditions()
    where.add("account_id = {} and updated_at >= {}", account_id, since)
    if inbox_ids is not None:
        where.add("inbox_id = any({}::bigint[])", _numbers(inbox_ids))
    order = f"order by updated_at, id limit {where.parameter(limit)}"
    return await select(db, Conversation, f"{where} {order}", *where.parameters)


async def account_log(
    db: asyncpg.Connection, account_id: int, after: int | None, since: int | None, limit: int
) -> list[AccountEventRow]:
    where = Conditions()
    where.add("account_id = {}", account_id)
    if after is not None:
        where.add("seq > {}", after)
    if since is not None:
        where.add("created_at >= {}", since)
    # With `since` alone, the index on the time finds the rows and they are sorted: few, where the log may be long.
    order = "(seq + 0)" if after is None and since is not None else "seq"
    rows = await db.fetch(
        f"select {_ACCOUNT_EVENT_COLUMNS} from account_events where {where} order by {order}"
        f" limit {where.parameter(limit)}",
        *where.parameters,
    )
    return [AccountEventRow(*row) for row in rows]


def _numbers(values: Collection[int]) -> list[int]:
    """Those that can be ids: nothing has a number beyond 64 bits."""
    return [value for value in values if abs(value) <= MAX_NUMBER]
