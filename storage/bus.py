"""What nodes tell each other, and how they know of each other. In: payloads from `actors`.

The contract that `redis_bus` keeps. Nothing on the bus is the truth: a payload may be lost at any time, and whoever
needs it finds out by number (`shared_hub`) or by deadline (`forwarding`). Channels and members are strings without
spaces.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeAlias

Received: TypeAlias = Sequence[tuple[str, bytes]]  # (channel, payload), in the order of arrival


#: The channel that one node alone follows is this and its name: a payload that nobody hears there was meant for a node
#: that is gone.
NODE_CHANNEL = "node:"


class Bus(Protocol):
    """One node's connection to the bus. Every callback is called in trio's thread and must not raise."""

    node: str

    #: Called with what arrived on followed channels, many at a time. The node's own payloads arrive too.
    on_received: Callable[[Received], None]
    #: Called when the bus is reachable, after every followed channel is followed again; and when it is lost.
    on_connected: Callable[[], None]
    on_lost: Callable[[], None]
    #: Called with a node's channel (`NODE_CHANNEL` and its name) when a payload for it reached nobody.
    on_unheard: Callable[[str], None]

    @property
    def connected(self) -> bool:
        """Whether payloads go out and come in now."""
        ...

    def publish(self, channel: str, payload: bytes) -> None:
        """Send to every node that follows the channel. Never waits; while the bus is away, nothing is sent."""
        ...

    async def follow(self, channels: Collection[str]) -> bool:
        """Receive what is published there from now on, until `unfollow`, across reconnects.

        Returns True when the bus confirmed it, False where the bus is away: it is then followed on return.
        """
        ...

    def unfollow(self, channels: Collection[str]) -> None: ...

    async def beat(self, ttl: float) -> Sequence[str]:
        """Say that this node lives, for `ttl` seconds; returns all that do, itself included, sorted.

        Raises:
            Unavailable: the bus is away.
        """
        ...

    async def leave(self) -> None:
        """Say that this node goes. Raises Unavailable."""
        ...

    def key(self, name: str) -> str:
        """The key of a fact, for `command`: unlike others' facts on the same server."""
        ...

    async def command(self, *words: str | bytes | int | float) -> Any:
        """Run one command of the server behind the bus: for facts with a lifetime, such as presence and rate limits.

        Raises:
            Unavailable: the bus is away, or did not answer in time.
        """
        ...
