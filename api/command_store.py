"""A store for one command of the command line, without an engine. In: settings. Out: the store, and its writer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from ..engine.hosting import open_shielded_nursery
from ..storage.contracts import Store
from ..storage.group_commit import GroupCommit
from ..storage.open import open_store
from .serving import known_error
from .settings import Settings


@asynccontextmanager
async def open_command_store(settings: Settings) -> AsyncGenerator[Store]:
    """The store; an error that keeps it from opening comes alone, whatever tasks it passed."""
    async with AsyncExitStack() as stack:
        try:
            store = await stack.enter_async_context(open_store(settings.server.database, settings.postgres))
        except BaseExceptionGroup as group:
            raise known_error(group) or group from None
        yield store


@asynccontextmanager
async def open_command_journal(settings: Settings) -> AsyncGenerator[tuple[Store, GroupCommit]]:
    """A store and its writer."""
    async with open_command_store(settings) as store, open_shielded_nursery() as nursery:
        journal = GroupCommit(store, settings.group_commit)
        nursery.start_soon(journal.run)
        yield store, journal
