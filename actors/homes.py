"""Which node an actor lives on. In: heartbeats on the bus. Out: the home of an address, and who has moved.

Every key has one home among the live nodes, by rendezvous hashing: a node that comes or goes moves only what it must.
Nodes may disagree for a moment; then the store's fence decides, and the loser's actor starts again from the store.
While the bus is away every node is the home of all that it is asked for, for the same reason.

A node that does not listen any more, although its last heartbeat has not ended, is suspected: it is left out until it
is heard of again (its news, or a parcel of it), or until it beats after `suspicion` seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

import trio

from ..engine.errors import TertuliaError
from ..engine.ref import Address
from ..engine.rendezvous import Nodes
from ..storage.bus import Bus
from .cluster_limits import ClusterLimits

logger = logging.getLogger("tertulia.homes")

#: Where nodes tell each other that they come and go.
NEWS_CHANNEL = "nodes"


class Homes:
    """This node's view of who lives."""

    def __init__(self, bus: Bus, limits: ClusterLimits) -> None:
        self._bus = bus
        self._limits = limits
        self._news = trio.Event()
        self._leaving = False
        self._announced = False
        self._beat_until = 0.0  # on trio's clock: when the others forget this node
        self._suspects: dict[str, float] = {}  # until when
        self._names: tuple[str, ...] = (bus.node,)
        self._nodes = Nodes(self._names)
        #: Called after the live nodes changed.
        self.listeners: list[Callable[[], None]] = []
        #: Called when the others may have taken this node for gone: what lives here may have lived there meanwhile.
        self.missed: list[Callable[[], None]] = []

    @property
    def nodes(self) -> tuple[str, ...]:
        """The live nodes, by name."""
        return self._names

    def of(self, address: Address) -> str:
        """The node on which this actor lives."""
        if len(self.nodes) == 1:
            return self.nodes[0]
        kind, key = address
        return self._nodes.home_of(f"{kind.__name__}:{key}")

    def is_here(self, address: Address) -> bool:
        return not self._bus.connected or self.of(address) == self._bus.node

    def look_soon(self) -> None:
        """A node came or went, or the bus did: look now."""
        self._news.set()

    def reconnected(self) -> None:
        """The bus was away, and is back."""
        self._announced = False
        self.look_soon()

    def suspect(self, node: str) -> None:
        """A node does not listen to what it is told: leave it out at once."""
        if node in self._names and node != self._bus.node:
            logger.warning("node %s does not listen any more", node)
            self._suspects[node] = trio.current_time() + self._limits.suspicion
            self._see(self._names)

    def heard(self, node: str) -> None:
        """A node lives, by a sign that is newer than its heartbeat."""
        if self._suspects.pop(node, None) is not None:
            self.look_soon()

    async def look(self) -> None:
        """Say that this node lives, and see who else does."""
        if self._leaving:
            return
        began = trio.current_time()
        try:
            nodes = await self._bus.beat(self._limits.node_ttl)
        except TertuliaError as error:
            logger.debug("the bus does not take a heartbeat: %s", error.detail)
            self._announced = False
            return
        if self._leaving:  # meanwhile
            await self._say_farewell()
            return
        missed = not self._announced or began >= self._beat_until
        self._beat_until = began + self._limits.node_ttl
        if missed:
            self._announced = True
            self._bus.publish(NEWS_CHANNEL, self._bus.node.encode())
        self._see(nodes)
        if missed:
            for listener in self.missed:
                listener()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._news = trio.Event()
            with trio.move_on_after(self._limits.heartbeat):
                await self._news.wait()
            await self.look()

    async def leave(self) -> None:
        """Let the others take over what lives here; the actors of this node finish what they have. May be called
        twice."""
        if not self._leaving:
            self._leaving = True
            self._see([node for node in self.nodes if node != self._bus.node])
            await self._say_farewell()

    async def _say_farewell(self) -> None:
        try:
            await self._bus.leave()
        except TertuliaError as error:
            logger.debug("the bus does not take the farewell: %s", error.detail)
        else:
            self._bus.publish(NEWS_CHANNEL, self._bus.node.encode())

    def _see(self, nodes: Collection[str]) -> None:
        now = trio.current_time()
        self._suspects = {node: until for node, until in self._suspects.items() if until > now}
        seen = tuple(sorted(node for node in nodes if node not in self._suspects)) or (self._bus.node,)
        if seen != self._names:
            logger.info("live nodes: %s", ", ".join(seen))
            self._names, self._nodes = seen, Nodes(seen)
            for listener in self.listeners:
                listener()
