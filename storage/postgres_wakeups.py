"""Hearing that another node enqueued jobs. In: notifications of PostgreSQL. Out: calls of a function, in trio.

A hint and nothing else: a notification that was lost, or never sent, delays a job until the next time a worker looks.
One connection listens. It hears nothing while it is being made again, so that every new one begins with a call; and a
server that is silent is asked from time to time whether it is still there.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import trio

from ..engine.errors import TertuliaError
from .bridge import Bridge
from .postgres_connections import FAILURES, Connections
from .postgres_limits import PostgresLimits
from .postgres_pool import close

logger = logging.getLogger("tertulia.postgres")

#: Where writers say that there are jobs; the text is the number of the writer.
CHANNEL = "tertulia_jobs"


class _Ear:
    """What one connection hears; calls between two looks of trio are one call."""

    def __init__(self, bridge: Bridge, own: str, heard: Callable[[], None]) -> None:
        self._bridge = bridge
        self._own = own
        self._heard = heard
        self._armed = False  # set in the other thread, taken back in trio's before the call: none is missed
        self.lost = trio.Event()

    async def listen(self, connection: asyncpg.Connection) -> None:
        connection.add_termination_listener(self._on_lost)
        await connection.add_listener(CHANNEL, self._on_notification)

    def call(self) -> None:
        self._armed = False
        self._heard()

    def _on_notification(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        if payload != self._own and not self._armed:
            self._armed = True
            self._bridge.deliver(self.call)

    def _on_lost(self, _connection: Any) -> None:
        self._bridge.deliver(self.lost.set)


@asynccontextmanager
async def wake_ups(connections: Connections, own: int, heard: Callable[[], None]) -> AsyncGenerator[None]:
    """Call `heard` during the block: when the connection is there, and when another node enqueued jobs that are due.

    Args:
        own: the writer whose jobs are not news.
        heard: must not raise.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_listen_for_ever, connections, str(own), heard)
        yield
        nursery.cancel_scope.cancel()


async def _listen_for_ever(connections: Connections, own: str, heard: Callable[[], None]) -> None:
    bridge, limits = connections.bridge, connections.limits
    backoff = limits.min_backoff
    told = False
    while True:
        ear = _Ear(bridge, own, heard)
        try:
            connection = await connections.connect()
            try:
                await bridge.call(ear.listen, connection)
                backoff, told = limits.min_backoff, False
                ear.call()
                await _until_lost(bridge, connection, ear, limits)
            finally:
                with trio.CancelScope(shield=True):
                    await bridge.call(close, connection, limits.closing_timeout)
        except (TertuliaError, *FAILURES) as error:
            if not told:
                logger.warning("Jobs of other nodes are found by looking only, for now: %s", error)
            told = True
        await trio.sleep(random.uniform(backoff / 2, backoff))
        backoff = min(backoff * 2, limits.max_backoff)


async def _until_lost(bridge: Bridge, connection: asyncpg.Connection, ear: _Ear, limits: PostgresLimits) -> None:
    """Raises asyncpg's errors: it does not answer."""
    while not ear.lost.is_set():
        with trio.move_on_after(limits.wake_up_check):
            await ear.lost.wait()
            return
        await bridge.call(connection.execute, "select")
