"""The fences of a batch. In: units. Out: one move per log, and the statements that make them.

Units of one log that follow each other in a batch (the next one starts where this one ends) are one move: all of them
are written, or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeAlias, get_args, get_type_hints

from ..engine.errors import Invalid
from .records import TABLES, Account, AccountEventRow, Conversation, EventRow, LogRow, MessageRow, Record
from .rows import to_value
from .writes import Unit

RowType: TypeAlias = type[Record] | type[MessageRow] | type[EventRow] | type[AccountEventRow]
LogRowType: TypeAlias = type[MessageRow] | type[EventRow] | type[AccountEventRow]


@dataclass(slots=True)
class Move:
    """A log that goes on from `old_seq` to `new_seq`, and its units by index. `changes` are columns of its `kind`."""

    kind: type[Record]
    log_id: int
    account_id: int
    old_seq: int
    new_seq: int
    changes: dict[str, Any]
    units: list[int]


class Logs:
    """The moves of consecutive units."""

    def __init__(self) -> None:
        self._moves: dict[tuple[type[Record], int, int], Move] = {}

    @property
    def moves(self) -> Iterable[Move]:
        return self._moves.values()

    def take(self, index: int, unit: Unit) -> bool:
        """False where the unit does not follow what was taken of its log before; it is then not taken."""
        key: tuple[type[Record], int, int]
        if unit.account_log:
            key = (Account, unit.account_id, unit.account_id)
        elif unit.conversation_id is not None:
            key = (Conversation, unit.conversation_id, unit.account_id)
        else:
            return True
        move = self._moves.get(key)
        if move is None:
            self._moves[key] = Move(key[0], key[1], unit.account_id, unit.old_seq, unit.new_seq, unit.changes, [index])
            return True
        if move.new_seq != unit.old_seq:
            return False
        move.new_seq = unit.new_seq
        move.changes = {**move.changes, **unit.changes}
        move.units.append(index)
        return True


def hot_moves(units: Sequence[Unit]) -> list[Move] | None:
    """The moves of a batch that one statement can write: nothing but logs of conversations.

    None where the batch is of another kind.
    """
    logs = Logs()
    for index, unit in enumerate(units):
        if unit.writes or unit.account_log or unit.account_events or not logs.take(index, unit):
            return None
        if unit.conversation_id is None:
            if unit.messages or unit.events:
                return None
        elif not _is_about(unit.conversation_id, unit.messages) or not _is_about(unit.conversation_id, unit.events):
            return None
    moves = list(logs.moves)
    # Twice: of two accounts, and one of them is wrong.
    return moves if len({move.log_id for move in moves}) == len(moves) else None


def _is_about(conversation_id: int, rows: Iterable[LogRow]) -> bool:
    return all(row.conversation_id == conversation_id for row in rows)


class Changes(NamedTuple):
    """Columns that moves change: `all` of them, or only `some`, which leave the others' columns as they are."""

    all: tuple[str, ...]
    some: tuple[str, ...] = ()

    @property
    def arrays(self) -> int:
        return len(self.all) + 2 * len(self.some)


def changes_of(moves: Sequence[Move]) -> Changes:
    """In one order whatever the moves' is, so that the same columns are the same statement."""
    count: Counter[str] = Counter()
    for columns, moved in Counter(tuple(move.changes) for move in moves).items():
        for column in columns:
            count[column] += moved
    names = sorted(count)
    return Changes(
        tuple(name for name in names if count[name] == len(moves)),
        tuple(name for name in names if count[name] < len(moves)),
    )


def columns_of_moves(moves: Sequence[Move], changes: Changes) -> list[Sequence[Any]]:
    """The arrays that the statements below take: id, account, old seq, new seq, the values of what all change, then of
    what some change, each followed by who does.
    """
    fixed: list[Sequence[Any]] = [
        [move.log_id for move in moves],
        [move.account_id for move in moves],
        [move.old_seq for move in moves],
        [move.new_seq for move in moves],
    ]
    for column in changes.all:
        fixed.append([to_value(move.changes[column]) for move in moves])
    for column in changes.some:
        fixed.append([to_value(move.changes.get(column)) for move in moves])
        fixed.append([column in move.changes for move in moves])
    return fixed


