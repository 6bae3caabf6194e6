"""A transaction's units as SQL. In: units with their indices, from `postgres_writer`, in its transaction. Out: changed
rows, and which units are stale.

Units are taken in runs: first all fences of a run in one statement per set of columns, then its records, its log's new
rows, its changes of the log. A run ends where a fence depends on what an earlier unit of it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import asyncpg
import msgspec
from msgspec.structs import astuple

from ..engine.errors import StaleWrite
from .postgres_moves import Logs, Move, move_statement
from .postgres_steps import Steps, insert_rows
from .records import Account, AccountEventRow, Conversation, EventRow, MessageRow, Record, Row
from .writes import AmendMessage, Delete, EraseLog, Insert, Unit, Update, Upsert

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
    groups: dict[type[Record], list[Move]] = {}
    for move in moves:
        groups.setdefault(move.kind, []).append(move)
    stale: set[int] = set()
    for group in groups.values():
        statement, columns = move_statement(group)
        moved = {row["id"] for row in await connection.fetch(statement, *columns)}
        stale.update(index for move in group if move.log_id not in moved for index in move.units)
    return stale


async def _change_records(connection: asyncpg.Connection, units: Iterable[Unit]) -> list[AmendMessage | EraseLog]:
    """Change records, in order; returns the changes of the log, whose turn comes after the log's new rows."""
    amendments: list[AmendMessage | EraseLog] = []
    steps = Steps(connection)
    for unit in units:
        for write in unit.writes:
            if isinstance(write, AmendMessage | EraseLog):
                amendments.append(write)
            else:
                await steps.take(write)
    await steps.flush()
    return amendments


async def _insert_rows(connection: asyncpg.Connection, statement: str, rows: Sequence[Row]) -> None:
    if rows:
        await connection.execute(statement, *zip(*map(astuple, rows), strict=True))


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


_INSERT_MESSAGES = insert_rows("messages", MessageRow, MessageRow.__struct_fields__)
_INSERT_EVENTS = insert_rows("events", EventRow, EventRow.__struct_fields__)
_INSERT_ACCOUNT_EVENTS = insert_rows("account_events", AccountEventRow, AccountEventRow.__struct_fields__)
