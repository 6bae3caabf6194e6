"""The end of a server, as a client on a real socket sees it: what was sent to it arrives, and the good-bye after it."""

from __future__ import annotations

import socket
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage
from wsproto.frame_protocol import CloseReason

from tertulia.engine.frames import TEXT, frame

from .live_server import LiveServer, live_server

TIMEOUT = 20  # seconds
PIECE = frame(b"x" * 60_000, TEXT)
GOODBYE = '{"type":"disconnect","reason":"server_restart","reconnect":true}'


class SlowClient:
    """A client that reads only when it is told to, and never closes by itself."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._websocket = WSConnection(ConnectionType.CLIENT)

    async def welcomed(self, server: LiveServer) -> None:
        request = Request(host="x", target=server.resource("ana"), subprotocols=["actioncable-v1-json"])
        await self.stream.send_all(self._websocket.send(request))
        seen: list[object] = []
        while not any(isinstance(event, TextMessage) for event in seen):
            self._websocket.receive_data(await self.stream.receive_some())
            seen += self._websocket.events()
        assert isinstance(seen[0], AcceptConnection)

    async def rest(self) -> tuple[list[str], int | None]:
        """All messages until the server closes its side, without pings, and the code of its close frame."""
        texts: list[str] = []
        text, code = "", None
        async for data in self.stream:
            self._websocket.receive_data(bytes(data))
            for event in self._websocket.events():
                match event:
                    case TextMessage():
                        text += event.data
                        if event.message_finished:
                            texts.append(text)
                            text = ""
                    case CloseConnection():
                        code = event.code
                    case _:
                        pass
        return [text for text in texts if '"ping"' not in text], code


async def slow_client(server: LiveServer) -> SlowClient:
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", server.port))
    client = SlowClient(trio.SocketStream(sock))
    await client.welcomed(server)
    return client


def fill_the_pipe(server: LiveServer) -> int:
    """Send until the kernel takes no more; how many pieces that were."""
    (connection,) = server.transports
    outbox = connection.outbox
    sent = 0
    while not outbox.waiting:
        outbox.send(PIECE)
        sent += 1
    return sent


async def test_what_waits_for_a_slow_client_is_sent_before_the_server_ends(tmp_path: Path) -> None:
    with trio.fail_after(TIMEOUT):
        async with live_server(tmp_path) as server, trio.open_nursery() as nursery:
            client = await slow_client(server)
            async with client.stream:
                pieces = fill_the_pipe(server)
                nursery.start_soon(server.stop)
                await wait_all_tasks_blocked()
                texts, code = await client.rest()
            assert len(texts) == pieces + 1
            assert texts[-1] == GOODBYE
            assert code == CloseReason.GOING_AWAY


async def test_the_server_ends_when_its_clients_have_closed_their_side(tmp_path: Path) -> None:
    """Closing first would answer what a client has just sent with a reset, which destroys what it has not read yet."""
    with trio.fail_after(TIMEOUT):
        async with live_server(tmp_path) as server, trio.open_nursery() as nursery:
            client = await slow_client(server)
            stopped = trio.Event()

            async def stop() -> None:
                await server.stop()
                stopped.set()

            async with client.stream:
                nursery.start_soon(stop)
                texts, _ = await client.rest()
                assert texts == [GOODBYE]
                await wait_all_tasks_blocked(0.005)
                assert not stopped.is_set()
            await stopped.wait()
