"""From a database URL to a store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ..engine.errors import TertuliaError
from .sqlite import SqliteStore, open_memory, open_sqlite

FILE = "sqlite:///"
#: What SQLite takes for a database that each connection has to itself: readers would never see what is written.
NO_FILES = frozenset({"", ":memory:"})
FORMS = "sqlite:///relative.db, sqlite:////absolute.db or memory:"


class BadDatabaseUrl(TertuliaError):
    """The database URL names no store."""

    code = "bad_database_url"


@asynccontextmanager
async def open_store(url: str) -> AsyncGenerator[SqliteStore]:
    """Open the store that a URL names, made and migrated where necessary: `sqlite:///file.db` or `memory:`.

    Raises:
        BadDatabaseUrl: the URL names no store.
        DatabaseInUse: another server has the database open.
        NewerSchema: a newer program wrote the database.
        ForeignDatabase: it is another program's database.
        Unavailable: the database cannot be opened.
    """
    if url == "memory:":
        opened = open_memory()
    elif url.startswith(FILE) and url.removeprefix(FILE) not in NO_FILES:
        opened = open_sqlite(url.removeprefix(FILE))
    else:
        raise BadDatabaseUrl(f"The database URL {url!r} names no store; use {FORMS}.")
    async with opened as store:
        yield store
