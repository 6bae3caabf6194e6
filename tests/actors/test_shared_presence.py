"""Presence on several nodes, over a real Redis: everybody hears every change once, whichever node notices it."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

from tertulia.actors.cluster_limits import ClusterLimits
from tertulia.actors.entities import Principal, Visitor
from tertulia.actors.events import Event
from tertulia.actors.shared_presence import SharedPresence
from tertulia.engine.hub import Hub
from tertulia.storage.bridge import Bridge, open_bridge
from tertulia.storage.bus import Received
from tertulia.storage.redis_bus import RedisBus, open_redis_bus
from tertulia.storage.redis_limits import BusLimits

from ..servers import RedisServer
from .kit import AGENT, STRANGER, VISITOR, payload, wall_clock

PATIENCE = 10.0  # seconds that a test waits for what must come
QUICK = BusLimits(answer_timeout=1.0, ping_interval=0.1, min_backoff=0.01, max_backoff=0.05)
LIMITS = ClusterLimits(presence_ttl=0.8, presence_refresh=0.15)
GRACE = 0.02

News = list[tuple[str, int, str]]


@pytest.fixture
async def bridge() -> AsyncGenerator[Bridge]:
    async with open_bridge() as bridge:
        yield bridge


class CrossingHub(Hub[Event]):
    """Sends what it publishes to the other nodes, as people and statuses."""

    def __init__(self, bus: RedisBus) -> None:
        super().__init__()
        self._bus = bus

    def publish(self, topic: str, publications: Sequence[Event], *, ephemeral: bool = False) -> None:
        super().publish(topic, publications, ephemeral=ephemeral)
        for event in publications:
            self._bus.publish(topic, json.dumps(payload(event)).encode())


class LateAnswers:
    """A bus whose answers to commands can be held back. Only what presence uses of it is here."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus
        self.node = bus.node
        self.gate = trio.Event()
        self.gate.set()

    def key(self, name: str) -> str:
        return self._bus.key(name)

    async def command(self, *words: str | bytes | int | float) -> Any:
        answer = await self._bus.command(*words)
        await self.gate.wait()
        return answer


class Node:
    """The presence of one node, and what it published for account 1."""

    def __init__(self, bus: RedisBus, limits: ClusterLimits) -> None:
        self.bus = bus
        self.late = LateAnswers(bus)
        self.hub = CrossingHub(bus)
        self.presence = SharedPresence(self.late, self.hub, wall_clock, GRACE, limits)
        self.news: News = []
        self._changed = trio.Event()
        self.hub.tap("account:1", self._heard)
        bus.on_lost = bus.on_connected = self._note

    def join(self, *principals: Principal) -> None:
        for principal in principals:
            self.presence.joined(principal)

    def part(self, *principals: Principal) -> None:
        for principal in principals:
            self.presence.left(principal)

    async def until(self, fact: Callable[[], bool], missing: str) -> None:
        with trio.move_on_after(PATIENCE):
            while not fact():
                self._changed = trio.Event()
                await self._changed.wait()
            return
        pytest.fail(f"{missing}; it published {self.news}")

    async def until_news(self, *news: tuple[str, int, str]) -> None:
        await self.until(lambda: len(self.news) >= len(news), f"{news} was not published")
        assert self.news == list(news)
        self.news.clear()

    async def word_ends(self, person: str) -> float:
        """When this node's word for a person of account 1 ends, in the server's seconds."""
        score = await self.bus.command("ZSCORE", self.bus.key(f"presence:{{1}}:{person}"), self.bus.node)
        return float(score or 0)

    async def until_word_ends_after(self, end: float, person: str) -> None:
        with trio.fail_after(PATIENCE):
            while await self.word_ends(person) <= end:
                await trio.lowlevel.checkpoint()

    async def elsewhere(self) -> list[tuple[str, int]]:
        shown = [payload(event) for event in await self.presence.elsewhere(1)]
        return [(data["type"], data.get("user_id") or data["contact_id"]) for data in shown]

    def _heard(self, events: Sequence[Event]) -> None:
        shown = [payload(event) for event in events]
        self.news.extend((data["type"], data.get("user_id") or data["contact_id"], data["status"]) for data in shown)
        self._changed.set()

    def _note(self) -> None:
        self._changed.set()


