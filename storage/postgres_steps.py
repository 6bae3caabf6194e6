"""Changes of records as SQL. In: the writes of a batch, in their order, from `postgres_changes`. Out: changed rows.

As few statements as the order allows. Changes that are the same statement go to the server together. Rows of jobs and
of webhooks' deliveries come and end in large numbers, each change names one row by its id, and nothing refers to them:
changes of different rows are then the same in any order, so they wait for each other across the units of a batch, and
all that look alike are one statement over arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, TypeAlias

import asyncpg

from .postgres_moves import RowType, type_of
from .records import TABLES, Job, Record, WebhookDelivery
from .rows import columns_of, to_value, values_of
from .writes import Delete, Enqueue, Insert, Update, Upsert

Change: TypeAlias = Insert | Upsert | Update | Delete | Enqueue

#: The kinds of which changes of different rows may change places.
_MANY = (Job, WebhookDelivery)
#: Columns of theirs that tie rows together: a change of one of them keeps its place.
_TIES = frozenset({"id", "unique_key"})


class Steps:
    """Takes changes and makes them, at the latest when it is flushed.

    Raises (each method): asyncpg's errors; the transaction is then of no use any more.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._statement = ""  # of `_values`
        self._values: list[Sequence[Any]] = []
        self._inserts: dict[type[Record], list[tuple[Any, ...]]] = {}
        self._touched: set[tuple[type[Record], Any]] = set()  # the rows of `_MANY` whose changes wait
        self._updates: dict[_Alike, list[tuple[Any, ...]]] = {}
        self._jobs: list[tuple[Any, ...]] = []
        self._unique_jobs: list[Job] = []

    async def take(self, change: Change) -> None:
        match change:
            case Insert(record):
                if isinstance(record, _MANY):
                    await self._touch(type(record), record.id)
                self._inserts.setdefault(type(record), []).append(values_of(record))
            case Enqueue(job):
                await self._touch(Job, job.id)
                if job.unique_key is None:
                    self._jobs.append(values_of(job))
                else:
                    self._unique_jobs.append(job)
            case Update(kind, where, values) if _is_of_one_of_many(kind, where, values):
                await self._touch(kind, where["id"])
                nulls = tuple(column for column, value in where.items() if value is None)
                alike = (kind, tuple(where), nulls, tuple(values))
                row = (*(value for value in where.values() if value is not None), *map(to_value, values.values()))
                self._updates.setdefault(alike, []).append(row)
            case _:
                await self._change(*_statement_of(change))

    async def flush(self) -> None:
        """Make what waits: changes, then the new records in the order of `TABLES`, of which none refers to a later one;
        then what has no order."""
        connection = self._connection
        if self._values:
            await connection.executemany(self._statement, self._values)
        for kind in TABLES if self._inserts else ():
            if kind in self._inserts:
                await self._insert(kind, self._inserts[kind])
        for alike, rows in self._updates.items():
            # In one order on all nodes, so that they do not wait for each other.
            rows.sort(key=itemgetter(_place_of_id(alike)))
            await connection.execute(_update_many(*alike), *zip(*rows, strict=True))
        if self._jobs:
            await connection.execute(_ENQUEUE, *zip(*self._jobs, strict=True))
        if self._unique_jobs:
            self._unique_jobs.sort(key=_unique_key)  # in one order, as above
            await connection.executemany(_ENQUEUE_UNIQUE, [values_of(job) for job in self._unique_jobs])
        for waiting in (self._values, self._inserts, self._touched, self._updates, self._jobs, self._unique_jobs):
            waiting.clear()

    async def _touch(self, kind: type[Record], id: object) -> None:
        """A change of this row will wait; one that waits already comes first."""
        if (kind, id) in self._touched:
            await self.flush()
        self._touched.add((kind, id))

    async def _change(self, kind: type[Record], statement: str, values: Sequence[Any]) -> None:
        if kind in _MANY:  # of rows that it does not name: between what came before and what comes after
            await self.flush()
            await self._connection.execute(statement, *values)
            return
        if self._inserts or (statement != self._statement and self._values):
            await self.flush()
        self._statement = statement
        self._values.append(values)

    async def _insert(self, kind: type[Record], rows: Sequence[tuple[Any, ...]]) -> None:
        if kind in _MANY:
            statement = insert_rows(TABLES[kind][0], kind, columns_of(kind))
            await self._connection.execute(statement, *zip(*rows, strict=True))
        else:
            await self._connection.executemany(_insert(kind), rows)


