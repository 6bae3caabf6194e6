"""A transaction's units as SQL. In: units with their indices, from `postgres_writer`, in its transaction. Out: changed
rows, and which units are stale.

Units are taken in runs: first all fences of a run in one statement per set of columns, then its records, its log's new
rows, its changes of the log. A run ends where a fence depends on what an earlier unit of it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import asyncpg
import msgspec

from ..engine.errors import StaleWrite
from .postgres_moves import LogRowType, Logs, Move, move_statement, type_of
from .records import TABLES, Account, AccountEventRow, Conversation, EventRow, MessageRow, Record
from .rows import columns_of, to_value, values_of
from .writes import AmendMessage, Delete, EraseLog, Insert, Unit, Update, Upsert, Write

Numbered: TypeAlias = tuple[int, Unit]


_BEYOND = 2**63  # what PostgreSQL's bigint does not hold


async def lock_logs(connection: asyncpg.Connection, units: Iterable[Unit]) -> None:
    """Lock the logs that the units move, always in the same order, so that two nodes cannot wait for each other.

    `no key update` lets others refer to the rows meanwhile.
    """
    accounts: set[int] = set()
    conversations: set[int] = set()
    for unit in units:
        if unit.account_log:
            accounts.add(unit.account_id)
        elif unit.conversation_id is not None:
            conversations.add(unit.conversation_id)
    for table, ids in (("accounts", accounts), ("conversations", conversations)):
        known = sorted(id for id in ids if abs(id) < _BEYOND)  # others do not exist
        if known:
            await connection.fetch(
                f"select id from {table} where id = any($1::bigint[]) order by id for no key update", known
            )


async def write_units(connection: asyncpg.Connection, units: Sequence[Numbered]) -> dict[int, Exception]:
    """Write units as if one after the other; returns the stale ones by index.

    Raises:
        Exception: of asyncpg, for any of the units; the transaction is then of no use any more.
    """
    refused: dict[int, Exception] = {}
    for run, logs in _runs(units):
        stale = await _move(connection, logs.moves)
        refused.update((index, StaleWrite()) for index in stale)
        written = [unit for index, unit in run if index not in stale]
        amendments = await _change_records(connection, written)
        await _insert_rows(connection, _INSERT_MESSAGES, [row for unit in written for row in unit.messages])
        await _insert_rows(connection, _INSERT_EVENTS, [row for unit in written for row in unit.events])
        rows = [row for unit in written for row in unit.account_events]
        await _insert_rows(connection, _INSERT_ACCOUNT_EVENTS, rows)
        for amendment in amendments:
            await _amend_log(connection, amendment)
    return refused


def _runs(units: Sequence[Numbered]) -> Iterable[tuple[list[Numbered], Logs]]:
    run: list[Numbered] = []
    logs = Logs()
    changed: set[type[Record]] = set()  # by records of the run
    for index, unit in units:
        kind = Account if unit.account_log else Conversation
        if (kind in changed and (unit.account_log or unit.conversation_id is not None)) or not logs.take(index, unit):
            yield run, logs
            run, logs = [], Logs()
            changed.clear()
            logs.take(index, unit)
        run.append((index, unit))
        for write in unit.writes:
            match write:
                case Insert(record) | Upsert(record):
                    changed.add(type(record))
                case Update(record) | Delete(record):
                    changed.add(record)
                case _:
                    pass
    yield run, logs


async def _move(connection: asyncpg.Connection, moves: Iterable[Move]) -> set[int]:
    """Move logs whose last seq is what their actors read; returns the units of the others."""
    groups: dict[tuple[Any, ...], list[Move]] = {}
    for move in moves:
        groups.setdefault((move.kind, *move.changes), []).append(move)
    stale: set[int] = set()
    for group in groups.values():
        statement, columns = move_statement(group)
        moved = {row["id"] for row in await connection.fetch(statement, *columns)}
        stale.update(index for move in group if move.log_id not in moved for index in move.units)
    return stale


@dataclass(slots=True)
class _Steps:
    """Changes of records in their order; those that are the same statement go to the server together."""

    connection: asyncpg.Connection
    _inserts: dict[type[Record], list[tuple[Any, ...]]]
    _statement: str = ""
    _values: list[Sequence[Any]] = field(default_factory=list[Sequence[Any]])

    def insert(self, record: Record) -> None:
        self._inserts.setdefault(type(record), []).append(values_of(record))

    async def change(self, statement: str, values: Sequence[Any]) -> None:
        if self._inserts or (statement != self._statement and self._values):
            await self.flush()
        self._statement = statement
        self._values.append(values)

    async def flush(self) -> None:
        """What waits: the changes, and then the new records in the order of `TABLES`; none refers to a later one."""
        if self._values:
            await self.connection.executemany(self._statement, self._values)
        self._values.clear()
        for kind in TABLES if self._inserts else ():
            if kind in self._inserts:
                await self.connection.executemany(_insert(kind), self._inserts[kind])
        self._inserts.clear()


async def _change_records(connection: asyncpg.Connection, units: Iterable[Unit]) -> list[AmendMessage | EraseLog]:
    """Change records, in order; returns the changes of the log, whose turn comes after the log's new rows."""
    amendments: list[AmendMessage | EraseLog] = []
    steps = _Steps(connection, {})
    for unit in units:
        for write in unit.writes:
            match write:
                case Insert(record):
                    steps.insert(record)
                case AmendMessage() | EraseLog():
                    amendments.append(write)
                case _:
                    await steps.change(*_change(write))
    await steps.flush()
    return amendments