@asynccontextmanager
async def open_node(redis_url: str, name: str, bridge: Bridge, limits: ClusterLimits = LIMITS) -> AsyncGenerator[Node]:
    async with open_redis_bus(redis_url, name, QUICK, bridge) as bus, trio.open_nursery() as nursery:
        node = Node(bus, limits)
        nursery.start_soon(node.presence.run)
        yield node
        nursery.cancel_scope.cancel()


@pytest.fixture
async def one(redis_url: str, bridge: Bridge) -> AsyncGenerator[Node]:
    async with open_node(redis_url, "one", bridge) as node:
        yield node


@pytest.fixture
async def two(redis_url: str, bridge: Bridge) -> AsyncGenerator[Node]:
    async with open_node(redis_url, "two", bridge) as node:
        yield node


async def test_who_is_online_on_two_nodes_comes_once_and_goes_once(one: Node, two: Node) -> None:
    one.join(AGENT)
    await one.until_news(("user", 2, "online"))
    two.join(AGENT, VISITOR)  # the visitor's news is the proof that the agent's would have been there
    await two.until_news(("contact", 1, "online"))
    one.part(AGENT)
    one.join(VISITOR)
    one.part(VISITOR)
    with trio.fail_after(PATIENCE):
        while ("user", 2) not in await one.elsewhere():  # until the grace is over
            await trio.lowlevel.checkpoint()
    assert one.news == []
    two.part(AGENT)
    await two.until_news(("user", 2, "offline"))
    two.part(VISITOR)
    await two.until(lambda: bool(two.news or one.news), "nobody said that the visitor went")
    assert [*one.news, *two.news] == [("contact", 1, "offline")]


async def test_who_is_elsewhere_is_told_without_who_is_here_or_in_another_account(one: Node, two: Node) -> None:
    two.join(AGENT, VISITOR, STRANGER)
    await two.until_news(("user", 2, "online"), ("contact", 1, "online"))
    one.join(VISITOR)
    assert await one.elsewhere() == [("user", 2)]
    assert await two.elsewhere() == []


async def test_who_stays_is_online_for_longer_than_one_ttl(one: Node, two: Node) -> None:
    two.join(AGENT)
    await two.until_news(("user", 2, "online"))
    over = await two.word_ends("user:2") + LIMITS.presence_ttl
    with trio.fail_after(PATIENCE):
        while await two.word_ends("user:2") < over:
            assert await one.elsewhere() == [("user", 2)]
    assert two.news == []


async def test_people_of_a_node_that_died_go_offline_and_one_node_says_so(
    redis_url: str, one: Node, two: Node, bridge: Bridge
) -> None:
    async with open_node(redis_url, "dying", bridge) as dying:
        dying.join(AGENT, VISITOR)
        await dying.until_news(("user", 2, "online"), ("contact", 1, "online"))
        end = await dying.word_ends("user:2")
    for node in (one, two):
        node.join(VISITOR)
    for node in (one, two):
        # A node that renews its word looks whose has ended. The second time after that end, both have looked.
        await node.until_word_ends_after(end + LIMITS.presence_ttl, "contact:1")
        await node.until_word_ends_after(await node.word_ends("contact:1"), "contact:1")
    assert [*one.news, *two.news] == [("user", 2, "offline")]


async def test_who_comes_back_on_another_node_never_went(redis_url: str, two: Node, bridge: Bridge) -> None:
    async with open_node(redis_url, "stopping", bridge) as stopping:
        stopping.join(AGENT, VISITOR)
        await stopping.until_news(("user", 2, "online"), ("contact", 1, "online"))
    two.join(AGENT)
    await two.until_news(("contact", 1, "offline"))  # and by then the agent would have gone as well