#: Updates that are one statement: kind, columns of `where`, those of them that are to be null, columns that are set.
_Alike: TypeAlias = tuple[type[Record], tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def _is_of_one_of_many(kind: type[Record], where: dict[str, Any], values: dict[str, Any]) -> bool:
    return kind in _MANY and where.get("id") is not None and _TIES.isdisjoint(values)


def _place_of_id(alike: _Alike) -> int:
    _, where, nulls, _ = alike
    return [column for column in where if column not in nulls].index("id")


def _unique_key(job: Job) -> str:
    return job.unique_key or ""


@cache
def _update_many(kind: type[Record], where: tuple[str, ...], nulls: tuple[str, ...], values: tuple[str, ...]) -> str:
    """One update for many rows; its parameters are an array for each column of `where` (but `nulls`) and `values`."""
    known = [column for column in where if column not in nulls]
    names = [f"old_{column}" for column in known] + [f"new_{column}" for column in values]
    conditions = [f"t.{column} = k.old_{column}" for column in known] + [f"t.{column} is null" for column in nulls]
    return (
        f"update {TABLES[kind][0]} as t set {', '.join(f'{column} = k.new_{column}' for column in values)}"
        f" from unnest({_arrays(kind, [*known, *values])}) as k({', '.join(names)}) where {' and '.join(conditions)}"
    )


@cache
def insert_rows(table: str, kind: RowType, columns: tuple[str, ...]) -> str:
    """One insert for many rows; its parameters are one array for each column."""
    return f"insert into {table} ({','.join(columns)}) select * from unnest({_arrays(kind, columns)})"


def _arrays(kind: RowType, columns: Iterable[str]) -> str:
    return ", ".join(f"${n}::{type_of(kind, column)}[]" for n, column in enumerate(columns, start=1))


def _enqueue_unique() -> str:
    """Gives up the unique key of a job that is not in force any more, and then enqueues the new one where it may.

    The insert selects from what counts the rows given up, and so comes after them.
    """
    columns = columns_of(Job)
    place = {column: f"${n}::{type_of(Job, column)}" for n, column in enumerate(columns, start=1)}
    return f"""
with given_up as (
    update jobs set unique_key = null
     where unique_key = {place["unique_key"]} and unique_until <= {place["created_at"]} returning 1
)
insert into jobs ({", ".join(columns)}) select {", ".join(place.values())} from (select count(*) from given_up) as g
    on conflict do nothing
"""


#: Neither the same job a second time nor a job with the same unique key is an error.
_ENQUEUE = f"{insert_rows('jobs', Job, columns_of(Job))} on conflict do nothing"
_ENQUEUE_UNIQUE = _enqueue_unique()


def _statement_of(change: Change) -> tuple[type[Record], str, Sequence[Any]]:
    match change:
        case Upsert(record):
            return type(record), _upsert(type(record)), values_of(record)
        case Update(kind, where, values):
            changed = ", ".join(f"{column} = ${n}" for n, column in enumerate(values, start=1))
            condition = _all_equal(where, first=len(values) + 1)
            statement = f"update {TABLES[kind][0]} set {changed} where {condition}"
            return kind, statement, [*map(to_value, values.values()), *_values(where)]
        case Delete(kind, where):
            return kind, f"delete from {TABLES[kind][0]} where {_all_equal(where)}", _values(where)
        case _:
            raise TypeError(f"{type(change).__name__} is no change of a record that is there.")


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


def _all_equal(where: dict[str, Any], first: int = 1) -> str:
    """A condition on `_values(where)`, which are the parameters from `first` on."""
    parts: list[str] = []
    for column, value in where.items():
        parts.append(f"{column} is null" if value is None else f"{column} = ${first}")
        first += value is not None
    return " and ".join(parts)


def _values(where: dict[str, Any]) -> list[Any]:
    return [value for value in where.values() if value is not None]
