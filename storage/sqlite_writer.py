"""One batch of units as one SQLite transaction. In: units from `group_commit`. Out: durable rows, or reasons.

`commit` does all of it; `begin` and `finish` are the same in two halves, of which only the second waits for the disk.

The fast way assumes that all is well: fences one by one, then everything of one kind as one statement. A unit whose
fence fails is left out, which costs the others nothing. Where a row cannot be written, SQLite cannot say whose it
was: the transaction is rolled back and run again with a savepoint around each unit.

One `executemany` over the rows is the fastest form there is: measured against multi-row VALUES and JSON arrays, on an
idle event loop and on a busy one that fights for the GIL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from msgspec.structs import astuple

from ..engine.errors import Conflict, Invalid, StaleWrite, Unavailable
from .records import AccountEventRow, EventRow, MessageRow
from .rows import to_value
from .sqlite_changes import Inserts, amend_log, change_records
from .writes import AmendMessage, EraseLog, Unit


def _insert(table: str, width: int) -> str:
    return f"insert into {table} values ({','.join('?' * width)})"


_INSERT_MESSAGE = _insert("messages", len(MessageRow.__struct_fields__))
_INSERT_EVENT = _insert("events", len(EventRow.__struct_fields__))
_INSERT_ACCOUNT_EVENT = _insert("account_events", len(AccountEventRow.__struct_fields__))

#: Writes a page and changes nothing: a commit without rows would succeed on a full disk.
_TOUCH = "update meta set value = value where key = 'epoch'"

_LOGS = frozenset({"messages", "events", "account_events"})

#: SQLite's primary result codes that blame the statement and not the disk: the same unit would fail again.
_UNITS_OWN_FAULTS = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)


def commit(database: sqlite3.Connection, units: Sequence[Unit]) -> dict[int, Exception]:
    """Write the units; returns the refused ones by index, with the reason.

    A unit is refused with `StaleWrite` where the log moved on, with `Conflict` where it breaks a unique or a foreign
    key, with `Invalid` where it holds a value that SQLite does not take.

    Raises:
        Unavailable: SQLite could not commit; nothing was written.
    """
    with _all_or_nothing(database):
        try:
            refused = _write_together(database, units)
            database.execute("commit")
            return refused
        except Exception as error:
            _roll_back(database)
            if not _is_units_own_fault(error):
                raise
            return _commit_one_by_one(database, units)


def begin(database: sqlite3.Connection, units: Sequence[Unit]) -> dict[int, Exception] | None:
    """The first half of `commit`: the transaction with everything in it, for `finish` to make durable.

    Returns what `commit` would. None: it went wrong, nothing is begun; `commit` meets the same, and knows what to do.
    """
    try:
        with _all_or_nothing(database):
            return _write_together(database, units)
    except Exception:
        return None


def finish(database: sqlite3.Connection) -> None:
    """The second half.

    Raises:
        Unavailable: SQLite could not commit; nothing was written.
    """
    with _all_or_nothing(database):
        database.execute("commit")


def set_epoch(database: sqlite3.Connection, epoch: str) -> None:
    """Raises Unavailable."""
    with _all_or_nothing(database):
        database.execute("update meta set value = ? where key = 'epoch'", (epoch,))


@contextmanager
def _all_or_nothing(database: sqlite3.Connection) -> Generator[None]:
    """What does not get to its end is rolled back. Raises Unavailable in place of SQLite's errors."""
    try:
        try:
            yield
        except BaseException:
            _roll_back(database)
            raise
    except sqlite3.Error as error:
        raise Unavailable(f"The database cannot be written: {error}.") from error


def _write_together(database: sqlite3.Connection, units: Sequence[Unit]) -> dict[int, Exception]:
    refused: dict[int, Exception] = {}
    messages: list[MessageRow] = []
    events: list[EventRow] = []
    account_events: list[AccountEventRow] = []
    amendments: list[AmendMessage | EraseLog] = []
    inserts = Inserts(database)
    changes = database.total_changes
    database.execute("begin immediate")
    for index, unit in enumerate(units):
        if unit.conversation_id is not None or unit.account_log:
            inserts.flush()  # perhaps the log that this unit is about
            if not _advance(database, unit):
                refused[index] = StaleWrite()
                continue
        messages += unit.messages
        events += unit.events
        account_events += unit.account_events
        if unit.writes:
            amendments += change_records(database, unit.writes, inserts)
    inserts.flush()
    _insert_rows(database, messages, events, account_events)
    for amendment in amendments:
        amend_log(database, amendment)
    if database.total_changes == changes:
        database.execute(_TOUCH)
    return refused


