"""Rate limits that several nodes share over a real Redis, and what holds while it is away."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio

from tertulia.api.rate_limits import RateLimit
from tertulia.engine.errors import RateLimited
from tertulia.storage.bridge import open_bridge
from tertulia.storage.redis_bus import RedisBus, open_redis_bus
from tertulia.storage.redis_limits import BusLimits

from ..servers import RedisServer

QUICK = BusLimits(answer_timeout=0.3, ping_interval=0.1)
SLOWLY = 0.001  # tokens a second: none comes back during a test
BURST = 3


@pytest.fixture
async def nodes(redis_url: str) -> AsyncGenerator[tuple[RedisBus, RedisBus]]:
    async with (
        open_bridge() as bridge,
        open_redis_bus(redis_url, "one", QUICK, bridge) as one,
        open_redis_bus(redis_url, "two", QUICK, bridge) as two,
    ):
        yield one, two


def limit_of(bus: RedisBus, *, rate: float = SLOWLY, name: str = "tries") -> RateLimit:
    return RateLimit(rate, BURST, keys=10, name=name, bus=bus)


async def test_tries_count_on_whichever_node_they_are(nodes: tuple[RedisBus, RedisBus]) -> None:
    one, two = (limit_of(bus) for bus in nodes)
    for limit in (one, two, one):
        await limit.admit("ana@example.org")
    for limit in (one, two):
        with pytest.raises(RateLimited) as refused:
            await limit.admit("ana@example.org")
        assert refused.value.retry_after == pytest.approx(1 / SLOWLY, rel=0.01)
        await limit.admit("bo@example.org")
        await limit_of(nodes[0], name="other tries").admit("ana@example.org")


async def test_tries_come_back_when_the_answer_said(nodes: tuple[RedisBus, RedisBus]) -> None:
    limit = limit_of(nodes[0], rate=20)
    for _ in range(BURST):
        await limit.admit("ana")
    with pytest.raises(RateLimited) as refused:
        await limit.admit("ana")
    assert 0 < refused.value.retry_after <= 0.05
    await trio.sleep(refused.value.retry_after)
    await limit.admit("ana")


async def test_the_server_forgets_a_key_and_never_knew_its_name(nodes: tuple[RedisBus, RedisBus]) -> None:
    bus = nodes[0]
    await limit_of(bus, rate=20).admit("ana@example.org")
    (key,) = await bus.command("KEYS", "*")
    assert b"ana" not in key
    assert key.startswith(bus.key("rate:tries:").encode())
    assert 0 < await bus.command("PTTL", key) <= 1100


async def test_any_key_may_be_limited(nodes: tuple[RedisBus, RedisBus]) -> None:
    for key in ("", "x" * 100_000, "\udcff", "with space\r\n"):
        await limit_of(nodes[0]).admit(key)


async def test_while_redis_is_away_each_node_counts_for_itself(
    nodes: tuple[RedisBus, RedisBus], redis_server: RedisServer
) -> None:
    one, two = (limit_of(bus) for bus in nodes)
    redis_server.freeze()
    try:
        for limit in (one, two):
            for _ in range(BURST):
                await limit.admit("ana")
            with pytest.raises(RateLimited):
                await limit.admit("ana")
    finally:
        redis_server.thaw()


async def test_a_rate_of_zero_is_no_limit_on_any_node(nodes: tuple[RedisBus, RedisBus]) -> None:
    limit = limit_of(nodes[0], rate=0)
    for _ in range(BURST * 2):
        await limit.admit("ana")
