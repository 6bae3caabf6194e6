"""Numbered SQL files, each applied once, in its own transaction, in the order of their numbers."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

from ...engine.errors import TertuliaError


class NewerSchema(TertuliaError):
    """The database was written by a newer version; upgrade this program."""

    code = "newer_schema"


def numbered_files() -> list[tuple[int, Path]]:
    """The migrations of this version."""
    return sorted((int(path.name.partition("_")[0]), path) for path in Path(__file__).parent.glob("*.sql"))


def apply_migrations(database: sqlite3.Connection) -> int:
    """Bring the schema up to date; returns its version.

    The version is SQLite's `user_version`. Two programs that start together are safe: each file runs in a transaction that
    looks at the version again after it has the lock.

    Raises:
        NewerSchema: a newer program has migrated the database.
    """
    files = numbered_files()
    newest = files[-1][0]
    if _version(database) > newest:
        raise NewerSchema(
            f"The database has schema {_version(database)}, this program knows {newest}; upgrade the program."
        )
    for number, path in files:
        if number <= _version(database):
            continue
        database.execute("begin immediate")
        try:
            if number > _version(database):
                for statement in _statements(path.read_text(encoding="utf-8")):
                    database.execute(statement)
                database.execute(f"pragma user_version = {number}")
            database.execute("commit")
        except BaseException:
            database.execute("rollback")
            raise
    database.execute("insert or ignore into meta values ('epoch', ?)", (secrets.token_hex(4),))
    return _version(database)


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("pragma user_version").fetchone()[0])


def _statements(script: str) -> list[str]:
    statements: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
