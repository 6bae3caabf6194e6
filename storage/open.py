"""From a database URL to a store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from .contracts import Store
from .database_url import FORMS, POSTGRES, BadDatabaseUrl, shown
from .postgres_limits import PostgresLimits
from .sqlite import open_memory, open_sqlite

__all__ = ["BadDatabaseUrl", "open_store"]

FILE = "sqlite:///"
#: What SQLite takes for a database that each connection has to itself: readers would never see what is written.
NO_FILES = frozenset({"", ":memory:"})


@asynccontextmanager
async def open_store(url: str, postgres: PostgresLimits | None = None) -> AsyncGenerator[Store]:
    """Open the store that a URL names, made and migrated where necessary.

    Args:
        url: `sqlite:///file.db`, `postgresql://user:password@host:5432/database` or `memory:`.
        postgres: limits, where the store is PostgreSQL.

    Raises:
        BadDatabaseUrl: the URL names no store, or PostgreSQL refuses it.
        DatabaseInUse: another server has the database file open.
        NewerSchema: a newer program wrote the database.
        ForeignDatabase: it is another program's database.
        Unavailable: the database cannot be opened.
    """
    opened: AbstractAsyncContextManager[Store]
    if url == "memory:":
        opened = open_memory()
    elif url.startswith(FILE) and url.removeprefix(FILE) not in NO_FILES:
        opened = open_sqlite(url.removeprefix(FILE))
    elif url.startswith(POSTGRES):
        # Not above: a server on SQLite needs neither asyncio nor the memory that it takes.
        from .postgres import open_postgres

        opened = open_postgres(url, postgres)
    else:
        raise BadDatabaseUrl(f"The database URL {shown(url)} names no store; use {FORMS}.")
    async with opened as store:
        yield store
