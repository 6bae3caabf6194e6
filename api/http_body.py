"""Let no more of a request's body into memory than a body may have. In: hypercorn's events. Next hop: Quart."""

from __future__ import annotations

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, Scope


class BoundBody:
    """ASGI middleware: a body ends with the piece that takes it over the limit.

    Quart compares the body that it has with its own limit, and answers 413. Some versions do so only when the body is
    complete, and keep all of it until then; a chunked one need never be complete. What comes after the limit is read
    and dropped, so that the client gets to read its answer.
    """

    def __init__(self, app: ASGIFramework, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            receive = _Body(receive, self._limit).receive
        await self._app(scope, receive, send)


class _Body:
    __slots__ = ("_receive", "_room")

    def __init__(self, receive: ASGIReceiveCallable, limit: int) -> None:
        self._receive = receive
        self._room = limit  # bytes that may still come; negative once the body was ended

    async def receive(self) -> ASGIReceiveEvent:
        event = await self._receive()
        while event["type"] == "http.request" and self._room < 0:
            event = await self._receive()
        if event["type"] == "http.request":
            self._room -= len(event["body"])
            if self._room < 0:
                event["more_body"] = False
        return event
