"""One batch of units as one PostgreSQL transaction. In: units from `group_commit`. Out: durable rows, or reasons.

The usual batch, logs of conversations, is one statement (`postgres_moves.batch_statement`) and one round trip. Any
other is a transaction of a few statements. A unit whose fence fails is left out, which costs the others nothing. Where
a row cannot be written, the transaction is run again with savepoints, and halves what fails until the unit is found.

Never twice: each writer has a row in the table `commits`. A transaction begins by locking it, only goes on where its
batch is newer than the one noted there, and notes its own with the answer. So an attempt that is repeated after its
answer was lost waits for the first one where that still runs, and then either finds its note, or has overtaken it for
good. This costs one update of a cached row per batch.

Durable is what PostgreSQL calls so with `synchronous_commit = on`, which the connections set. Several nodes write to
one database at the same time; logs are locked in the order of their ids.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg
from msgspec.structs import astuple

from ..engine.errors import Conflict, Invalid, OutcomeUnknown, StaleWrite, TertuliaError, Unavailable
from .postgres_changes import Numbered, lock_logs, write_units
from .postgres_errors import is_certain, is_the_databases, is_units_own_fault, passes, reason
from .postgres_moves import Move, batch_statement, changes_of, columns_of_moves, hot_moves
from .postgres_wakeups import CHANNEL
from .records import EventRow, JobState, MessageRow
from .writes import Enqueue, Unit

#: How often a transaction is run that met another one's locks, before it is the caller's turn to wait.
ATTEMPTS = 4

_REFUSALS: dict[str, type[TertuliaError]] = {kind.__name__: kind for kind in (StaleWrite, Conflict, Invalid)}

_NO_MESSAGES: Sequence[Sequence[Any]] = [()] * len(MessageRow.__struct_fields__)
_NO_EVENTS: Sequence[Sequence[Any]] = [()] * len(EventRow.__struct_fields__)

_NOTED = "select batch, stale, refused from commits where writer = $1"
_CLAIM = f"{_NOTED} for update"
_NOTE = "update commits set batch = $2, stale = '{}', refused = $3, written_at = now() where writer = $1"
#: Wakes the workers of other nodes when, and only if, the transaction commits. This node knows its own by the number.
_NOTE_AND_WAKE = f"{_NOTE} returning pg_notify('{CHANNEL}', $1::bigint::text)"
_REGISTER = "insert into commits (writer, batch) values ($1, 0) on conflict do nothing"
#: Rows of writers that are gone. One that comes back registers again; no answer is in doubt for so long.
_PRUNE = """
delete from commits where writer in (
    select writer from commits where written_at < now() - interval '1 day' for update skip locked
)
"""


class Writer:
    """Commits one batch after the other; each node has one for its store.

    Attributes:
        id: names the writer's row; no other writer may ever have had it.
    """

    def __init__(self, id: int | None = None) -> None:
        self.id = secrets.randbits(63) if id is None else id
        self._batch = 0
        self._first: Unit | None = None
        self._answer: dict[int, Exception] | None = None

    async def commit(self, connection: asyncpg.Connection, units: Sequence[Unit]) -> dict[int, Exception]:
        """Write the units; returns the refused ones by index, with the reason. The same units again: the same answer.

        A unit is refused with `StaleWrite` where the log moved on, with `Conflict` where it breaks a unique or a
        foreign key, with `Invalid` where it holds a value that PostgreSQL does not take. Units without rows still
        write the writer's own row: a server that cannot write does not answer.

        Raises:
            OutcomeUnknown: the answer was lost after the server may have committed.
            Unavailable: nothing was written by this call.
        """
        if units[0] is not self._first:
            self._first, self._answer = units[0], None
            self._batch += 1
        if self._answer is None:
            self._answer = await self._commit(connection, units)
        return self._answer

    async def _commit(self, connection: asyncpg.Connection, units: Sequence[Unit]) -> dict[int, Exception]:
        moves = hot_moves(units)
        together = True
        attempts = ATTEMPTS
        while True:
            try:
                if moves is not None:
                    return await self._commit_at_once(connection, units, moves)
                return await self._commit_in_turn(connection, units, together=together)
            except (OutcomeUnknown, Unavailable):
                raise
            except Exception as error:
                if is_units_own_fault(error) and (moves is not None or together):
                    moves, together = None, False
                    continue
                attempts -= 1
                if passes(error) and attempts:
                    continue
                if not is_the_databases(error):
                    raise  # a mistake in this program
                raise Unavailable(f"The database cannot be written: {str(error) or 'no answer in time'}.") from error

    async def _commit_at_once(
        self, connection: asyncpg.Connection, units: Sequence[Unit], moves: Sequence[Move]
    ) -> dict[int, Exception]:
        messages = [row for unit in units for row in unit.messages]
        events = [row for unit in units for row in unit.events]
        changes = changes_of(moves)
        statement = batch_statement(changes)
        values = (
            *columns_of_moves(moves, changes),
            *(zip(*map(astuple, messages), strict=True) if messages else _NO_MESSAGES),
            *(zip(*map(astuple, events), strict=True) if events else _NO_EVENTS),
        )
        while True:
            try:
                row = await connection.fetchrow(statement, self.id, self._batch, *values)
            except Exception as error:
                _check_not_lost(connection, error)
                raise
            assert row is not None
            if row["claimed"]:
                moved = set(row["moved"])
                return _stale(move for move in moves if move.log_id not in moved)
            noted = await connection.fetchrow(_NOTED, self.id)
            if noted is not None:
                return _answer_in(noted, units)
            await self._register(connection)

    async def _commit_in_turn(
        self, connection: asyncpg.Connection, units: Sequence[Unit], *, together: bool
    ) -> dict[int, Exception]:
        transaction = connection.transaction()
        await transaction.start()
        try:
            while (noted := await connection.fetchrow(_CLAIM, self.id)) is None:
                await self._register(connection)
            if noted["batch"] >= self._batch:
                refused = _answer_in(noted, units)
            else:
                await lock_logs(connection, units)
                numbered = list(enumerate(units))
                if together:
                    refused = await write_units(connection, numbered)
                else:
                    refused = await _write_by_halves(connection, numbered)
                note = _NOTE_AND_WAKE if _has_work(units, refused) else _NOTE
                await connection.execute(note, self.id, self._batch, _text_of(refused))
        except Exception as error:
            if is_certain(error) or is_units_own_fault(error):
                await transaction.rollback()
            else:
                connection.terminate()  # it would wait for the server, which forgets the transaction by itself
            raise
        except BaseException:  # cancelled: nobody waits for the rollback
            connection.terminate()
            raise
        try:
            await transaction.commit()
        except Exception as error:
            _check_not_lost(connection, error)
            raise
        return refused

    async def _register(self, connection: asyncpg.Connection) -> None:
        await connection.execute(_PRUNE)
        await connection.execute(_REGISTER, self.id)


async def _write_by_halves(connection: asyncpg.Connection, units: Sequence[Numbered]) -> dict[int, Exception]:
    """Write units as if one after the other, and find those that cannot be written."""
    savepoint = connection.transaction()
    await savepoint.start()
    try:
        refused = await write_units(connection, units)
    except Exception as error:
        if not is_units_own_fault(error):
            raise
        await savepoint.rollback()
        if len(units) == 1:
            return {units[0][0]: reason(error)}
        half = len(units) // 2
        refused = await _write_by_halves(connection, units[:half])
        refused.update(await _write_by_halves(connection, units[half:]))
        return refused
    await savepoint.commit()
    return refused


def _has_work(units: Sequence[Unit], refused: Mapping[int, Exception]) -> bool:
    """Whether there is a new job that a worker may begin now."""
    return any(
        isinstance(write, Enqueue) and write.job.state == JobState.AVAILABLE
        for index, unit in enumerate(units)
        if unit.writes and index not in refused
        for write in unit.writes
    )


def _stale(moves: Iterable[Move]) -> dict[int, Exception]:
    return {index: StaleWrite() for index in sorted(index for move in moves for index in move.units)}


def _answer_in(noted: asyncpg.Record, units: Sequence[Unit]) -> dict[int, Exception]:
    """The answer that was noted with a batch."""
    if noted["refused"] is None:
        stale = set(noted["stale"])
        return {index: StaleWrite() for index, unit in enumerate(units) if unit.conversation_id in stale}
    return {index: _REFUSALS[kind](detail) for index, kind, detail in json.loads(noted["refused"])}


def _text_of(refused: Mapping[int, Exception]) -> str:
    return json.dumps([(index, type(error).__name__, str(error)) for index, error in sorted(refused.items())])


def _check_not_lost(connection: asyncpg.Connection, error: Exception) -> None:
    """Raises OutcomeUnknown: the error came where a commit was asked for, and does not say whether it was done."""
    if is_the_databases(error) and not is_certain(error):
        connection.terminate()  # whatever it still hears belongs to nobody
        raise OutcomeUnknown("The database's answer was lost.") from error
