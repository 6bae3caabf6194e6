"""One node among many: what makes this engine's actors, events and rights those of all nodes.

In: a bus. It joins the other nodes while `run` runs; `leave` lets them take over what lives here, before this node's
clients are sent away.
"""

from __future__ import annotations

import logging
from typing import Any

import trio

from ..engine.directory import Directory
from ..engine.ring import Ring
from ..storage.bus import NODE_CHANNEL, Bus, Received
from ..storage.contracts import Reads
from .access import AccessBook
from .cluster_limits import ClusterLimits
from .entities import WallClock
from .forwarding import Forwarding
from .homes import NEWS_CHANNEL, Homes
from .position_check import PositionCheck
from .rights import RIGHTS_CHANNEL, Rights
from .shared_hub import CHANNEL as TOPIC_CHANNEL
from .shared_hub import SharedHub

logger = logging.getLogger("tertulia.cluster")


class Cluster:
    """The parts of one node, and the bus that feeds them."""

    def __init__(
        self,
        bus: Bus,
        reads: Reads,
        access: AccessBook,
        wall_clock: WallClock,
        limits: ClusterLimits,
        nursery: trio.Nursery,
        ring: Ring | None = None,
    ) -> None:
        self.bus = bus
        self.homes = Homes(bus, limits)
        self.hub = SharedHub(bus, reads, wall_clock, limits, nursery, ring)
        self.rights = Rights(bus, access, reads, limits, nursery)
        self._check = PositionCheck(self.hub, reads, wall_clock, limits)
        self._limits = limits
        self._own_channel = NODE_CHANNEL + bus.node
        self.forwarding: Forwarding | None = None

    async def join(self, directory: Directory, nursery: trio.Nursery) -> None:
        """Begin to share actors with the other nodes."""
        self.forwarding = Forwarding(self.bus, self.homes, directory, self._limits)
        directory.router = self.forwarding
        self.bus.on_received = self._receive
        self.bus.on_connected = self._connected
        self.bus.on_lost = self.forwarding.bus_lost
        self.bus.on_unheard = self._unheard
        await self.bus.follow([self._own_channel, NEWS_CHANNEL, RIGHTS_CHANNEL])
        await self.homes.look()
        for work in (self.homes.run, self.forwarding.run, self.rights.run, self._check.run, self.hub.typing.run):
            nursery.start_soon(work)

    async def leave(self) -> None:
        """Let the other nodes take over. May be called twice."""
        await self.homes.leave()

    def close(self) -> None:
        """Hear nothing any more: the bus outlives the engine."""
        bus = self.bus
        bus.on_received = bus.on_connected = bus.on_lost = bus.on_unheard = _ignore
        self.hub.close()
        if self.forwarding is not None:
            self.forwarding.close()

    def _receive(self, received: Received) -> None:
        for channel, payload in received:
            try:
                self._take(channel, payload)
            except Exception:  # a payload that breaks this node would break every other one, too
                logger.exception("a payload on %s was not understood", channel)

    def _take(self, channel: str, payload: bytes) -> None:
        if channel.startswith(TOPIC_CHANNEL):
            self.hub.receive(channel.removeprefix(TOPIC_CHANNEL), payload)
        elif channel == self._own_channel and self.forwarding is not None:
            self.forwarding.receive(payload)
        elif channel == RIGHTS_CHANNEL:
            self.rights.receive(payload)
        elif channel == NEWS_CHANNEL and payload != self.bus.node.encode():
            self.homes.heard(payload.decode())
            self.homes.look_soon()

    def _unheard(self, channel: str) -> None:
        if self.forwarding is not None:
            self.forwarding.unheard(channel.removeprefix(NODE_CHANNEL))

    def _connected(self) -> None:
        """Whatever was published while the bus was away has been missed."""
        self.homes.reconnected()
        self._check.soon()
        self.rights.refresh_soon()


def _ignore(*_: Any) -> None:
    """What becomes of what the bus says before a node joined, and after it left."""
