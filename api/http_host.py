"""HTTP connections. In: accepted sockets from `front_door`, unread. Next hop: `http_connection`, then hypercorn.

hypercorn has no listener here: each socket gets a server of its own, which ends with its connection. What hypercorn
leaves to others is done here: idle connections are closed, a client that breaks its connection's code harms no other,
and a client that does not read cannot hold the server when it stops.
"""

from __future__ import annotations

import logging
import socket as sockets
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from socket import socket
from typing import cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState, LifespanState
from quart_trio import QuartTrio

from ..engine.handshake import refusal
from ..engine.supervisor import crash_of
from .http_body import BoundBody
from .http_connection import HttpConnection, Idle
from .http_exchange import CompleteBeforeDisconnect
from .http_settings import HttpSettings
from .metrics import METRICS, Metrics

logger = logging.getLogger("tertulia.http")

MAX_SWEEP_INTERVAL = 1.0  # seconds: an idle connection lives at most this much longer than it is allowed to


@dataclass(frozen=True, slots=True)
class HttpStatistics:
    connections: int


#: Seconds between two looks for idle connections while the server stops.
IDLE_INTERVAL = 0.1
#: Bytes of a WebSocket message on a connection that hypercorn serves: the session has the last word, within this.
WEBSOCKET_MESSAGE = 1024 * 1024


class HttpHost:
    """Serves one application on sockets that somebody else accepts."""

    def __init__(
        self,
        app: QuartTrio,
        settings: HttpSettings | None = None,
        around: Callable[[ASGIFramework], ASGIFramework] = lambda app: app,
    ) -> None:
        """`around` puts ASGI middleware around the application."""
        self._settings = settings or HttpSettings()
        # Quart's types and hypercorn's describe the same ASGI application in different words.
        bound = BoundBody(around(cast("ASGIFramework", app)), self._settings.body)
        self._app = ASGIWrapper(CompleteBeforeDisconnect(bound))
        self._config = _config(self._settings)
        metrics: Metrics | None = app.extensions.get(METRICS)
        if metrics is not None:
            metrics.add("http", self.statistics)
        self._context = WorkerContext(None)
        self._state: LifespanState = {}
        self._nursery: trio.Nursery | None = None
        self._live: dict[trio.SocketStream, Idle] = {}
        self._quiet: trio.Event | None = None  # while stopping: set when the last connection is gone
        self.connections = 0

    def hand_over(self, sock: socket) -> None:
        """Serve this connection until it ends; the socket is not the caller's any more."""
        if self._nursery is None or self._context.terminated.is_set():
            sock.close()
        elif self.connections >= self._settings.connections:
            _refuse(sock)
        else:
            self.connections += 1
            self._nursery.start_soon(self._serve, sock)

    async def _serve(self, sock: socket) -> None:
        stream: trio.SocketStream | None = None
        try:
            sock.setblocking(False)
            self._bound_waiting_for_acknowledgement(sock)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            state = ConnectionState(self._state.copy())
            connection = HttpConnection(self._app, self._config, self._context, state, stream)
            self._live[stream] = connection.idle
            await connection
        except BaseException as error:
            crash = crash_of(error)
            if crash is None:
                raise
            if not isinstance(crash, OSError):  # that one is a client that was gone before its connection began
                logger.error("an HTTP connection ended with an error: %r", crash, exc_info=crash)
        finally:
            if stream is not None:
                self._live.pop(stream, None)
                stream.socket.close()  # hypercorn leaves it open where it is cancelled
            sock.close()
            self.connections -= 1
            if self._quiet is not None and not self.connections:
                self._quiet.set()

    def _bound_waiting_for_acknowledgement(self, sock: socket) -> None:
        """hypercorn's writes cannot be cancelled: let the kernel give up on a client that takes nothing any more."""
        option = getattr(sockets, "TCP_USER_TIMEOUT", None)  # Linux only
        if option is not None and sock.family in (sockets.AF_INET, sockets.AF_INET6):
            sock.setsockopt(sockets.IPPROTO_TCP, option, round(self._settings.response_timeout * 1000))

    def statistics(self) -> HttpStatistics:
        return HttpStatistics(self.connections)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started when connections can be handed over."""
        lifespan = Lifespan(self._app, self._config, self._state)
        living = trio.CancelScope(shield=True)  # the application outlives the requests to it

        async def live() -> None:
            with living:
                await lifespan.handle_lifespan()

        async with trio.open_nursery() as outer:
            outer.start_soon(live)
            try:
                await lifespan.wait_for_startup()
                async with trio.open_nursery() as self._nursery:
                    task_status.started()
                    await self._sweep()
            finally:
                self._nursery = None
                with trio.move_on_after(self._settings.shutdown_timeout, shield=True):
                    await lifespan.wait_for_shutdown()
                living.cancel()

    async def _sweep(self) -> None:
        """Close the connections that wait too long, between requests or in the middle of a request's head."""
        keep_alive = self._settings.keep_alive
        while True:
            await trio.sleep(min(MAX_SWEEP_INTERVAL, keep_alive / 4))
            self._close_idle(trio.current_time() - keep_alive)

    def _close_idle(self, before: float) -> None:
        for stream, idle in self._live.items():
            if idle.since is not None and idle.since <= before:
                stream.socket.close()

    async def stop(self) -> None:
        """Take no more, close what is idle, let requests under way finish, and after a deadline close all."""
        await self._context.terminated.set()  # hypercorn closes a connection when its response is complete from now on
        self._quiet = trio.Event()
        with trio.move_on_after(self._settings.shutdown_timeout):
            while self.connections:
                # Again and again: a response that was nearly complete just now leaves an idle connection behind.
                self._close_idle(trio.current_time())
                with trio.move_on_after(IDLE_INTERVAL):
                    await self._quiet.wait()
        for stream in self._live:
            stream.socket.close()


def _config(settings: HttpSettings) -> Config:
    config = Config()
    config.accesslog = None  # addresses and tokens of callers are nobody's business by default
    config.errorlog = logger
    config.include_server_header = False
    config.websocket_max_message_size = WEBSOCKET_MESSAGE
    return config


def _refuse(sock: socket) -> None:
    reason = "Too many connections; try again later."
    try:
        sock.setblocking(False)
        sock.send(refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason, extra=b"Retry-After: 1\r\n"))
    except OSError:
        pass
    sock.close()
