"""A server on a loopback port, in the test's own process, that a test can hurt: cut its connections, restart it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import trio

from tertulia.api.cable.gateway import Gateway
from tertulia.api.cable_limits import CableLimits
from tertulia.api.engine import Engine, open_engine
from tertulia.api.server import Server, open_server
from tertulia.api.settings import ServerSettings, Settings
from tertulia.engine.connection import Connection

from ..api.cable.stage import fill


class LiveServer:
    """The stage of the cable tests, on a port. It can go and come back; what is stored stays."""

    def __init__(self, engine: Engine, nursery: trio.Nursery) -> None:
        self.engine = engine
        self._nursery = nursery
        self.port = 0
        self._server: Server | None = None
        self._stop, self._stopped = trio.Event(), trio.Event()

    def url(self, token: str) -> str:
        return f"ws://127.0.0.1:{self.port}{self.resource(token)}"

    def resource(self, token: str) -> str:
        return f"/cable?token={token}"

    @property
    def connections(self) -> int:
        return len(self._gateway.sessions)

    @property
    def transports(self) -> list[Connection]:
        return [cast("Connection", session.transport) for session in self._gateway.sessions]

    def cut(self) -> None:
        """Close every TCP connection, without a word."""
        for transport in self.transports:
            transport.abort()

    def revoke(self, token_id: int) -> None:
        self._gateway.revoke_token(token_id)

    @property
    def _gateway(self) -> Gateway:
        assert self._server is not None, "the server is down"
        return self._server.gateway

    async def start(self) -> None:
        """Serve, always on the same port."""
        await self._nursery.start(self._serve)

    async def stop(self) -> None:
        """An orderly end, as before a restart."""
        self._stop.set()
        await self._stopped.wait()

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        settings = Settings(
            server=ServerSettings(bind=f"127.0.0.1:{self.port}", drain_window=0.05, shutdown_timeout=2.0),
            cable=CableLimits(ping_interval=0.1),
        )
        self._stop, self._stopped = trio.Event(), trio.Event()
        async with open_server(self.engine, settings) as server:
            self._server, self.port = server, server.port
            task_status.started()
            await self._stop.wait()
        self._server = None
        self._stopped.set()


@asynccontextmanager
async def live_server(folder: Path) -> AsyncGenerator[LiveServer, None]:
    """A server that has started."""
    async with open_engine(f"sqlite:///{folder}/live.db") as engine, trio.open_nursery() as nursery:
        await fill(engine)
        server = LiveServer(engine, nursery)
        await server.start()
        yield server
        nursery.cancel_scope.cancel()
