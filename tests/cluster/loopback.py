"""A bus within one process, for virtual time: payloads arrive in the next pass of the scheduler, or are lost on demand.

It keeps the contract of `storage/bus.py`, with faults at the seam: nodes can be cut off, be frozen, or die, and
payloads can be dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import trio

from tertulia.engine.errors import Unavailable
from tertulia.storage.bus import NODE_CHANNEL, Received


class Exchange:
    """What Redis is to real nodes."""

    def __init__(self) -> None:
        self.nodes: dict[str, LoopbackBus] = {}
        self.alive: dict[str, float] = {}  # until when
        #: Asked for every payload and receiver; True loses it.
        self.loses: Callable[[str, bytes, str], bool] = lambda channel, payload, node: False

    def join(self, node: str) -> LoopbackBus:
        bus = self.nodes[node] = LoopbackBus(self, node)
        return bus


class LoopbackBus:
    """One node's connection to the exchange."""

    def __init__(self, exchange: Exchange, node: str) -> None:
        self.node = node
        self.on_received: Callable[[Received], None] = _nothing
        self.on_connected: Callable[[], None] = _nothing
        self.on_lost: Callable[[], None] = _nothing
        self.on_unheard: Callable[[str], None] = _nothing
        self.followed: set[str] = set()
        self._exchange = exchange
        self._up = True
        self._awake = trio.Event()
        self._awake.set()
        self._arrived: list[tuple[str, bytes]] = []
        self._token = trio.lowlevel.current_trio_token()

    @property
    def connected(self) -> bool:
        return self._up

    def cut(self) -> None:
        """Lose the connection."""
        self._up = False
        self._arrived.clear()
        self.on_lost()

    def mend(self) -> None:
        self._up = True
        self.on_connected()

    def die(self) -> None:
        """Neither say nor hear anything any more, as a process that was killed."""
        self._up = False
        self._exchange.nodes.pop(self.node, None)
        self.followed.clear()

    def freeze(self) -> None:
        """Hear nothing and show no sign of life, until `thaw`; then everything arrives at once, late."""
        self._awake = trio.Event()

    def thaw(self) -> None:
        self._awake.set()
        self._hand_over()

    def publish(self, channel: str, payload: bytes) -> None:
        if not self._up:
            return
        listening = [bus for bus in self._exchange.nodes.values() if bus.connected and channel in bus.followed]
        for bus in listening:
            if not self._exchange.loses(channel, payload, bus.node):
                bus.arrive(channel, payload)
        if not listening and channel.startswith(NODE_CHANNEL):
            self._token.run_sync_soon(self.on_unheard, channel)

    def arrive(self, channel: str, payload: bytes) -> None:
        self._arrived.append((channel, payload))
        self._token.run_sync_soon(self._hand_over, idempotent=True)

    def _hand_over(self) -> None:
        if not self._awake.is_set():
            return
        arrived, self._arrived = self._arrived, []
        if arrived:
            self.on_received(arrived)

    async def follow(self, channels: Collection[str]) -> bool:
        await trio.lowlevel.checkpoint()
        self.followed.update(channels)
        return self._up

    def unfollow(self, channels: Collection[str]) -> None:
        self.followed.difference_update(channels)

    async def beat(self, ttl: float) -> Sequence[str]:
        await self._reach()
        now = trio.current_time()
        self._exchange.alive[self.node] = now + ttl
        return sorted(node for node, until in self._exchange.alive.items() if until > now)

    async def leave(self) -> None:
        await self._reach()
        self._exchange.alive.pop(self.node, None)

    def key(self, name: str) -> str:
        return name

    async def command(self, *words: str | bytes | float) -> Any:
        await self._reach()
        raise Unavailable(f"The loopback bus has no command {words[0]!r}.")

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        await self._awake.wait()
        if not self._up:
            raise Unavailable("The bus is away.")


def _nothing(*_: object) -> None:
    """Until somebody listens."""
