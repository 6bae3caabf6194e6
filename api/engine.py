"""The composition root: `open_engine` puts store, writer, directory and hub together for the length of a block."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from ..actors import times
from ..actors.access import AccessBook
from ..actors.account import AccountActor, account_command_handlers
from ..actors.cluster import Cluster
from ..actors.conversation import Collaborators, ConversationActor, command_handlers
from ..actors.entities import Principal, WallClock
from ..actors.events import Event
from ..actors.jobs.dispatcher import Dispatcher, Workplace
from ..actors.jobs.lane import actor_of
from ..actors.jobs.queue import JobQueue
from ..actors.jobs.registry import JobRegistry
from ..actors.own_jobs import add_own_jobs
from ..actors.presence import Presence
from ..actors.shared_presence import SharedPresence
from ..engine.actor import Actor
from ..engine.directory import Address, Directory, Factory, Ref, open_directory
from ..engine.hosting import open_shielded_nursery
from ..engine.hub import Hub
from ..engine.ring import open_ring
from ..storage.bus import Bus
from ..storage.contracts import Store
from ..storage.group_commit import GroupCommit
from ..storage.job_contract import JobStore
from ..storage.open import open_store
from .lazy_webhook_sender import open_lazy_webhook_sender
from .settings import Settings, WrongSetting
from .subscription import EventFeed, follow


class Engine:
    """A running engine. Made by `open_engine`."""

    def __init__(
        self,
        directory: Directory,
        world: Collaborators,
        epoch: str,
        presence: Presence,
        cluster: Cluster | None,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        self.directory = directory
        self.world = world
        self.epoch = epoch
        self.presence = presence
        #: The other nodes; None where this is the only one.
        self.cluster = cluster
        #: What runs jobs; None where this process leaves that to others.
        self.dispatcher = dispatcher

    @property
    def jobs(self) -> JobQueue:
        """Where work for later goes: `await engine.jobs.enqueue(SendReceipt, Receipt(...))`."""
        return self.world.jobs

    @property
    def bus(self) -> Bus | None:
        return None if self.cluster is None else self.cluster.bus

    async def leave(self) -> None:
        """Let the other nodes take over what lives here, before this node's clients are sent away."""
        if self.dispatcher is not None:
            self.dispatcher.close()
        if self.cluster is not None:
            await self.cluster.leave()

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
    database: str = "sqlite:///tertulia.db",
    settings: Settings | None = None,
    *,
    redis: str | None = None,
    node: str | None = None,
    jobs: JobRegistry | None = None,
    wall_clock: WallClock = times.now,
) -> AsyncGenerator[Engine]:
    """Run an engine inside any trio program. Leaving the block finishes what was accepted, then closes the store.

    Args:
        redis: the bus that this node shares with others, on one PostgreSQL; None: it is the only one.
        node: its name, another one for each node and each start; made up where it is not given.
        jobs: the program's own jobs, besides the engine's.

    Raises:
        TertuliaError: the database or the bus cannot be opened; says why.
        Escalated: (in an exception group) the engine gave up.
    """
    settings = settings or Settings()
    # The bus outlives the engine: what it does last, it still tells the others.
    async with AsyncExitStack() as outer:
        store = await outer.enter_async_context(open_store(database, settings.postgres))
        bus = None
        if redis:
            # Not above: an engine that is alone needs neither asyncio nor the memory that it takes.
            from ..storage.redis_bus import open_redis_bus

            bus = await outer.enter_async_context(open_redis_bus(redis, node or node_name(), settings.bus))
        yield await outer.enter_async_context(run_engine(store, bus, settings, wall_clock, jobs))


@asynccontextmanager
async def run_engine(
    store: Store,
    bus: Bus | None,
    settings: Settings,
    wall_clock: WallClock = times.now,
    jobs: JobRegistry | None = None,
) -> AsyncGenerator[Engine]:
    """Run an engine on a store and a bus that are open already.

    Raises:
        Unavailable: the store does not answer.
        WrongSetting: (in an exception group) a job has the name of one of the engine's.
        Escalated: (in an exception group) the engine gave up.
    """
    # The writer outlives the actors: whatever they submit while they drain is still written.
    sending = open_lazy_webhook_sender(settings.webhook_sender, wall_clock)
    many = open_ring(settings.sockets.sends_at_once)
    async with sending as sender, many as ring, open_shielded_nursery() as infrastructure:
        journal = GroupCommit(store, settings.group_commit)
        infrastructure.start_soon(journal.run)
        cluster: Cluster | None = None
        try:
            access = AccessBook(store)
            if bus is not None:
                cluster = Cluster(bus, store, access, wall_clock, settings.cluster, infrastructure, ring)
            hub = Hub[Event](ring) if cluster is None else cluster.hub
            queue = JobQueue(store, journal, wall_clock, settings.jobs)
            registry = JobRegistry() if jobs is None else jobs.copy()
            world = Collaborators(
                store, journal, hub, access, wall_clock, settings.chat, queue, registry, settings.jobs,
                settings.webhook, sender,
            )  # fmt: skip
            try:
                add_own_jobs(registry, world)
            except ValueError as error:  # a job of the program's is called as one of ours
                raise WrongSetting(str(error)) from None
            grace = settings.chat.presence_grace_seconds
            presence = Presence(hub, wall_clock, grace)
            if cluster is not None:
                presence = SharedPresence(cluster.bus, hub, wall_clock, grace, settings.cluster)
            infrastructure.start_soon(presence.run)
            async with open_directory(settings.engine, _factories(world)) as directory:
                if cluster is not None:
                    await cluster.join(directory, infrastructure)
                dispatcher: Dispatcher | None = None
                if settings.jobs.run:
                    dispatcher = make_dispatcher(store, world, directory, bus.node if bus is not None else node_name())
                    infrastructure.start_soon(dispatcher.run)
                engine = Engine(directory, world, await store.epoch(), presence, cluster, dispatcher)
                try:
                    yield engine
                finally:
                    with trio.move_on_after(settings.lifecycle.drain_grace, shield=True):
                        await engine.leave()
                    if dispatcher is not None:
                        with trio.CancelScope(shield=True):
                            await dispatcher.drain(settings.jobs.drain)
        finally:
            with trio.move_on_after(settings.lifecycle.drain_grace, shield=True):
                await journal.drain()
            journal.close()
            if cluster is not None:
                cluster.close()


def node_name() -> str:
    """A name that no other node has had: a node that comes back is a new one."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def make_dispatcher(store: JobStore, world: Collaborators, directory: Directory, node: str) -> Dispatcher:
    """What runs an engine's jobs, under a name that nobody else has; `run` is for the caller to start."""
    place = Workplace(
        store, world.journal, world.jobs, world.registry, directory, address_of, world.wall_clock, world.job_limits
    )
    return Dispatcher(f"{node}/{secrets.token_hex(3)}", place)


def address_of(account_id: int, key: str | None) -> Address | None:
    """The actor in whose lane a job with this key runs. An account's job never runs in another account's actor."""
    match actor_of(key):
        case ("conversation", id):
            return ConversationActor, (account_id, id)
        case ("account", id) if id == account_id:
            return AccountActor, id
        case _:
            return None


def _factories(world: Collaborators) -> dict[type[Actor[Any]], Factory]:
    handlers = command_handlers(world.limits)
    account_handlers = account_command_handlers(world)
    return {
        ConversationActor: lambda context: ConversationActor(context, world, handlers),
        AccountActor: lambda context: AccountActor(context, world, account_handlers),
    }
