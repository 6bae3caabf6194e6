"""What PostgreSQL's and asyncpg's errors mean to a writer. In: an exception. Out: whose fault it is, and the reason.

Three things are told apart: the unit's own fault (it would fail again), an encounter with another node that passes
(deadlock, serialization, a lock that did not come), and everything else, which is the server's or the network's.
"""

from __future__ import annotations

import re

import asyncpg

from ..engine.errors import Conflict, Invalid, StaleWrite

_LOGS = frozenset({"messages", "events", "account_events"})

#: Classes of SQLSTATE that blame the statement: cardinality, data, integrity, syntax or unknown names, sizes.
_UNITS_OWN_CLASSES = frozenset({"21", "22", "23", "42", "54"})
_INSUFFICIENT_PRIVILEGE = "42501"  # of that class, but the operator's fault

#: serialization_failure, deadlock_detected, lock_not_available
_PASSING = frozenset({"40001", "40P01", "55P03"})

#: The columns of a broken key, whatever the server's language: `Key (account_id, email)=(1, ...) already exists.`
_KEY = re.compile(r"\(([^()]*)\)=")


def is_units_own_fault(error: Exception) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return is_certain(error) and state[:2] in _UNITS_OWN_CLASSES and state != _INSUFFICIENT_PRIVILEGE
    return isinstance(error, StaleWrite | Invalid | ValueError | TypeError | OverflowError)


def is_the_databases(error: Exception) -> bool:
    """It comes from the server or from the way to it, and not from a mistake in this program."""
    return isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | OSError | TimeoutError)


def passes(error: Exception) -> bool:
    """The same transaction may well succeed when it is run again at once."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _PASSING


def is_certain(error: Exception) -> bool:
    """What was asked was surely not done: the server itself said so, and stayed, or it was never asked.

    A server that says FATAL or PANIC goes away, and may have committed before it did.
    """
    return isinstance(error, asyncpg.PostgresError) and (_severity(error) == "ERROR" or _was_not_sent(error))


def _severity(error: asyncpg.PostgresError) -> str | None:
    return getattr(error, "severity_en", None) or getattr(error, "severity", None)


def _was_not_sent(error: Exception) -> bool:
    """A value that never reached PostgreSQL: of a type that the column does not take, beyond 64 bits, not Unicode.

    asyncpg has one class for the server's complaints about values and for its own.
    """
    return isinstance(error, asyncpg.DataError) and _severity(error) is None


def reason(error: Exception) -> Exception:
    """Why a unit is refused: `StaleWrite`, `Conflict` or `Invalid`."""
    match error:
        case StaleWrite() | Invalid():
            return error
        case asyncpg.ForeignKeyViolationError():
            return Conflict("This refers to something that does not exist.")
        case asyncpg.UniqueViolationError():
            if error.table_name in _LOGS:
                return StaleWrite()  # somebody else wrote this seq or this client_id: the actor looks again
            return Conflict(f"This {_key_of(error)} is taken already.")
        case asyncpg.PostgresError() if not _was_not_sent(error):
            return Invalid(f"This cannot be stored: {error.args[0]}.")
        case _:  # asyncpg's text quotes the value, which may be a whole batch's column
            return Invalid("This cannot be stored: a value is of the wrong type, too large or not Unicode.")


def _key_of(error: asyncpg.UniqueViolationError) -> str:
    found = _KEY.search(error.detail or "")
    columns = found[1].split(", ") if found else ["key"]
    named = [column for column in columns if column != "account_id" or len(columns) == 1]
    return " and ".join(named)