async def test_while_redis_is_away_a_node_tells_its_own_members_and_later_the_others(
    redis_server: RedisServer, one: Node, two: Node
) -> None:
    redis_server.kill()
    await one.until(lambda: not one.bus.connected, "the bus is not lost")
    one.join(AGENT)
    await one.until_news(("user", 2, "online"))
    assert await one.elsewhere() == []
    redis_server.start()
    await one.until_news(("user", 2, "online"))  # again, now for all nodes
    await two.until(lambda: two.bus.connected, "the bus is not back")
    assert await two.elsewhere() == [("user", 2)]


async def test_departures_that_redis_did_not_hear_of_are_told_when_it_is_back(
    redis_server: RedisServer, one: Node
) -> None:
    one.join(AGENT)
    await one.until_news(("user", 2, "online"))
    redis_server.freeze()
    one.part(AGENT)
    await one.until_news(("user", 2, "offline"))
    redis_server.thaw()
    await one.until(lambda: one.bus.connected, "the bus is not back")
    one.join(VISITOR)
    with trio.fail_after(PATIENCE):
        while ("user", 2) in await one.elsewhere():
            await trio.lowlevel.checkpoint()


async def test_more_people_than_fit_into_one_command(redis_url: str, one: Node, bridge: Bridge) -> None:
    crowd = [replace(VISITOR, contact_id=number) for number in range(1, 26)]
    async with open_node(redis_url, "crowded", bridge, replace(LIMITS, presence_batch=10)) as crowded:
        crowded.join(*crowd)
        await crowded.until_news(*(("contact", number, "online") for number in range(1, 26)))
        assert await one.elsewhere() == [("contact", number) for number in range(1, 26)]


async def test_news_that_were_overtaken_are_put_right(redis_url: str, one: Node, two: Node, bridge: Bridge) -> None:
    heard: list[str] = []
    async with open_redis_bus(redis_url, "three", QUICK, bridge) as bus:
        bus.on_received = lambda received: heard.extend(json.loads(body)["status"] for _, body in received)
        await bus.follow(["account:1"])
        one.join(AGENT)
        await one.until_news(("user", 2, "online"))
        one.late.gate = trio.Event()
        one.part(AGENT)
        with trio.fail_after(PATIENCE):
            while await two.elsewhere():
                await trio.lowlevel.checkpoint()
        two.join(AGENT)
        await two.until_news(("user", 2, "online"))
        one.late.gate.set()
        await one.until_news(("user", 2, "offline"), ("user", 2, "online"))
        with trio.fail_after(PATIENCE):
            while len(heard) < 4:
                await bus.command("PING")
    assert heard == ["online", "online", "offline", "online"]


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_on_two_nodes_a_third_hears_how_it_ends(
    seed: int, redis_url: str, one: Node, two: Node, bridge: Bridge
) -> None:
    people = [replace(VISITOR, contact_id=number) for number in range(1, 5)]
    heard: dict[int, str] = {}

    def receive(received: Received) -> None:
        for _, body in received:
            data = json.loads(body)
            heard[data["contact_id"]] = data["status"]

    chance = random.Random(seed)
    connections: list[tuple[Node, Principal]] = []
    async with open_redis_bus(redis_url, "three", QUICK, bridge) as bus:
        bus.on_received = receive
        await bus.follow(["account:1"])
        for _ in range(400):
            if connections and chance.random() < 0.6:
                node, person = connections.pop(chance.randrange(len(connections)))
                node.part(person)
            else:
                connections.append((chance.choice((one, two)), chance.choice(people)))
                connections[-1][0].join(connections[-1][1])
            if chance.random() < 0.3:
                await trio.sleep(chance.random() * GRACE)
        online = {person.contact_id for _, person in connections if isinstance(person, Visitor)}
        expected = {number: "online" if number in online else "offline" for number in heard}
        with trio.move_on_after(PATIENCE):
            while heard != expected:
                await bus.command("PING")
        assert heard == expected
        assert online <= set(heard)
