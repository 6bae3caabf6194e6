"""Every kind of store passes the same tests: what takes `store` runs once for each."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from tertulia.storage.bridge import open_bridge
from tertulia.storage.contracts import Store
from tertulia.storage.open import open_store
from tertulia.storage.records import TABLES
from tertulia.storage.rows import is_numbered

from ..servers import PostgresServer, drop_database, execute, new_database
from .postgres_nodes import Database
from .sample import fill

#: Nothing in the first of them is referred to, and nothing in any of them by a later one.
TABLES_BY_REFERENCE = [
    *("commits", "messages", "events", "account_events"),
    *(table for table, _ in reversed(TABLES.values()) if table != "meta"),
]
EMPTY = "; ".join(
    [f"delete from {table}" for table in TABLES_BY_REFERENCE]
    + [f"select setval('{table}_ids', 1, false)" for kind, (table, _) in TABLES.items() if is_numbered(kind)]
    + ["delete from meta where key <> 'epoch'"]
)


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'chat.db'}"


@pytest.fixture(scope="session")
def kept_postgres_url(postgres_of_the_run: PostgresServer | None) -> Generator[str]:
    """A database that is made and migrated once: that takes many times as long as a test."""
    server_url = postgres_of_the_run.url if postgres_of_the_run else os.environ["TERTULIA_TEST_POSTGRES"]
    url = new_database(server_url)
    yield url
    drop_database(server_url, url)


@pytest.fixture
def emptied_postgres_url(kept_postgres_url: str) -> Generator[str]:
    """The URL of a PostgreSQL database without anything in it."""
    yield kept_postgres_url
    execute(kept_postgres_url, EMPTY)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def any_url(request: pytest.FixtureRequest) -> str:
    """The URL of a new database of each kind."""
    if request.param == "memory":
        return "memory:"
    return str(request.getfixturevalue("file_url" if request.param == "sqlite" else "emptied_postgres_url"))


@pytest.fixture
async def empty_store(any_url: str) -> AsyncGenerator[Store]:
    """A new store without anything in it."""
    async with open_store(any_url) as store:
        yield store


@pytest.fixture
async def store(empty_store: Store) -> Store:
    """A store with the two accounts of `sample`."""
    await fill(empty_store)
    return empty_store


@pytest.fixture
async def memory_store() -> AsyncGenerator[Store]:
    """The store without threads, for virtual time, with the two accounts of `sample`."""
    async with open_store("memory:") as store:
        await fill(store)
        yield store


@pytest.fixture
async def database(emptied_postgres_url: str) -> AsyncGenerator[Database]:
    """PostgreSQL as several nodes see it, with the two accounts of `sample`."""
    async with open_bridge() as bridge:
        database = Database(bridge, emptied_postgres_url)
        await database.lay_out()
        async with database.observed():
            yield database
