"""The bus over Redis. In: payloads and wishes of this node. Out: the payloads of all nodes, and which nodes live.

Two connections: one sends commands (`redis_outgoing`), one receives (`redis_subscriptions`), because a connection of
Redis that has subscribed takes no other commands. If either is lost, or silent for too long, both are closed and made
anew, with back-off; the bus is connected when everything that is followed is followed again. What was published in
between is lost, as the contract says.

    connecting --(both open, all followed)--> connected: on_connected
        ^                                         |
        +---------(back-off)----------- lost: on_lost

Nodes live in one sorted set, scored by when they end, in the server's time: their own clocks do not matter.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from ..engine.errors import TertuliaError, Unavailable
from ..engine.hosting import open_shielded_nursery
from .bridge import Bridge, open_bridge
from .bus import NODE_CHANNEL, Received
from .redis_limits import BusLimits
from .redis_link import RedisAddress, RedisLink, Word, redis_address
from .redis_outgoing import AWAY, Outgoing
from .redis_subscriptions import Subscriptions

logger = logging.getLogger("tertulia.redis")

BEAT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""


@dataclass(frozen=True, slots=True)
class BusStatistics:
    connected: bool
    published: int  # payloads handed over while connected
    dropped: int  # of these, because too much was waiting
    received: int
    losses: int  # of the connection


class RedisBus:
    """One node's connection to the bus. Made by `open_redis_bus`; keeps the contract `bus.Bus`."""

    def __init__(self, address: RedisAddress, node: str, limits: BusLimits, bridge: Bridge) -> None:
        self.node = node
        self.on_received: Callable[[Received], None] = _ignore
        self.on_connected: Callable[[], None] = _nothing
        self.on_lost: Callable[[], None] = _nothing
        self.on_unheard: Callable[[str], None] = _ignore
        self._address = address
        self._limits = limits
        self._bridge = bridge
        self._outgoing = Outgoing(bridge, limits)
        self._subscriptions = Subscriptions(bridge, limits, lambda received: self.on_received(received))
        self._connected = self._was_connected = False
        self._published = self._losses = 0
        self._reason = ""  # why the bus is away
        self.begun = trio.Event()  # the first connection is in use

    @property
    def connected(self) -> bool:
        return self._connected

    def key(self, name: str) -> str:
        """The key of a fact in Redis, for `command`: the name behind this installation's prefix."""
        return self._limits.prefix + name

    def publish(self, channel: str, payload: bytes) -> None:
        if self._connected:
            self._published += 1
            unheard = partial(self._tell_unheard, channel) if channel.startswith(NODE_CHANNEL) else None
            self._outgoing.publish(self.key(channel).encode(), payload, unheard)

    def _tell_unheard(self, channel: str) -> None:
        self.on_unheard(channel)

    async def follow(self, channels: Collection[str]) -> bool:
        self._subscriptions.add(channels)
        return self._connected and await self._subscriptions.confirmed()

    def unfollow(self, channels: Collection[str]) -> None:
        self._subscriptions.remove(channels)

    async def beat(self, ttl: float) -> Sequence[str]:
        members: list[bytes] = await self.command("EVAL", BEAT, 1, self.key("nodes"), self.node, ttl)
        return sorted(member.decode() for member in members)

    async def leave(self) -> None:
        await self.command("ZREM", self.key("nodes"), self.node)

    async def command(self, *words: Word) -> Any:
        if not self._connected:
            raise Unavailable(AWAY)
        return await self._outgoing.ask(words)

    def statistics(self) -> BusStatistics:
        return BusStatistics(
            self._connected, self._published, self._outgoing.dropped, self._subscriptions.received, self._losses
        )

    async def connect(self) -> tuple[RedisLink, RedisLink]:
        """Open both connections.

        Raises:
            RedisRefused, Unavailable: this failed.
        """
        sending = await self._open_link("sends")
        try:
            return sending, await self._open_link("receives")
        except BaseException:
            await self._close(sending)
            raise

    async def run(self, links: tuple[RedisLink, RedisLink]) -> None:
        """Keep the bus connected until cancelled, beginning with open links."""
        opened: tuple[RedisLink, RedisLink] | None = links
        delay = self._limits.min_backoff
        while True:
            try:
                await self._use(*(opened or await self.connect()))
            except* TertuliaError as group:
                self._tell_why(str(group.exceptions[0]))
            if self._was_connected:
                self._was_connected = False
                self._losses += 1
                delay = self._limits.min_backoff
                self.on_lost()
            opened = None
            self.begun.set()
            await trio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, self._limits.max_backoff)

    def _tell_why(self, reason: str) -> None:
        """Log why the bus is away, once for each reason."""
        if reason != self._reason:
            logger.warning("Redis is away: %s", reason)
        self._reason = reason

    async def ready(self) -> None:
        """Wait until everything published so far is sent, or the bus is away; not for longer than `closing_timeout`."""
        with trio.move_on_after(self._limits.closing_timeout):
            await self._outgoing.sent()

    async def _open_link(self, task: str) -> RedisLink:
        link = RedisLink(self._address, f"tertulia-{self.node}-{task}", self._limits)
        try:
            with trio.fail_after(self._limits.connect_timeout):
                await self._bridge.call(link.open)
        except BaseException as error:
            await self._close(link)
            if isinstance(error, trio.TooSlowError):
                raise Unavailable(f"Redis at {self._address.name} does not answer.") from None
            raise
        return link

    async def _close(self, *links: RedisLink) -> None:
        with trio.CancelScope(shield=True):
            for link in links:
                await self._bridge.call(link.close)

    async def _use(self, sending: RedisLink, receiving: RedisLink) -> None:
        """Be connected over these links until one of them is lost. Raises Unavailable, in a group."""
        self._subscriptions.begin()
        self._outgoing.begin()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._subscriptions.read, receiving)
                nursery.start_soon(self._subscriptions.run, receiving)
                nursery.start_soon(self._outgoing.run, sending)
                while self._subscriptions.pending:
                    await self._subscriptions.confirmed()
                    await trio.lowlevel.checkpoint()  # cancelled, where it was not confirmed because the link is lost
                self._connected = self._was_connected = True
                self._reason = ""
                logger.info("connected to Redis at %s", self._address.name)
                if self.begun.is_set():
                    self.on_connected()
                self.begun.set()
        finally:
            self._connected = False
            await self._close(sending, receiving)


@asynccontextmanager
async def open_redis_bus(
    url: str, node: str, limits: BusLimits | None = None, bridge: Bridge | None = None
) -> AsyncGenerator[RedisBus]:
    """Connect a node to the bus for the length of a block; what was published before its end is sent.

    The bus is connected when the block begins; `on_connected` is called on every return after that.

    Raises:
        BadRedisUrl: the URL names no server.
        RedisRefused: the password or the database is wrong.
        Unavailable: the server is not reachable.
    """
    address = redis_address(url)
    async with AsyncExitStack() as stack:
        if bridge is None:
            bridge = await stack.enter_async_context(open_bridge())
        bus = RedisBus(address, node, limits or BusLimits(), bridge)
        links = await bus.connect()
        nursery = await stack.enter_async_context(open_shielded_nursery())
        nursery.start_soon(bus.run, links)
        await bus.begun.wait()
        try:
            yield bus
        finally:
            with trio.CancelScope(shield=True):
                await bus.ready()


def _ignore(news: object) -> None:
    """What a bus does with payloads, heard or unheard, as long as nobody takes them."""


def _nothing() -> None:
    """What a bus does about its connection as long as nobody listens."""
