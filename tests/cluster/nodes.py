"""A cluster in one process: real engines on one store in memory, and a bus that can lose things."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import trio
from trio.testing import wait_all_tasks_blocked

from tertulia.actors.cluster import Cluster
from tertulia.actors.cluster_limits import ClusterLimits
from tertulia.actors.commands.send_message import SendMessage, Sent
from tertulia.actors.conversation import ConversationActor
from tertulia.actors.entities import Principal
from tertulia.actors.events import Event
from tertulia.actors.shared_hub import SharedHub
from tertulia.api.engine import Engine, run_engine
from tertulia.api.settings import Settings
from tertulia.storage.contracts import Store
from tertulia.storage.open import open_store
from tertulia.storage.writes import Insert, Unit

from ..actors.kit import AGENT, BASE, seed
from .faulty_store import FaultyStore
from .loopback import Exchange, LoopbackBus

ADDRESS = (ConversationActor, (1, 1))


@dataclass
class Node:
    """One engine and its connection to the others."""

    engine: Engine
    bus: LoopbackBus
    stopping: trio.Event = field(default_factory=trio.Event)
    stopped: trio.Event = field(default_factory=trio.Event)

    @property
    def name(self) -> str:
        return self.bus.node

    async def send(self, content: str, *, by: Principal = AGENT, conversation_id: int = 1) -> Sent:
        command = SendMessage(by, content, client_id=content)
        sent: Sent = await self.engine.conversation(1, conversation_id).ask(command)
        return sent

    def hosts(self, conversation_id: int = 1) -> bool:
        """Whether the conversation's actor runs here."""
        return (ConversationActor, (1, conversation_id)) in self.engine.directory.cells

    @property
    def is_home(self) -> bool:
        return self.cluster.homes.of(ADDRESS) == self.name

    @property
    def cluster(self) -> Cluster:
        assert self.engine.cluster is not None
        return self.engine.cluster

    @property
    def hub(self) -> SharedHub:
        return self.cluster.hub

    async def listen(self, topic: str = "conversation:1", account_id: int = 1) -> list[Event]:
        """Everything that subscribers of the topic are told from now on."""
        heard: list[Event] = []
        self.hub.tap(topic, heard.extend)
        await self.hub.follow((topic,), account_id)
        return heard

    async def stop(self) -> None:
        """Leave, as a node does that is restarted."""
        self.stopping.set()
        await self.stopped.wait()


@dataclass
class Follower:
    """What a subscriber of conversation 1 on one node was told."""

    events: list[Event] = field(default_factory=list[Event])

    @property
    def seqs(self) -> list[int | None]:
        return [event.seq for event in self.events]

    async def run(self, node: Node, *, after: int | None = 0, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        async with node.engine.follow(AGENT, 1, after=after) as feed:
            task_status.started()
            async for event in feed:
                self.events.append(event)


class Nodes:
    """The cluster, and the tasks that its nodes run in."""

    def __init__(self, store: Store, nursery: trio.Nursery, settings: Settings) -> None:
        self.exchange = Exchange()
        self.faults = FaultyStore(store)
        self.store = cast(Store, self.faults)
        self._nursery = nursery
        self._settings = settings
        self.running: list[Node] = []

    async def start_soon(self, name: str) -> Node:
        """A node that the others may not have seen yet."""
        node: Node = await self._nursery.start(self._run, name)
        return node

    async def start(self, name: str) -> Node:
        node = await self.start_soon(name)
        await wait_all_tasks_blocked()  # until the others have seen it
        return node

    async def _run(self, name: str, task_status: trio.TaskStatus[Node] = trio.TASK_STATUS_IGNORED) -> None:
        bus = self.exchange.join(name)
        async with run_engine(self.store, bus, self._settings, now) as engine:
            node = Node(engine, bus)
            self.running.append(node)
            task_status.started(node)
            await node.stopping.wait()
        self.running.remove(node)
        bus.die()
        node.stopped.set()

    async def start_two(self) -> tuple[Node, Node]:
        """Two nodes: the home of conversation 1, and another one."""
        a, b = await self.start("a"), await self.start("b")
        return (a, b) if a.is_home else (b, a)

    def lose(self, prefix: str) -> None:
        """Lose what is published on these channels; an empty prefix: all. `lose_nothing` ends it."""
        self.exchange.loses = lambda channel, payload, node: channel.startswith(prefix)

    def lose_nothing(self) -> None:
        self.exchange.loses = lambda channel, payload, node: False

    def stop(self) -> None:
        for node in self.running:
            node.stopping.set()

    async def seqs(self) -> list[int]:
        """What the store has of conversation 1."""
        return [row.seq for row in await self.store.log(1, 1, after=0, limit=1000)]


def seqs(events: list[Event], stream: str = "conversation:1") -> list[int | None]:
    return [event.seq for event in events if event.stream == stream]


def now() -> int:
    return BASE + int(trio.current_time() * 1000)


@asynccontextmanager
async def open_nodes(**limits: Any) -> AsyncGenerator[Nodes]:
    """A store with the two accounts of the domain's tests, and no node yet. `limits` are the cluster's."""
    settings = Settings(cluster=ClusterLimits(**limits))
    async with open_store("memory:") as memory, trio.open_nursery() as nursery:
        assert await memory.commit([Unit(1, writes=[Insert(row) for row in seed()])]) == {}
        nodes = Nodes(memory, nursery, settings)
        yield nodes
        nodes.stop()
