"""The changes of `writes` as SQL. In: a unit's writes, from `sqlite_writer`, in its transaction. Out: changed rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import cache
from typing import Any

from .records import TABLES, Job, Record
from .rows import columns_of, to_value, values_of
from .writes import AmendMessage, Delete, Enqueue, EraseLog, Insert, Update, Upsert, Write


class Inserts:
    """New records that wait to be written together: one statement for all of a type."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._rows: dict[type[Record], list[tuple[Any, ...]]] = {}
        self._jobs: list[tuple[Any, ...]] = []

    def add(self, record: Record) -> None:
        self._rows.setdefault(type(record), []).append(values_of(record))

    def enqueue(self, job: Job) -> None:
        """A job whose key is unique is written at once: it depends on the jobs before it, and only on them."""
        if job.unique_key is None:
            self._jobs.append(values_of(job))
        else:
            self._database.execute(_GIVE_UP_KEY, (job.unique_key, job.created_at))
            self._database.execute(_enqueue(), values_of(job))

    def flush(self) -> None:
        """Write what waits. In the order of `TABLES`: no table refers to a later one."""
        if self._jobs:
            self._database.executemany(_enqueue(), self._jobs)
            self._jobs.clear()
        if self._rows:
            for kind in TABLES:
                if kind in self._rows:
                    self._database.executemany(_insert(kind), self._rows[kind])
            self._rows.clear()


def change_records(
    database: sqlite3.Connection, writes: Iterable[Write], inserts: Inserts
) -> list[AmendMessage | EraseLog]:
    """Change records, in order; returns the changes of the log, whose turn comes after the log's new rows."""
    amendments: list[AmendMessage | EraseLog] = []
    for write in writes:
        match write:
            case Insert(record):
                inserts.add(record)
            case Enqueue(job):
                inserts.enqueue(job)
            case AmendMessage() | EraseLog():
                amendments.append(write)
            case _:
                inserts.flush()
                _change(database, write)
    return amendments


def _change(database: sqlite3.Connection, write: Upsert | Update | Delete) -> None:
    match write:
        case Upsert(record):
            database.execute(_upsert(type(record)), values_of(record))
        case Update(kind, where, values):
            changed = ", ".join(f"{column} = ?" for column in values)
            database.execute(
                f"update {TABLES[kind][0]} set {changed} where {_all_equal(where)}",
                [*map(to_value, values.values()), *_values(where)],
            )
        case Delete(kind, where):
            database.execute(f"delete from {TABLES[kind][0]} where {_all_equal(where)}", _values(where))


def amend_log(database: sqlite3.Connection, amendment: AmendMessage | EraseLog) -> None:
    """Change or remove rows of a conversation's log."""
    if isinstance(amendment, AmendMessage):
        key = (amendment.account_id, amendment.conversation_id, amendment.seq)
        if amendment.deleted_at is None:
            database.execute(_EDIT, (amendment.content, amendment.edited_at, *key))
        else:
            database.execute(_ERASE, (amendment.deleted_at, *key))
            database.execute(_ERASE_FROM_EVENTS, key)
        return
    for table in ("messages", "events"):
        database.execute(
            f"delete from {table} where account_id = ? and conversation_id = ? and seq <= ?",
            (amendment.account_id, amendment.conversation_id, amendment.seq),
        )


_MESSAGE = "account_id = ? and conversation_id = ? and seq = ?"
_EDIT = f"update messages set content = ?, edited_at = coalesce(?, edited_at) where {_MESSAGE} and deleted_at is null"
_ERASE = f"update messages set content = null, content_attributes = null, deleted_at = ? where {_MESSAGE}"
_ERASE_FROM_EVENTS = (
    "update events set data = json_replace(data, '$.content', null, '$.content_attributes', json('{}'))"
    " where account_id = ? and conversation_id = ? and message_seq = ?"
)


@cache
def _insert(kind: type[Record]) -> str:
    columns = columns_of(kind)
    return f"insert into {TABLES[kind][0]} ({','.join(columns)}) values ({','.join('?' * len(columns))})"


#: Of a job whose time to be the only one is over.
_GIVE_UP_KEY = "update jobs set unique_key = null where unique_key = ? and unique_until <= ?"


@cache
def _enqueue() -> str:
    """Neither a job with the same unique key nor the same job a second time is an error."""
    return f"{_insert(Job)} on conflict do nothing"


@cache
def _upsert(kind: type[Record]) -> str:
    _, keys = TABLES[kind]
    changed = ", ".join(f"{column} = excluded.{column}" for column in columns_of(kind) if column not in keys)
    return f"{_insert(kind)} on conflict ({','.join(keys)}) do " + (f"update set {changed}" if changed else "nothing")


def _all_equal(where: dict[str, Any]) -> str:
    """A condition on `_values(where)`. `is ?` would find null as well, but nothing by a partial index."""
    return " and ".join(f"{column} is null" if value is None else f"{column} = ?" for column, value in where.items())


def _values(where: dict[str, Any]) -> list[Any]:
    return [value for value in where.values() if value is not None]
