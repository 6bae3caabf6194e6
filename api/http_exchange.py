"""Let hypercorn finish a response before Quart hears that the exchange is over."""

from __future__ import annotations

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)


class CompleteBeforeDisconnect:
    """ASGI middleware: no ``http.disconnect`` while the last body message is still being sent.

    Within ``send`` of the last body message hypercorn 0.18 first queues ``http.disconnect`` for the application and
    only then closes the connection (``Connection: close``, HTTP/1.0) or arms the keep-alive timer. quart-trio 0.12
    cancels its request nursery as soon as it receives that disconnect, and so cancels the very ``send`` that caused
    it: the socket is never closed, and an idle keep-alive connection has no timer and is deaf to a graceful shutdown.

    Holding the disconnect back until that ``send`` has returned gives hypercorn the time it needs. A disconnect that
    comes earlier (the client went away while the handler ran) passes at once and still cancels the handler.
    """

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            exchange = _Exchange(receive, send)
            await self._app(scope, exchange.receive, exchange.send)
        else:
            await self._app(scope, receive, send)


class _Exchange:
    __slots__ = ("_receive", "_send", "_sent")

    def __init__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self._receive = receive
        self._send = send
        self._sent: trio.Event | None = None  # exists once the last body message is on its way, set when it is out

    async def receive(self) -> ASGIReceiveEvent:
        event = await self._receive()
        if event["type"] == "http.disconnect" and self._sent is not None:
            await self._sent.wait()
        return event

    async def send(self, event: ASGISendEvent) -> None:
        if event["type"] == "http.response.body" and not event.get("more_body", False):
            self._sent = trio.Event()
            try:
                await self._send(event)
            finally:
                self._sent.set()
        else:
            await self._send(event)
