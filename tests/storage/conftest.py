"""Every kind of store passes the same tests: what takes `store` runs once for each."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tertulia.storage.open import open_store
from tertulia.storage.sqlite import SqliteStore

from .sample import fill


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'chat.db'}"


@pytest.fixture(params=["memory", "sqlite"])
async def empty_store(request: pytest.FixtureRequest, file_url: str) -> AsyncGenerator[SqliteStore]:
    """A new store without anything in it."""
    async with open_store("memory:" if request.param == "memory" else file_url) as store:
        yield store


@pytest.fixture
async def store(empty_store: SqliteStore) -> SqliteStore:
    """A store with the two accounts of `sample`."""
    await fill(empty_store)
    return empty_store


@pytest.fixture
async def memory_store() -> AsyncGenerator[SqliteStore]:
    """The store without threads, for virtual time, with the two accounts of `sample`."""
    async with open_store("memory:") as store:
        await fill(store)
        yield store
