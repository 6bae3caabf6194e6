"""Numbered SQL files, each applied once, in its own transaction, in the order of their numbers.

The files of this folder are SQLite's. Another kind of database has a folder of its own, with the same numbers.
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

from ...engine.errors import TertuliaError

FILES = Path(__file__).parent


class NewerSchema(TertuliaError):
    """The database was written by a newer version; upgrade this program."""

    code = "newer_schema"


class ForeignDatabase(TertuliaError):
    """The database holds the tables of another program; name another database."""

    code = "foreign_database"


def numbered_files(folder: Path = FILES) -> list[tuple[int, Path]]:
    """The migrations in a folder, in their order: `0001_initial.sql` has the number 1."""
    return sorted((int(path.name.partition("_")[0]), path) for path in folder.glob("*.sql"))


def apply_migrations(database: sqlite3.Connection, folder: Path = FILES) -> int:
    """Bring the schema up to date; returns its version.

    The version is SQLite's `user_version`. Two programs that start together are safe: each file runs in a transaction
    that looks at the version again after it has the lock.

    Raises:
        NewerSchema: a newer program has migrated the database.
        ForeignDatabase: these are another program's tables.
    """
    files = numbered_files(folder)
    newest = files[-1][0]
    if version_of(database) > newest:
        raise NewerSchema(
            f"The database has schema {version_of(database)}, this program knows {newest}; upgrade the program."
        )
    for number, path in files:
        if number > version_of(database):
            _apply_once(database, number, path)
    database.execute("insert or ignore into meta values ('epoch', ?)", (fresh_epoch(),))
    return version_of(database)


def version_of(database: sqlite3.Connection) -> int:
    """The number of the last migration; 0 where there was none."""
    return int(database.execute("pragma user_version").fetchone()[0])


def fresh_epoch() -> str:
    """A name for a generation of a store that no other generation has."""
    return secrets.token_hex(4)


def _apply_once(database: sqlite3.Connection, number: int, path: Path) -> None:
    database.execute("begin immediate")
    try:
        version = version_of(database)
        if version == 0 and database.execute("select 1 from sqlite_master").fetchone() is not None:
            raise ForeignDatabase
        if number > version:
            for statement in _statements(path.read_text(encoding="utf-8")):
                database.execute(statement)
            database.execute(f"pragma user_version = {number}")
        database.execute("commit")
    except BaseException:
        if database.in_transaction:
            database.execute("rollback")
        raise


def _statements(script: str) -> list[str]:
    """One by one, because `executescript` would commit the transaction around them."""
    statements: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return [*statements, pending] if pending.strip() else statements
