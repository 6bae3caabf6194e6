"""A TCP proxy in front of a server: where an answer is lost, a request, or everything stands still."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

import trio


class Proxy:
    """Passes bytes on, except where told otherwise.

    Attributes:
        loses_requests: what clients send is dropped.
        holds_requests: what clients send arrives when the proxy behaves again, even from one that has gone away.
        loses_answers: what the server sends is dropped.
        loses_answers_after: the same, from the first request on that has these bytes in it.
        stopped: set as soon as a request does not go on.
    """

    def __init__(self, dial: Callable[[], Awaitable[trio.abc.HalfCloseableStream]]) -> None:
        self._dial = dial
        self._clients: list[trio.SocketStream] = []
        self._behaves = trio.Event()
        self.port = 0
        self.stopped = trio.Event()
        self.loses_requests = self.holds_requests = self.loses_answers = False
        self.loses_answers_after: bytes | None = None

    def behave(self) -> None:
        """Pass everything on again."""
        self.loses_requests = self.holds_requests = self.loses_answers = False
        self.loses_answers_after = None
        self._behaves.set()

    async def cut(self) -> None:
        """Break all connections of clients."""
        for stream in self._clients:
            await trio.aclose_forcefully(stream)
        self._clients.clear()

    async def serve(self, client: trio.SocketStream) -> None:
        server = await self._dial()
        self._clients.append(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_requests, client, server)
            nursery.start_soon(self._pass_answers, server, client)

    async def _pass_requests(self, client: trio.SocketStream, server: trio.abc.HalfCloseableStream) -> None:
        async with server:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while data := await client.receive_some(65536):
                    if self.loses_answers_after is not None and self.loses_answers_after in data:
                        self.loses_answers = True
                    if self.loses_requests or self.holds_requests:
                        self.stopped.set()
                    if self.holds_requests:
                        await self._behaves.wait()
                    if not self.loses_requests:
                        await server.send_all(data)
                await server.send_eof()

    async def _pass_answers(self, server: trio.abc.HalfCloseableStream, client: trio.SocketStream) -> None:
        async with client:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while data := await server.receive_some(65536):
                    if not self.loses_answers:
                        await client.send_all(data)


@asynccontextmanager
async def proxy_of_postgres(url: str) -> AsyncGenerator[Proxy]:
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname or "127.0.0.1"])[0]
    port = parts.port or 5432

    async def dial() -> trio.abc.HalfCloseableStream:
        if host.startswith("/"):
            return await trio.open_unix_socket(f"{host}/.s.PGSQL.{port}")
        return await trio.open_tcp_stream(host, port)

    proxy = Proxy(dial)
    async with trio.open_nursery() as nursery:
        proxy.port = await nursery.start(_serve, proxy)
        yield proxy
        nursery.cancel_scope.cancel()


async def _serve(proxy: Proxy, task_status: trio.TaskStatus[int]) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(proxy.serve, listeners)
