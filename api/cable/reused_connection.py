"""Cable on a connection that was used for HTTP before. In: ASGI WebSocket scopes from hypercorn. Next hop: a session.

A browser opens a connection of its own for a WebSocket, and the front door sees it. A reverse proxy that keeps its
connections to us open may send an upgrade on one that hypercorn serves already. It gets the same session, on tasks
instead of the reactor.
"""

from __future__ import annotations

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    Scope,
    WebsocketAcceptEvent,
    WebsocketCloseEvent,
    WebsocketScope,
    WebsocketSendEvent,
)
from trio_websocket import ConnectionClosed

from ...engine.config import SocketLimits
from ...engine.handshake import UpgradeRequest, query_of
from .admission import Cable
from .protocol import choose
from .task_gateway import TaskConnection


class CableOverHttp:
    """ASGI middleware: WebSockets on the cable path are sessions, everything else is the application's."""

    def __init__(
        self, app: ASGIFramework, cable: Cable, limits: SocketLimits, cable_path: str, origins: frozenset[str]
    ) -> None:
        self._app = app
        self._cable = cable
        self._limits = limits
        self._path = cable_path
        self._origins = origins

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        request = _request_of(scope)
        refused = request.path != self._path or (self._origins and request.headers.get("origin") not in self._origins)
        if refused or len(self._cable.sessions) >= self._limits.connections or not _without_compression(send):
            await send(WebsocketCloseEvent(type="websocket.close", code=1000, reason=None))
        else:
            await self._serve(request, receive, send)

    async def _serve(self, request: UpgradeRequest, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await receive()  # websocket.connect
        protocol, selected = choose(request.subprotocols)
        await send(WebsocketAcceptEvent(type="websocket.accept", subprotocol=selected, headers=[]))
        connection = TaskConnection(self._limits)
        if protocol is None:
            connection.close()
        else:
            connection.start(self._cable.connect(request, connection, protocol))
        await connection.run(_AsgiSocket(receive, send))


def _without_compression(send: ASGISendCallable) -> bool:
    """Let hypercorn agree to no compression; False where that cannot be had.

    It has no setting for it, and accepts permessage-deflate from everybody: 58 kB of that are 60 MB of memory, before
    anybody has signed in. What `send` belongs to holds the client's offer until the handshake is accepted.
    """
    handshake = getattr(getattr(send, "__self__", None), "handshake", None)
    if not hasattr(handshake, "extensions"):
        return False
    handshake.extensions = None  # type: ignore[union-attr]  # that it is there has just been seen
    return True


class _AsgiSocket:
    """ASGI's events as the calls that `TaskConnection` makes."""

    def __init__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self._receive = receive
        self._send = send
        self._closed = trio.Event()

    async def get_message(self) -> str | bytes:
        event = await self._receive()
        if event["type"] != "websocket.receive":
            self._closed.set()
            raise ConnectionClosed(None)
        text = event.get("text")
        return text if text is not None else event.get("bytes") or b""

    async def send_message(self, message: str | bytes) -> None:
        text, data = (message, None) if isinstance(message, str) else (None, message)
        await self._send_event(WebsocketSendEvent(type="websocket.send", text=text, bytes=data))

    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        await self._send_event(WebsocketCloseEvent(type="websocket.close", code=code, reason=reason))
        await self._closed.wait()

    async def _send_event(self, event: WebsocketSendEvent | WebsocketCloseEvent) -> None:
        if self._closed.is_set():
            raise ConnectionClosed(None)
        await self._send(event)


def _request_of(scope: WebsocketScope) -> UpgradeRequest:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    client = scope["client"]
    return UpgradeRequest(
        path=scope["path"],
        query=query_of(scope["query_string"].decode("latin-1")),
        headers=headers,
        subprotocols=tuple(scope["subprotocols"]),
        client=client[0] if client else "",
    )
