"""The bus over a real Redis: what arrives, what is noticed, and what is said when it cannot be reached."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
import trio

from tertulia.engine.errors import TertuliaError, Unavailable
from tertulia.storage.bridge import Bridge, open_bridge
from tertulia.storage.bus import Received
from tertulia.storage.redis_bus import RedisBus, open_redis_bus
from tertulia.storage.redis_limits import BusLimits
from tertulia.storage.redis_link import BadRedisUrl, RedisRefused, redis_address

from ..servers import RedisServer, run_redis

PATIENCE = 10.0  # seconds that a test waits for what must come
SECRET = "open-sesame"
QUICK = BusLimits(answer_timeout=0.4, ping_interval=0.1, min_backoff=0.01, max_backoff=0.05)


@pytest.fixture
async def bridge() -> AsyncGenerator[Bridge]:
    async with open_bridge() as bridge:
        yield bridge


class Listener:
    """A bus, and what it was told."""

    def __init__(self, bus: RedisBus) -> None:
        self.bus = bus
        self.payloads: list[tuple[str, bytes]] = []
        self.news: list[str] = []
        self._changed = trio.Event()
        bus.on_received = self._received
        bus.on_connected = lambda: self._tell("connected")
        bus.on_lost = lambda: self._tell("lost")

    async def until(self, fact: Callable[[], bool], missing: str) -> None:
        with trio.move_on_after(PATIENCE):
            while not fact():
                self._changed = trio.Event()
                await self._changed.wait()
            return
        pytest.fail(f"{missing}; it was told {self.news} and got {self.payloads[-3:]}")

    async def until_payloads(self, count: int) -> list[bytes]:
        await self.until(lambda: len(self.payloads) >= count, f"there are not {count} payloads")
        return [payload for _, payload in self.payloads]

    async def until_told(self, *news: str) -> None:
        await self.until(lambda: self.news == list(news), f"it was not told {news}")

    def _received(self, received: Received) -> None:
        self.payloads.extend(received)
        self._changed.set()

    def _tell(self, news: str) -> None:
        self.news.append(news)
        self._changed.set()


@asynccontextmanager
async def listening(url: str, node: str, bridge: Bridge, limits: BusLimits = QUICK) -> AsyncGenerator[Listener]:
    async with open_redis_bus(url, node, limits, bridge) as bus:
        yield Listener(bus)


@pytest.fixture
async def ana(redis_url: str, bridge: Bridge) -> AsyncGenerator[Listener]:
    async with listening(redis_url, "ana", bridge) as listener:
        yield listener


@pytest.fixture
async def bo(redis_url: str, bridge: Bridge) -> AsyncGenerator[Listener]:
    async with listening(redis_url, "bo", bridge) as listener:
        yield listener


async def test_payloads_arrive_in_order_at_all_who_follow_the_sender_included(ana: Listener, bo: Listener) -> None:
    for listener in (ana, bo):
        assert await listener.bus.follow(["news"])
    expected = [b"%d" % number for number in range(3000)]
    for number, payload in enumerate(expected):
        ana.bus.publish("news", payload)
        if number % 100 == 0:
            await trio.lowlevel.checkpoint()
    assert await bo.until_payloads(3000) == expected
    assert await ana.until_payloads(3000) == expected
    assert {channel for channel, _ in bo.payloads} == {"news"}


async def test_a_payload_for_a_node_that_reaches_nobody_is_told_to_its_sender(ana: Listener, bo: Listener) -> None:
    unheard: list[str] = []
    ana.bus.on_unheard = unheard.append
    await bo.bus.follow(["node:bo"])
    for channel in ("node:bo", "node:gone", "topic:nobody", "node:bo", "node:gone"):
        ana.bus.publish(channel, b"payload")
    await ana.bus.command("PING")
    assert unheard == ["node:gone", "node:gone"]
    await bo.until_payloads(2)


async def test_payloads_are_any_bytes_of_any_size(ana: Listener) -> None:
    await ana.bus.follow(["news"])
    expected = [b"", b"\r\n*1\r\n", bytes(range(256)), b"x" * 1_000_000]
    for payload in expected:
        ana.bus.publish("news", payload)
    assert await ana.until_payloads(4) == expected


async def test_only_what_is_followed_arrives(ana: Listener, bo: Listener) -> None:
    await ana.bus.follow(["a", "b"])
    ana.bus.unfollow(["a", "never followed"])
    for channel in ("a", "c", "b"):
        bo.bus.publish(channel, channel.encode())
    assert await ana.until_payloads(1) == [b"b"]


async def test_what_is_followed_again_arrives_again(ana: Listener) -> None:
    await ana.bus.follow(["a"])
    ana.bus.unfollow(["a"])
    assert await ana.bus.follow(["a"])
    ana.bus.publish("a", b"1")
    assert await ana.until_payloads(1) == [b"1"]


async def test_following_is_confirmed_before_it_returns(ana: Listener, bo: Listener) -> None:
    channels = [f"topic:{number}" for number in range(3000)]
    keys = [ana.bus.key(channel) for channel in channels]
    async with trio.open_nursery() as nursery:
        for start in range(0, 3000, 500):
            nursery.start_soon(ana.bus.follow, channels[start : start + 500])
    counts = await bo.bus.command("PUBSUB", "NUMSUB", *keys)
    assert counts[1::2] == [1] * 3000
    ana.bus.unfollow(channels)
    assert await ana.bus.follow(["another"])
    assert await bo.bus.command("PUBSUB", "CHANNELS", ana.bus.key("*")) == [ana.bus.key("another").encode()]


async def test_who_follows_a_channel_twice_at_once_waits_both_times(ana: Listener, bo: Listener) -> None:
    async def follow_and_look() -> None:
        assert await ana.bus.follow(["news"])
        assert (await bo.bus.command("PUBSUB", "NUMSUB", ana.bus.key("news")))[1] == 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(follow_and_look)


async def test_what_was_published_before_the_end_of_the_block_is_sent(
    redis_url: str, ana: Listener, bridge: Bridge
) -> None:
    await ana.bus.follow(["farewell"])
    async with open_redis_bus(redis_url, "bo", QUICK, bridge) as bus:
        bus.publish("farewell", b"bye")
    assert await ana.until_payloads(1) == [b"bye"]
    bus.publish("farewell", b"too late")
    with pytest.raises(Unavailable):
        await bus.command("PING")


async def test_installations_with_different_prefixes_share_a_server_unseen(
    redis_url: str, ana: Listener, bridge: Bridge
) -> None:
    async with listening(redis_url, "eve", bridge, replace(QUICK, prefix="other:")) as eve:
        await ana.bus.follow(["news"])
        await eve.bus.follow(["news"])
        eve.bus.publish("news", b"of others")
        await eve.until_payloads(1)
        ana.bus.publish("news", b"ours")
        assert await ana.until_payloads(1) == [b"ours"]
        assert await eve.bus.beat(60) == ["eve"]
        assert await ana.bus.beat(60) == ["ana"]


# Nodes.


async def test_nodes_that_beat_are_known_until_they_leave(ana: Listener, bo: Listener) -> None:
    assert await bo.bus.beat(60) == ["bo"]
    assert await ana.bus.beat(60) == ["ana", "bo"]
    await bo.bus.leave()
    await bo.bus.leave()
    assert await ana.bus.beat(60) == ["ana"]


async def test_a_node_that_stops_beating_is_gone_after_its_ttl(ana: Listener, bo: Listener) -> None:
    await bo.bus.beat(0.2)
    began = time.monotonic()
    assert "bo" in await ana.bus.beat(60)
    with trio.fail_after(PATIENCE):
        while "bo" in await ana.bus.beat(60):  # each look is a round trip
            await trio.lowlevel.checkpoint()
    assert time.monotonic() - began > 0.15


# Commands.


async def test_commands_take_and_give_any_value(ana: Listener) -> None:
    key = ana.bus.key("a fact \udcff")
    await ana.bus.command("SET", key, 0.5, "PX", 60_000)
    assert await ana.bus.command("GET", key) == b"0.5"
    assert await ana.bus.command("GET", b"no such key") is None
    assert await ana.bus.command("EVAL", "return {1, 'two'}", 0) == [1, b"two"]


async def test_a_refused_command_disturbs_nobody_else(ana: Listener) -> None:
    await ana.bus.command("SET", ana.bus.key("text"), "x")
    answers: list[object] = []

    async def ask(*words: str) -> None:
        answers.append(await ana.bus.command(*words))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "ECHO", "before")
        with pytest.raises(Unavailable, match="wrong kind of value"):
            await ana.bus.command("LPUSH", ana.bus.key("text"), "y")
        nursery.start_soon(ask, "ECHO", "after")
    assert answers == [b"before", b"after"]
    assert ana.news == []


async def test_who_stops_waiting_for_a_command_takes_nobody_elses_answer(ana: Listener) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ana.bus.command, "ECHO", "unheard")
        nursery.cancel_scope.cancel()
    assert await ana.bus.command("ECHO", "heard") == b"heard"


# Losses.


async def test_after_a_restart_of_redis_everything_is_followed_again(redis_server: RedisServer, ana: Listener) -> None:
    await ana.bus.follow(["before"])
    redis_server.kill()
    await ana.until_told("lost")
    assert not ana.bus.connected
    ana.bus.publish("before", b"lost for good")
    with pytest.raises(Unavailable):
        await ana.bus.command("PING")
    with pytest.raises(Unavailable):
        await ana.bus.beat(60)
    assert not await ana.bus.follow(["meanwhile"])
    ana.bus.unfollow(["never followed"])
    redis_server.start()
    await ana.until_told("lost", "connected")
    assert ana.bus.connected
    for channel in ("before", "meanwhile"):
        ana.bus.publish(channel, channel.encode())
    assert await ana.until_payloads(2) == [b"before", b"meanwhile"]
    assert ana.bus.statistics().losses == 1


async def test_losing_one_of_the_two_connections_is_losing_both(
    redis_server: RedisServer, ana: Listener, bo: Listener
) -> None:
    await ana.bus.follow(["news"])
    assert await bo.bus.command("CLIENT", "KILL", "TYPE", "pubsub") >= 1
    await ana.until_told("lost", "connected")
    await bo.until(lambda: bo.bus.connected and bo.bus.statistics().losses < 2, "bo is not back")
    ana.bus.publish("news", b"1")
    assert await ana.until_payloads(1) == [b"1"]


async def test_a_frozen_redis_is_noticed_and_waits_hold_nobody_up(redis_server: RedisServer, ana: Listener) -> None:
    await ana.bus.follow(["news"])
    redis_server.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await ana.bus.command("PING")
        await ana.until_told("lost")
        assert time.monotonic() - began < QUICK.ping_interval + QUICK.answer_timeout + 1
        assert not ana.bus.connected
    finally:
        redis_server.thaw()
    await ana.until_told("lost", "connected")
    ana.bus.publish("news", b"1")
    assert await ana.until_payloads(1) == [b"1"]


async def test_who_waits_to_follow_is_answered_when_redis_freezes(redis_server: RedisServer, ana: Listener) -> None:
    redis_server.freeze()
    try:
        with trio.fail_after(PATIENCE):
            assert not await ana.bus.follow(["news"])
    finally:
        redis_server.thaw()
    await ana.until_told("lost", "connected")
    ana.bus.publish("news", b"1")
    assert await ana.until_payloads(1) == [b"1"]


async def test_what_waits_to_be_sent_is_bounded(redis_server: RedisServer, bridge: Bridge) -> None:
    limits = replace(QUICK, answer_timeout=PATIENCE, outgoing_bytes=100_000)
    async with listening(redis_server.url, "ana", bridge, limits) as ana:
        await ana.bus.follow(["news"])
        redis_server.freeze()
        try:
            for number in range(1000):
                ana.bus.publish("news", b"%d:" % number + b"x" * 1000)
            with pytest.raises(Unavailable, match="Too much waits"):
                await ana.bus.command("PING")
        finally:
            redis_server.thaw()
        dropped = ana.bus.statistics().dropped
        assert 890 < dropped < 920
        payloads = await ana.until_payloads(1000 - dropped)
        assert [int(payload.partition(b":")[0]) for payload in payloads] == list(range(1000 - dropped))


# Opening.


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://localhost:6379",
        "redis://localhost:port/0",
        "redis://localhost:6379/zero",
        "redis://localhost:6379/0?max_trouble=1",
        "unix://",
    ],
)
async def test_an_url_that_names_no_redis_is_refused_in_one_line(url: str, bridge: Bridge) -> None:
    with pytest.raises(BadRedisUrl) as refused:
        async with open_redis_bus(url, "ana", QUICK, bridge):
            pass
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize(
    "url",
    [f"redis://:{SECRET}@127.0.0.1:port/0", f"http://user:{SECRET}@127.0.0.1", f"redis://:{SECRET}@127.0.0.1:1/zero"],
)
async def test_an_url_that_cannot_be_used_is_not_repeated_with_its_password(url: str, bridge: Bridge) -> None:
    with pytest.raises(BadRedisUrl) as refused:
        async with open_redis_bus(url, "ana", QUICK, bridge):
            pass
    assert SECRET not in str(refused.value)


def test_an_address_is_shown_without_its_password() -> None:
    assert redis_address(f"rediss://ana:{SECRET}@cache.example/3").name == "rediss://cache.example:6379/3"


async def refusal(url: str, bridge: Bridge) -> str:
    with pytest.raises(RedisRefused) as refused:
        async with open_redis_bus(url, "ana", QUICK, bridge):
            pass
    assert "\n" not in refused.value.detail
    return refused.value.detail


async def test_a_wrong_database_is_said_in_one_line(redis_url: str, bridge: Bridge) -> None:
    assert "out of range" in await refusal(redis_url.rpartition("/")[0] + "/9999", bridge)


async def test_a_wrong_password_is_said_in_one_line(bridge: Bridge) -> None:
    with run_redis(requirepass=SECRET) as server:
        without = await refusal(server.url, bridge)
        wrong = await refusal(server.url.replace("//", f"//:not-{SECRET}@"), bridge)
        for detail in (without, wrong):
            assert "does not let us in" in detail
            assert SECRET not in detail
        async with open_redis_bus(server.url.replace("//", f"//:{SECRET}@"), "ana", QUICK, bridge) as bus:
            assert await bus.command("PING") == b"PONG"


@pytest.mark.parametrize("prepare", [RedisServer.kill, RedisServer.freeze])
async def test_a_redis_that_does_not_answer_is_said_in_one_line(
    prepare: Callable[[RedisServer], None], redis_server: RedisServer, bridge: Bridge
) -> None:
    prepare(redis_server)
    with pytest.raises(Unavailable) as refused:
        async with open_redis_bus(redis_server.url, "ana", replace(QUICK, connect_timeout=0.3), bridge):
            pass
    assert redis_server.url in refused.value.detail
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$many\r\n", b"x" * 200_000, b""])
async def test_a_server_that_is_no_redis_is_said_in_one_line(greeting: bytes, bridge: Bridge) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()
            await stream.send_all(greeting)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(TertuliaError) as refused:
            async with open_redis_bus(f"redis://127.0.0.1:{port}", "ana", QUICK, bridge):
                pass
        nursery.cancel_scope.cancel()
    assert isinstance(refused.value, Unavailable | RedisRefused)
    assert "\n" not in refused.value.detail


async def test_a_bus_without_a_bridge_opens_its_own(redis_url: str) -> None:
    async with open_redis_bus(redis_url, "ana") as bus:
        assert await bus.command("PING") == b"PONG"


def test_limits_make_sense() -> None:
    for wrong in ({"answer_timeout": 0}, {"min_backoff": 3.0}, {"prefix": "with space"}):
        with pytest.raises(ValueError, match="BusLimits"):
            replace(BusLimits(), **wrong)


async def test_a_payload_takes_few_milliseconds_on_an_idle_machine(ana: Listener, bo: Listener) -> None:
    await bo.bus.follow(["news"])
    taken: list[float] = []
    for number in range(200):
        began = time.perf_counter()
        ana.bus.publish("news", b"x")
        await bo.until_payloads(number + 1)
        taken.append(time.perf_counter() - began)
    median = statistics.median(taken) * 1000
    print(f"published to received: median {median:.2f} ms, longest {max(taken) * 1000:.2f} ms")
    assert median < 20  # generous: the machine that runs the tests is not idle
