"""A reverse proxy may send an upgrade on a connection that was used for HTTP before."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import h11
import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, RejectConnection, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from tests.clients.live_server import LiveServer, live_server

pytestmark = pytest.mark.slow


class ProxiedClient:
    """HTTP first, then a WebSocket, on one connection."""

    def __init__(self, stream: trio.SocketStream, server: LiveServer) -> None:
        self.stream = stream
        self.server = server
        self.websocket = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []

    async def get(self, path: str) -> int:
        """One HTTP request that leaves the connection open."""
        http = h11.Connection(h11.CLIENT)
        request = h11.Request(method="GET", target=path, headers=[("Host", "127.0.0.1")])
        await self.stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        status = 0
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await self.stream.receive_some())
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.EndOfMessage):
                return status

    async def upgrade(self, token: str, protocol: str = "actioncable-v1-json") -> None:
        target = self.server.resource(token)
        request = Request(host="127.0.0.1", target=target, subprotocols=[protocol])
        await self.stream.send_all(self.websocket.send(request))

    async def event(self) -> Event:
        while not self._events:
            self.websocket.receive_data(await self.stream.receive_some())
            self._events.extend(self.websocket.events())
        return self._events.pop(0)

    async def text(self) -> str:
        while True:
            event = await self.event()
            if isinstance(event, TextMessage) and '"type":"ping"' not in event.data:
                return str(event.data)

    async def send(self, text: str) -> None:
        await self.stream.send_all(self.websocket.send(TextMessage(text)))


@asynccontextmanager
async def proxied(tmp_path: Path) -> AsyncGenerator[ProxiedClient]:
    async with live_server(tmp_path) as server:
        with trio.fail_after(20):
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                client = ProxiedClient(stream, server)
                assert await client.get("/healthz") == 200
                yield client


async def test_it_becomes_a_session_that_subscribes_sends_and_hears(tmp_path: Path) -> None:
    async with proxied(tmp_path) as client:
        await client.upgrade("bo")
        accepted = await client.event()
        assert isinstance(accepted, AcceptConnection)
        assert accepted.subprotocol == "actioncable-v1-json"
        assert await client.text() == '{"type":"welcome"}'
        await client.send('{"command":"subscribe","identifier":"{\\"channel\\":\\"ConversationChannel\\",\\"id\\":1}"}')
        assert "confirm_subscription" in await client.text()
        await client.send(
            '{"command":"message","identifier":"{\\"channel\\":\\"ConversationChannel\\",\\"id\\":1}",'
            '"data":"{\\"action\\":\\"send_message\\",\\"content\\":\\"through a proxy\\"}"}'
        )
        assert "through a proxy" in await client.text()


async def test_compression_is_not_agreed_to(tmp_path: Path) -> None:
    async with proxied(tmp_path) as client:
        request = Request(host="127.0.0.1", target=client.server.resource("bo"), extensions=[PerMessageDeflate()])
        await client.stream.send_all(client.websocket.send(request))
        accepted = await client.event()
        assert isinstance(accepted, AcceptConnection)
        assert accepted.extensions == []
        assert b"sec-websocket-extensions" not in dict(accepted.extra_headers)


async def test_a_bad_token_is_told_and_closed(tmp_path: Path) -> None:
    async with proxied(tmp_path) as client:
        await client.upgrade("nobody's")
        await client.event()
        assert '"reason":"unauthorized"' in await client.text()
        assert isinstance(await client.event(), CloseConnection)


async def test_a_message_over_the_limit_closes_with_1009(tmp_path: Path) -> None:
    async with proxied(tmp_path) as client:
        await client.upgrade("visitor%201")
        await client.event()
        await client.text()
        await client.send("x" * 65_537)
        closed = await client.event()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1009


@pytest.mark.parametrize("path", ["/elsewhere", "/healthz"])
async def test_a_websocket_on_another_path_is_refused(tmp_path: Path, path: str) -> None:
    async with proxied(tmp_path) as client:
        await client.stream.send_all(client.websocket.send(Request(host="127.0.0.1", target=path)))
        refused = await client.event()
        assert isinstance(refused, RejectConnection)
        assert refused.status_code == 403


async def test_a_client_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async with proxied(tmp_path) as client:
        await client.upgrade("bo")
        await client.event()
        await client.text()
        assert client.server.connections == 1
        await client.stream.aclose()
        for _ in range(1000):
            if not client.server.connections:
                return
            await trio.sleep(0.01)
        raise AssertionError("the session is still there")