def _change(write: Write) -> tuple[str, Sequence[Any]]:
    match write:
        case Upsert(record):
            return _upsert(type(record)), values_of(record)
        case Update(kind, where, values):
            changed = ", ".join(f"{column} = ${n}" for n, column in enumerate(values, start=1))
            condition = _all_equal(where, first=len(values) + 1)
            statement = f"update {TABLES[kind][0]} set {changed} where {condition}"
            return statement, [*map(to_value, values.values()), *_values(where)]
        case Delete(kind, where):
            return f"delete from {TABLES[kind][0]} where {_all_equal(where)}", _values(where)
        case _:
            raise TypeError(f"{type(write).__name__} is no change of a record.")


async def _insert_rows(connection: asyncpg.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        await connection.execute(statement, *zip(*rows, strict=True))


async def _amend_log(connection: asyncpg.Connection, amendment: AmendMessage | EraseLog) -> None:
    """Change or remove rows of a conversation's log."""
    key = (amendment.account_id, amendment.conversation_id, amendment.seq)
    if isinstance(amendment, EraseLog):
        for table in ("messages", "events"):
            await connection.execute(f"delete from {table} where {_KEY.replace('seq =', 'seq <=')}", *key)
    elif amendment.deleted_at is None:
        await connection.execute(_EDIT, *key, amendment.content, amendment.edited_at)
    else:
        await connection.execute(_ERASE, *key, amendment.deleted_at)
        about = await connection.fetch(_EVENTS_ABOUT, *key)
        rows = [(key[1], row["seq"], _without_text(row["data"])) for row in about]
        await connection.executemany("update events set data = $3 where conversation_id = $1 and seq = $2", rows)


def _without_text(data: str) -> str:
    """An event's data whose text is gone; what else it says, and its order, stays."""
    fields = msgspec.json.decode(data, type=dict[str, Any])
    if "content" in fields:
        fields["content"] = None
    if "content_attributes" in fields:
        fields["content_attributes"] = {}
    return msgspec.json.encode(fields).decode()


_KEY = "account_id = $1 and conversation_id = $2 and seq = $3"
_EDIT = f"update messages set content = $4, edited_at = coalesce($5, edited_at) where {_KEY} and deleted_at is null"
_ERASE = f"update messages set content = null, content_attributes = null, deleted_at = $4 where {_KEY}"
_EVENTS_ABOUT = "select seq, data from events where account_id = $1 and conversation_id = $2 and message_seq = $3"


@cache
def _insert(kind: type[Record]) -> str:
    columns = columns_of(kind)
    values = ",".join(f"${n}" for n in range(1, len(columns) + 1))
    return f"insert into {TABLES[kind][0]} ({','.join(columns)}) values ({values})"


@cache
def _upsert(kind: type[Record]) -> str:
    _, keys = TABLES[kind]
    changed = ", ".join(f"{column} = excluded.{column}" for column in columns_of(kind) if column not in keys)
    return f"{_insert(kind)} on conflict ({','.join(keys)}) do " + (f"update set {changed}" if changed else "nothing")


def _insert_rows_statement(table: str, kind: LogRowType) -> str:
    """Its parameters are one array for each column."""
    arrays = ",".join(f"${n}::{type_of(kind, name)}[]" for n, name in enumerate(kind._fields, start=1))
    return f"insert into {table} ({','.join(kind._fields)}) select * from unnest({arrays})"


_INSERT_MESSAGES = _insert_rows_statement("messages", MessageRow)
_INSERT_EVENTS = _insert_rows_statement("events", EventRow)
_INSERT_ACCOUNT_EVENTS = _insert_rows_statement("account_events", AccountEventRow)


def _all_equal(where: dict[str, Any], first: int = 1) -> str:
    """A condition on `_values(where)`, which are the parameters from `first` on."""
    parts: list[str] = []
    for column, value in where.items():
        parts.append(f"{column} is null" if value is None else f"{column} = ${first}")
        first += value is not None
    return " and ".join(parts)


def _values(where: dict[str, Any]) -> list[Any]:
    return [value for value in where.values() if value is not None]
