"""From a database URL to a store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ..engine.errors import TertuliaError
from .sqlite import SqliteStore, open_memory, open_sqlite

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
    elif url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        opened = open_sqlite(url.removeprefix("sqlite:///"))
    else:
        raise BadDatabaseUrl(f"The database URL {url!r} names no store; use {FORMS}.")
    async with opened as store:
        yield store
