"""How SQLite would run a query: by an index, or by reading a table from end to end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

Query = Callable[[sqlite3.Connection], Any]

_PLANNED = {"select", "with", "update", "delete", "insert"}


def plans(database: sqlite3.Connection, query: Query) -> list[str]:
    """The steps of SQLite's plans for every statement that the query runs."""
    statements: list[str] = []
    database.set_trace_callback(statements.append)
    query(database)
    database.set_trace_callback(None)
    planned = [sql for sql in statements if sql.split()[0].lower() in _PLANNED]
    assert planned
    return [row[3] for sql in planned for row in database.execute(f"explain query plan {sql}")]


def whole_tables(steps: list[str]) -> list[str]:
    """The steps that read a table from end to end. Arrays given as parameters, and results of subqueries, are none."""
    return [
        step
        for step in steps
        if step.startswith("SCAN")
        and not any(name in step.upper() for name in ("VIRTUAL TABLE", "SUBQUERY", "CONSTANT"))
    ]
