"""How many connections go out, and which are used again. In: a host. Next hop: httpcore, on `outgoing_network`.

httpcore has a pool of its own; it has no limit per host, and a request that is cancelled between two of its steps stays
in it for ever. Here the connection belongs to the block that uses it: it is kept if the exchange was complete, and
closed in all other cases.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpcore
import trio


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How much there may be at the same time."""

    total: int  # connections in use
    per_host: int  # connections in use to one host name
    idle: int  # connections kept open
    keep_alive: float  # seconds that one is kept


@dataclass(slots=True)
class _Host:
    places: trio.Semaphore
    users: int = 0  # in their places, or waiting for one


class OutgoingConnections:
    """Connections to many hosts, none of which takes more than its share."""

    def __init__(
        self, limits: ConnectionLimits, network: httpcore.AsyncNetworkBackend, tls: Callable[[], ssl.SSLContext]
    ) -> None:
        """`tls` is asked when the first connection needs it."""
        self._limits = limits
        self._network = network
        self._tls = tls
        self._total = trio.Semaphore(limits.total)
        self._hosts: dict[str, _Host] = {}
        self._idle: list[httpcore.AsyncHTTPConnection] = []  # the most recently used one is the last
        self._open = True

    @asynccontextmanager
    async def place(self, name: str) -> AsyncGenerator[None]:
        """Wait for the right to use a connection to a host.

        The host's limit comes first: those that wait for a slow host do so among themselves.
        """
        host = self._hosts.setdefault(name, _Host(trio.Semaphore(self._limits.per_host)))
        host.users += 1
        try:
            async with host.places, self._total:
                yield
        finally:
            host.users -= 1
            if not host.users:
                del self._hosts[name]

    @asynccontextmanager
    async def connection(
        self, origin: httpcore.Origin, *, new: bool = False
    ) -> AsyncGenerator[httpcore.AsyncHTTPConnection]:
        """An idle connection to the origin, if there is one and not a `new` one is asked for; a new one otherwise."""
        await self._close_expired()
        connection = (None if new else self._take(origin)) or self._new(origin)
        try:
            yield connection
        finally:
            # A connection that could not be made calls itself idle, too.
            if self._open and connection.is_idle() and not connection.is_closed():
                self._idle.append(connection)
                await self._close(self._idle[: -self._limits.idle] if self._limits.idle else self._idle)
            else:
                await self._close([connection])

    async def aclose(self) -> None:
        """Close what is idle, and from now on everything that is given back."""
        self._open = False
        await self._close(self._idle)

    def _new(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        tls = self._tls() if origin.scheme == b"https" else None
        return httpcore.AsyncHTTPConnection(
            origin, tls, keepalive_expiry=self._limits.keep_alive, network_backend=self._network
        )

    def _take(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection | None:
        for connection in reversed(self._idle):
            if connection.can_handle_request(origin):
                self._idle.remove(connection)
                return connection
        return None

    async def _close_expired(self) -> None:
        """Connections that were idle for long enough, or that the other side has closed."""
        await self._close([connection for connection in self._idle if connection.has_expired()])

    async def _close(self, connections: list[httpcore.AsyncHTTPConnection]) -> None:
        closing = list(connections)
        self._idle = [connection for connection in self._idle if connection not in closing]
        with trio.CancelScope(shield=True):  # takes no time: `OutgoingStream` closes without a word
            for connection in closing:
                await connection.aclose()
