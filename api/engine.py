"""The composition root: `open_engine` puts store, writer, directory and hub together for the length of a block."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

from ..actors import times
from ..actors.access import AccessBook
from ..actors.account import AccountActor, account_command_handlers
from ..actors.conversation import Collaborators, ConversationActor, command_handlers
from ..actors.entities import Principal, WallClock
from ..actors.events import Event
from ..actors.presence import Presence
from ..engine.actor import Actor
from ..engine.directory import Directory, Factory, Ref, open_directory
from ..engine.hosting import open_shielded_nursery
from ..engine.hub import Hub
from ..storage.group_commit import GroupCommit
from ..storage.open import open_store
from .settings import Settings
from .subscription import EventFeed, follow


class Engine:
    """A running engine. Made by `open_engine`."""

    def __init__(self, directory: Directory, world: Collaborators, epoch: str, presence: Presence) -> None:
        self.directory = directory
        self.world = world
        self.epoch = epoch
        self.presence = presence

    def conversation(self, account_id: int, conversation_id: int) -> Ref[ConversationActor]:
        """The actor of a conversation: `await engine.conversation(1, 42).ask(SendMessage(...))`."""
        return self.directory.ref(ConversationActor, (account_id, conversation_id))

    def account(self, account_id: int) -> Ref[AccountActor]:
        """The actor of an account: `await engine.account(1).ask(CreateContact(...))`."""
        return self.directory.ref(AccountActor, account_id)

    def follow(
        self, principal: Principal, conversation_id: int, *, after: int | None = None
    ) -> AbstractAsyncContextManager[EventFeed]:
        """The events of a conversation as an async iterator, from a position on; see `subscription.follow`."""
        return follow(self.world, principal, conversation_id, after=after)


@asynccontextmanager
async def open_engine(
    database: str = "sqlite:///tertulia.db", settings: Settings | None = None, *, wall_clock: WallClock = times.now
) -> AsyncGenerator[Engine]:
    """Run an engine inside any trio program. Leaving the block finishes what was accepted, then closes the store.

    Raises:
        Unavailable: the database cannot be opened.
        Escalated: (in an exception group) the engine gave up.
    """
    settings = settings or Settings()
    # The writer outlives the actors: whatever they submit while they drain is still written.
    async with open_store(database) as store, open_shielded_nursery() as infrastructure:
        journal = GroupCommit(store, settings.group_commit)
        infrastructure.start_soon(journal.run)
        try:
            world = Collaborators(store, journal, Hub[Event](), AccessBook(store), wall_clock, settings.chat)
            presence = Presence(world.hub, wall_clock, settings.chat.presence_grace_seconds)
            infrastructure.start_soon(presence.run)
            async with open_directory(settings.engine, _factories(world)) as directory:
                yield Engine(directory, world, await store.epoch(), presence)
        finally:
            with trio.move_on_after(settings.lifecycle.drain_grace, shield=True):
                await journal.drain()
            journal.close()


def _factories(world: Collaborators) -> dict[type[Actor[Any]], Factory]:
    handlers = command_handlers(world.limits)
    account_handlers = account_command_handlers(world)
    return {
        ConversationActor: lambda context: ConversationActor(context, world, handlers),
        AccountActor: lambda context: AccountActor(context, world, account_handlers),
    }
