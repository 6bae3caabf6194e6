"""A server around an engine: one port for cable and HTTP, and an orderly end.

Leaving the block drains: no new connections, every cable client is told to reconnect (spread over a window, so that
they do not all come back at once), requests under way are finished; then everything is closed.
"""

from __future__ import annotations

import os
import socket as sockets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from ..engine.hosting import open_shielded_nursery
from ..engine.reactor import Reactor
from .auth import Authenticator
from .cable.gateway import Gateway
from .cable.reused_connection import CableOverHttp
from .cable.task_gateway import TaskFrontDoor
from .demo_page import demo_page
from .engine import Engine
from .front_door import FrontDoor
from .http import make_app
from .http_host import HttpHost
from .settings import Settings, WrongSetting, address_of


@dataclass(frozen=True, slots=True)
class Server:
    """A server that accepts connections."""

    host: str
    port: int
    gateway: Gateway
    reactor: Reactor

    @property
    def url(self) -> str:
        return url_of(self.host, self.port)


def url_of(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def listen(bind: str, backlog: int, *, shared: bool = False) -> sockets.socket:
    """A listening socket that does not block; other processes may listen there, too, where it is `shared`.

    Raises:
        WrongSetting: the address cannot be used.
    """
    host, port = address_of(bind)
    family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
    try:
        listener = sockets.create_server((host, port), family=family, backlog=backlog, reuse_port=shared)
    except OSError as error:
        # create_server puts the address into the sentence, which has it already.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        raise WrongSetting(f"The server cannot listen on {bind}: {reason}.") from None
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def open_server(
    engine: Engine,
    settings: Settings | None = None,
    *,
    demo: Mapping[str, Any] | None = None,
    shared_port: bool = False,
) -> AsyncGenerator[Server]:
    """Serve cable and HTTP for as long as the block runs; port 0 takes a free one. With `demo`, also the demo's page.

    With `shared_port` other processes may serve on the same port (SO_REUSEPORT).

    Raises:
        WrongSetting: the address cannot be used.
    """
    settings = settings or Settings()
    listener = listen(settings.server.bind, settings.server.backlog, shared=shared_port)
    sockets = settings.sockets
    reactor = Reactor(sockets.slice, sockets.arrivals_share, sockets.read_chunk, sockets.gather)
    try:
        async with open_shielded_nursery() as nursery:
            authenticator = Authenticator(engine.world.reads, engine.world.access, engine.world.wall_clock)
            gateway = Gateway(engine, authenticator, settings.cable, nursery)
            if engine.cluster is not None:
                engine.cluster.rights.share(authenticator.listeners, authenticator.revoked, gateway.tokens_in_use)
            app = make_app(
                engine,
                authenticator=authenticator,
                gateway=gateway,
                settings=settings.http,
                statistics=[("reactor", reactor.statistics)],
            )
            if demo is not None:
                app.register_blueprint(demo_page(demo, settings.server.cable_path))
            options = (settings.server.cable_path, frozenset(settings.server.origins))
            http = HttpHost(app, settings.http, lambda app: CableOverHttp(app, gateway, settings.sockets, *options))
            door: FrontDoor | TaskFrontDoor
            if Reactor.available():
                door = FrontDoor(listener, reactor, gateway, http.hand_over, settings.sockets, *options)
                serve = reactor.run
            else:
                door = TaskFrontDoor(listener, gateway, http.hand_over, settings.sockets, *options)
                serve = door.run
            await nursery.start(http.run)
            nursery.start_soon(gateway.beat)
            nursery.start_soon(serve)
            host, port = listener.getsockname()[:2]
            try:
                yield Server(host, port, gateway, reactor)
            finally:
                door.close()
                with trio.move_on_after(settings.server.shutdown_timeout, shield=True):
                    await engine.leave()
                    async with trio.open_nursery() as ending:
                        ending.start_soon(gateway.drain, settings.server.drain_window)
                        ending.start_soon(http.stop)
                    await door.emptied()
    finally:
        listener.close()
        reactor.close()
