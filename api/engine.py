"""The composition root: `open_engine` puts store, writer, directory and hub together for the length of a block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from ..actors import times
from ..actors.access import AccessBook
from ..actors.conversation import Collaborators, ConversationActor, command_handlers
from ..actors.entities import WallClock
from ..actors.events import Event
from ..actors.limits import ChatLimits
from ..engine.actor import Actor
from ..engine.config import EngineConfig
from ..engine.directory import Directory, Factory, Ref, open_directory
from ..engine.hub import Hub
from ..storage.group_commit import GroupCommit, GroupCommitLimits
from ..storage.open import open_store


@dataclass(frozen=True, slots=True)
class Settings:
    """All limits of one engine, by subsystem."""

    engine: EngineConfig = field(default_factory=EngineConfig)
    chat: ChatLimits = field(default_factory=ChatLimits)
    group_commit: GroupCommitLimits = field(default_factory=GroupCommitLimits)


class Engine:
    """A running engine. Made by `open_engine`."""

    def __init__(self, directory: Directory, world: Collaborators, epoch: str) -> None:
        self.directory = directory
        self.world = world
        self.epoch = epoch

    def conversation(self, account_id: int, conversation_id: int) -> Ref[ConversationActor]:
        """The actor of a conversation: `await engine.conversation(1, 42).ask(SendMessage(...))`."""
        return self.directory.ref(ConversationActor, (account_id, conversation_id))


@asynccontextmanager
async def open_engine(
    database: str = "sqlite:///tertulia.db", settings: Settings | None = None, *, wall_clock: WallClock = times.now
) -> AsyncIterator[Engine]:
    """Run an engine inside any trio program. Leaving the block finishes what was accepted, then closes the store.

    Raises:
        Unavailable: the database cannot be opened.
        Escalated: (in an exception group) the engine gave up.
    """
    settings = settings or Settings()
    async with open_store(database) as store, trio.open_nursery() as infrastructure:
        journal = GroupCommit(store, settings.group_commit)
        # The writer outlives the actors: whatever they submit while they drain is still written.
        writing = trio.CancelScope(shield=True)

        async def write() -> None:
            with writing:
                await journal.run()

        infrastructure.start_soon(write)
        try:
            world = Collaborators(store, journal, Hub[Event](), AccessBook(store), wall_clock, settings.chat)
            async with open_directory(settings.engine, _factories(world)) as directory:
                yield Engine(directory, world, await store.epoch())
        finally:
            journal.close()
            writing.cancel()


def _factories(world: Collaborators) -> dict[type[Actor[Any]], Factory]:
    handlers = command_handlers(world.limits)
    return {ConversationActor: lambda context: ConversationActor(context, world, handlers)}