def move_statement(moves: Sequence[Move]) -> tuple[str, list[Sequence[Any]]]:
    """What moves logs of one kind, and its parameters; it returns the ids of the moved ones."""
    changes = changes_of(moves)
    return _move_sql(moves[0].kind, changes), columns_of_moves(moves, changes)


@cache
def _move_sql(kind: type[Record], changes: Changes, first: int = 1, condition: str = "") -> str:
    table = TABLES[kind][0]
    names = ["id", "account_id", "old_seq", "new_seq", *changes.all]
    types = ["bigint"] * 4 + [type_of(kind, column) for column in changes.all]
    sets = "".join(f", {column} = k.{column}" for column in changes.all)
    for column in changes.some:
        names += [column, f"has_{column}"]
        types += [type_of(kind, column), "boolean"]
        sets += f", {column} = case when k.has_{column} then k.{column} else c.{column} end"
    arrays = ", ".join(f"${n}::{type}[]" for n, type in enumerate(types, start=first))
    owner = "id" if kind is Account else "account_id"
    return (
        f"update {table} as c set last_seq = k.new_seq{sets} from unnest({arrays}) as k({', '.join(names)})"
        f" where c.id = k.id and c.last_seq = k.old_seq and c.{owner} = k.account_id{condition} returning c.id"
    )


#: The parameters of `batch_statement` before those of the moves: the writer, and the number of its batch.
_BEFORE_MOVES = 2
#: All locks are there before the first row is changed. A join with them would be quadratic where the planner errs.
_AFTER_THE_LOCKS = " and (select count(*) from locked) > 0"
#: Compared through a hash table: as a join, PostgreSQL may loop over both sides.
_OF_A_MOVED_LOG = "(r.conversation_id in (select id from moved)) is true"


@cache
def batch_statement(changes: Changes) -> str:
    """One statement for a whole batch: who may write, locks, fences, rows, and the note that it was written.

    The locks are taken in the order of the ids, so that two nodes cannot wait for each other. The first lock is the
    writer's own row: an earlier attempt at the same batch, whose answer was lost and which still runs, is waited for.
    """
    first = _BEFORE_MOVES + 1
    messages = first + 4 + changes.arrays
    events = messages + len(MessageRow.__struct_fields__)
    return f"""
with claimed as materialized (
    select writer from commits where writer = $1 and batch < $2 for update
), locked as materialized (
    select id from conversations where id = any(${first}::bigint[]) and exists (select from claimed)
     order by id for no key update
), moved as (
    {_move_sql(Conversation, changes, first, _AFTER_THE_LOCKS)}
), new_messages as (
    insert into messages {_selected_rows(MessageRow, messages)}
), new_events as (
    insert into events {_selected_rows(EventRow, events)}
), noted as (
    update commits set batch = $2, written_at = now(), refused = null,
           stale = array(select id from unnest(${first}::bigint[]) as k(id) where id not in (select id from moved))
      from claimed where commits.writer = claimed.writer
)
select exists (select from claimed) as claimed, array(select id from moved) as moved
"""


def _selected_rows(kind: LogRowType, first: int) -> str:
    names = ", ".join(kind.__struct_fields__)
    arrays = ", ".join(f"${n}::{type_of(kind, name)}[]" for n, name in enumerate(kind.__struct_fields__, start=first))
    return f"({names}) select r.* from unnest({arrays}) as r({names}) where {_OF_A_MOVED_LOG}"


def _types(kind: RowType) -> dict[str, str]:
    """PostgreSQL's types of a row's columns. JSON is text."""
    types = {name: get_args(type) or (type,) for name, type in get_type_hints(kind).items()}
    return {name: next((_NAMES[type] for type in kinds if type in _NAMES), "text") for name, kinds in types.items()}


def type_of(kind: RowType, column: str) -> str:
    """Raises Invalid: there is no such column."""
    try:
        return _types(kind)[column]
    except KeyError:
        raise Invalid(f"{kind.__name__} has no column {column}.") from None


_NAMES: dict[Any, str] = {int: "bigint", bool: "boolean", float: "double precision"}
