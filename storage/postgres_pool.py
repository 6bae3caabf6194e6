"""Connections that are opened when they are needed and kept. In: how one is opened. Out: one at a time for each caller.

The pool lives on trio's side of the bridge; a connection is used on the other side, by one caller at a time. A server
that is away is tried again with back-off until the caller's time is over.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg
import trio

from ..engine.errors import TertuliaError, Unavailable
from .bridge import Bridge
from .postgres_limits import PostgresLimits

logger = logging.getLogger("tertulia.postgres")


@dataclass(slots=True)
class Lease:
    """A connection in use. After an exception it is not used again, unless it is `spared`."""

    connection: asyncpg.Connection
    fresh: bool  # opened for this caller
    spared: bool = False


class Pool:
    def __init__(
        self, bridge: Bridge, connect: Callable[[], Awaitable[asyncpg.Connection]], size: int, limits: PostgresLimits
    ) -> None:
        self._bridge = bridge
        self._connect = connect
        self._limits = limits
        self._free = trio.Semaphore(size)
        self._idle: list[asyncpg.Connection] = []
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Lease]:
        """Lend a connection for the block, and keep it afterwards where nothing is the matter with it.

        Raises:
            Unavailable: none was free, or none could be opened, within `acquire_timeout`.
        """
        lease = await self._take()
        try:
            yield lease
        except BaseException:
            self._give_back(lease, broken=not lease.spared)
            raise
        self._give_back(lease)

    def keep(self, connection: asyncpg.Connection) -> None:
        """Add a connection that was opened already."""
        self._idle.append(connection)

    async def aclose(self) -> None:
        """Sign off from the server. Connections in use are closed when they come back."""
        self._closed = True
        idle, self._idle = self._idle, []
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for connection in idle:
                    nursery.start_soon(self._bridge.call, close, connection, self._limits.closing_timeout)

    async def _take(self) -> Lease:
        self._check_open()
        last_error: TertuliaError | None = None
        with trio.move_on_after(self._limits.acquire_timeout):
            await self._free.acquire()
            try:
                while self._idle:  # the last one: what is busy stays warm, and the others' sessions rest
                    connection = self._idle.pop()
                    if not connection.is_closed():
                        return Lease(connection, fresh=False)
                backoff = self._limits.min_backoff
                while True:
                    self._check_open()
                    try:
                        return Lease(await self._connect(), fresh=True)
                    except TertuliaError as error:
                        last_error = error
                    await trio.sleep(random.uniform(backoff / 2, backoff))
                    backoff = min(backoff * 2, self._limits.max_backoff)
            except BaseException:
                self._free.release()
                raise
        if last_error is not None:
            # Callers may be visitors: where the server is, and why it refuses, is for the log.
            logger.warning("%s", last_error.detail)
            raise Unavailable("The database cannot be reached now; try again later.") from last_error
        raise Unavailable("The database is busy: no connection was free in time.")

    def _give_back(self, lease: Lease, *, broken: bool = False) -> None:
        self._free.release()
        if broken or self._closed or lease.connection.is_closed():
            # With what it still hears: an answer that nobody waits for must not be taken for the next one.
            with suppress(Unavailable):  # a bridge that is closed has closed it
                self._bridge.post(lease.connection.terminate)
        else:
            self._idle.append(lease.connection)

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("The database is closed.")


async def close(connection: asyncpg.Connection, timeout: float) -> None:
    """Sign off; a server that does not answer in time is left alone."""
    try:
        await connection.close(timeout=timeout)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError):
        connection.terminate()