def _commit_one_by_one(database: sqlite3.Connection, units: Sequence[Unit]) -> dict[int, Exception]:
    refused: dict[int, Exception] = {}
    database.execute("begin immediate")
    for index, unit in enumerate(units):
        database.execute("savepoint unit")
        try:
            _write(database, unit)
        except Exception as error:
            if not _is_units_own_fault(error):
                _roll_back(database)
                raise
            database.execute("rollback to unit")
            refused[index] = _reason(error)
        database.execute("release unit")
    database.execute("commit")
    return refused


def _write(database: sqlite3.Connection, unit: Unit) -> None:
    if (unit.conversation_id is not None or unit.account_log) and not _advance(database, unit):
        raise StaleWrite
    inserts = Inserts(database)
    amendments = change_records(database, unit.writes, inserts)
    inserts.flush()
    _insert_rows(database, unit.messages, unit.events, unit.account_events)
    for amendment in amendments:
        amend_log(database, amendment)


def _advance(database: sqlite3.Connection, unit: Unit) -> bool:
    """Move the log's last seq, where it is what the actor read."""
    columns = "".join([f", {column} = ?" for column in unit.changes])
    values = [unit.new_seq, *map(to_value, unit.changes.values())]
    if unit.account_log:
        fence = f"update accounts set last_seq = ?{columns} where id = ? and last_seq = ?"
        values += (unit.account_id, unit.old_seq)
    else:
        fence = f"update conversations set last_seq = ?{columns} where id = ? and last_seq = ? and account_id = ?"
        values += (unit.conversation_id, unit.old_seq, unit.account_id)
    return database.execute(fence, values).rowcount == 1


def _insert_rows(
    database: sqlite3.Connection,
    messages: Sequence[MessageRow],
    events: Sequence[EventRow],
    account_events: Sequence[AccountEventRow],
) -> None:
    if messages:
        database.executemany(_INSERT_MESSAGE, map(astuple, messages))
    if events:
        database.executemany(_INSERT_EVENT, map(astuple, events))
    if account_events:
        database.executemany(_INSERT_ACCOUNT_EVENT, map(astuple, account_events))


def _is_units_own_fault(error: Exception) -> bool:
    if isinstance(error, sqlite3.OperationalError | sqlite3.DatabaseError) and hasattr(error, "sqlite_errorcode"):
        return error.sqlite_errorcode & 0xFF in _UNITS_OWN_FAULTS
    # Values that never reach SQLite: of a type that it has no column for, beyond 64 bits, not Unicode.
    own = StaleWrite | OverflowError | UnicodeEncodeError | TypeError | sqlite3.InterfaceError
    return isinstance(error, own) or (isinstance(error, sqlite3.ProgrammingError) and "binding" in str(error))


def _reason(error: Exception) -> Exception:
    if not isinstance(error, sqlite3.IntegrityError):
        return error if isinstance(error, StaleWrite) else Invalid(f"This cannot be stored: {error}.")
    if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return Conflict("This refers to something that does not exist.")
    if error.sqlite_errorcode not in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY):
        return Invalid(f"This cannot be stored: {error}.")
    key = str(error).rpartition(": ")[2].split(", ")  # "UNIQUE constraint failed: contacts.account_id, contacts.email"
    table = key[0].partition(".")[0]
    if table in _LOGS:
        return StaleWrite()  # somebody else wrote this seq or this client_id: the actor looks again
    columns = [name.partition(".")[2] for name in key]
    named = [column for column in columns if column != "account_id" or len(columns) == 1]
    return Conflict(f"This {' and '.join(named)} is taken already.")


def _roll_back(database: sqlite3.Connection) -> None:
    if database.in_transaction:
        database.execute("rollback")
