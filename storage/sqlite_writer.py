"""One batch of units as one SQLite transaction. In: units from `group_commit`. Out: durable rows, or reasons.

The fast way assumes that all is well: fences one by one, then all messages and all events, each as one statement. A unit
whose fence fails is left out, which costs the others nothing. Where a row breaks a unique key, SQLite cannot say whose it
was: the transaction is rolled back and run again with a savepoint around each unit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ..engine.errors import Conflict, StaleWrite, Unavailable
from .records import TABLES, AccountEventRow, EventRow, MessageRow
from .rows import columns_of, to_value, values_of
from .writes import AmendMessage, Delete, EraseLog, Insert, Unit, Update, Upsert, Write


def _insert(table: str, width: int) -> str:
    return f"insert into {table} values ({','.join('?' * width)})"


_INSERT_MESSAGE = _insert("messages", len(MessageRow._fields))
_INSERT_EVENT = _insert("events", len(EventRow._fields))
_INSERT_ACCOUNT_EVENT = _insert("account_events", len(AccountEventRow._fields))


def commit(database: sqlite3.Connection, units: Sequence[Unit]) -> dict[int, Exception]:
    """Write the units; returns the refused ones by index, with the reason.

    Raises:
        Unavailable: SQLite could not commit; nothing was written.
    """
    try:
        try:
            return _commit_together(database, units)
        except sqlite3.IntegrityError:
            _roll_back(database)
            return _commit_one_by_one(database, units)
    except sqlite3.Error as error:
        _roll_back(database)
        raise Unavailable(f"The database cannot be written: {error}.") from error


def _commit_together(database: sqlite3.Connection, units: Sequence[Unit]) -> dict[int, Exception]:
    refused: dict[int, Exception] = {}
    messages: list[MessageRow] = []
    events: list[EventRow] = []
    account_events: list[AccountEventRow] = []
    database.execute("begin immediate")
    for index, unit in enumerate(units):
        if not _advance(database, unit):
            refused[index] = StaleWrite()
            continue
        messages += unit.messages
        events += unit.events
        account_events += unit.account_events
        for write in unit.writes:
            _apply(database, write)
    _insert_rows(database, messages, events, account_events)
    database.execute("commit")
    return refused


def _commit_one_by_one(database: sqlite3.Connection, units: Sequence[Unit]) -> dict[int, Exception]:
    refused: dict[int, Exception] = {}
    database.execute("begin immediate")
    for index, unit in enumerate(units):
        database.execute("savepoint unit")
        try:
            if not _advance(database, unit):
                raise StaleWrite
            for write in unit.writes:
                _apply(database, write)
            _insert_rows(database, unit.messages, unit.events, unit.account_events)
        except (sqlite3.IntegrityError, StaleWrite) as error:
            database.execute("rollback to unit")
            refused[index] = _reason(error)
        database.execute("release unit")
    database.execute("commit")
    return refused


def _reason(error: Exception) -> Exception:
    if isinstance(error, StaleWrite) or "messages." in str(error) or "events." in str(error):
        return StaleWrite()  # somebody else wrote this seq or this client_id: the actor looks again
    return Conflict(f"This is taken already ({str(error).rpartition(': ')[2]}).")


def _advance(database: sqlite3.Connection, unit: Unit) -> bool:
    """Move the log's last seq, where it is what the actor read."""
    if unit.conversation_id is None and not unit.account_log:
        return True
    table, key = ("accounts", unit.account_id) if unit.account_log else ("conversations", unit.conversation_id)
    columns = "".join([f", {column} = ?" for column in unit.changes])
    tenant = "" if unit.account_log else " and account_id = ?"
    cursor = database.execute(
        f"update {table} set last_seq = ?{columns} where id = ? and last_seq = ?{tenant}",
        (
            unit.new_seq,
            *map(to_value, unit.changes.values()),
            key,
            unit.old_seq,
            *(() if unit.account_log else (unit.account_id,)),
        ),
    )
    return cursor.rowcount == 1


def _insert_rows(
    database: sqlite3.Connection,
    messages: Sequence[MessageRow],
    events: Sequence[EventRow],
    account_events: Sequence[AccountEventRow],
) -> None:
    if messages:
        database.executemany(_INSERT_MESSAGE, messages)
    if events:
        database.executemany(_INSERT_EVENT, events)
    if account_events:
        database.executemany(_INSERT_ACCOUNT_EVENT, account_events)


def _apply(database: sqlite3.Connection, write: Write) -> None:
    match write:
        case Insert(record):
            table, _ = TABLES[type(record)]
            columns = columns_of(type(record))
            database.execute(
                f"insert into {table} ({','.join(columns)}) values ({','.join('?' * len(columns))})", values_of(record)
            )
        case Upsert(record):
            table, keys = TABLES[type(record)]
            columns = columns_of(type(record))
            changed = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in keys)
            database.execute(
                f"insert into {table} ({','.join(columns)}) values ({','.join('?' * len(columns))})"
                f" on conflict ({','.join(keys)}) do " + (f"update set {changed}" if changed else "nothing"),
                values_of(record),
            )
        case Update(record, where, values):
            table, _ = TABLES[record]
            changed = ", ".join(f"{column} = ?" for column in values)
            condition = " and ".join(f"{column} = ?" for column in where)
            database.execute(
                f"update {table} set {changed} where {condition}", [*map(to_value, values.values()), *where.values()]
            )
        case Delete(record, where):
            table, _ = TABLES[record]
            condition = " and ".join(f"{column} = ?" for column in where)
            database.execute(f"delete from {table} where {condition}", list(where.values()))
        case AmendMessage():
            _amend(database, write)
        case EraseLog(account_id, conversation_id, seq):
            for table in ("messages", "events"):
                database.execute(
                    f"delete from {table} where account_id = ? and conversation_id = ? and seq <= ?",
                    (account_id, conversation_id, seq),
                )


def _amend(database: sqlite3.Connection, write: AmendMessage) -> None:
    key = (write.account_id, write.conversation_id, write.seq)
    database.execute(
        "update messages set content = ?, edited_at = coalesce(?, edited_at), deleted_at = ?"
        " where account_id = ? and conversation_id = ? and seq = ?",
        (write.content, write.edited_at, write.deleted_at, *key),
    )
    if write.deleted_at is not None:
        database.execute(
            "update messages set content_attributes = null where account_id = ? and conversation_id = ? and seq = ?",
            key,
        )
        database.execute(
            "update events set data = json_set(data, '$.content', null, '$.content_attributes', json('{}'))"
            " where account_id = ? and conversation_id = ? and message_seq = ?",
            key,
        )


def _roll_back(database: sqlite3.Connection) -> None:
    if database.in_transaction:
        database.execute("rollback")
