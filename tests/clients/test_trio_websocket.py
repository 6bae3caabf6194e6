"""A second, independent client on a real socket: frames, close codes, and resuming under load."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.entities import System

from .live_server import LiveServer, live_server

pytestmark = pytest.mark.slow

EXTENDED = "actioncable-v1-ext-json"
MSGPACK = "actioncable-v1-ext-msgpack"
ONE = '{"channel":"ConversationChannel","id":1}'
BOARD = '{"channel":"AccountChannel"}'
MESSAGES = 200


@asynccontextmanager
async def connected(
    server: LiveServer, token: str = "bo", protocol: str | None = EXTENDED
) -> AsyncGenerator[WebSocketConnection, None]:
    """A connection on a stream of our own: the client library leaves it open where the server closes first."""
    with trio.fail_after(20):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream, trio.open_nursery() as nursery:
            offers = [] if protocol is None else [protocol]
            socket = await wrap_client_stream(nursery, stream, "127.0.0.1", server.resource(token), subprotocols=offers)
            assert socket.subprotocol == protocol
            yield socket
            await socket.aclose()
            nursery.cancel_scope.cancel()


async def command(socket: WebSocketConnection, command: str, identifier: str, **more: Any) -> None:
    message = {"command": command, "identifier": identifier, **more}
    if socket.subprotocol == MSGPACK:
        await socket.send_message(msgspec.msgpack.encode(message))
    else:
        await socket.send_message(json.dumps(message))


async def heard(socket: WebSocketConnection) -> dict[str, Any]:
    """The next message that is no ping."""
    while True:
        message = await socket.get_message()
        decoded: dict[str, Any] = (
            json.loads(message) if isinstance(message, str) else msgspec.msgpack.decode(message, type=dict[str, Any])
        )
        if decoded.get("type") != "ping":
            return decoded


async def say(server: LiveServer, conversation: int, content: str) -> None:
    await server.engine.conversation(1, conversation).ask(SendMessage(System(1), content))


@pytest.mark.parametrize("protocol", [EXTENDED, MSGPACK])
async def test_subscribe_send_and_receive(protocol: str, tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, protocol=protocol) as socket:
        assert (await heard(socket))["type"] == "welcome"
        await command(socket, "subscribe", ONE)
        assert await heard(socket) == {"type": "confirm_subscription", "identifier": ONE}
        await command(socket, "message", ONE, data='{"action":"send_message","content":"Hello"}')
        event = await heard(socket)
        assert event["message"]["data"]["content"] == "Hello"
        assert (event["stream_id"], event["offset"]) == ("conversation:1", 1)


async def test_who_is_refused_gets_a_reason_and_a_normal_closure(tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, "nobody") as socket:
        assert await heard(socket) == {"type": "disconnect", "reason": "unauthorized", "reconnect": False}
        with pytest.raises(ConnectionClosed) as closed:
            await heard(socket)
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1000


async def test_a_restart_says_so_and_goes_away(tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server) as socket, trio.open_nursery() as nursery:
        assert (await heard(socket))["type"] == "welcome"
        nursery.start_soon(server.stop)
        assert await heard(socket) == {"type": "disconnect", "reason": "server_restart", "reconnect": True}
        with pytest.raises(ConnectionClosed) as closed:
            await heard(socket)
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1001


async def test_a_client_without_a_subprotocol_speaks_the_base_protocol(tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, protocol=None) as socket:
        assert await heard(socket) == {"type": "welcome"}


@pytest.mark.parametrize("identifier", [ONE, BOARD])
async def test_who_is_cut_off_again_and_again_gets_every_message_once_and_in_order(
    identifier: str, tmp_path: Path
) -> None:
    """While messages stream into two conversations, with nothing but the positions that the client keeps."""
    async with live_server(tmp_path) as server, trio.open_nursery() as nursery:
        nursery.start_soon(stream, server)
        streams = ("conversation:1",) if identifier == ONE else ("conversation:1", "conversation:3")
        reader = Reader(identifier, {stream: [] for stream in streams})
        with trio.fail_after(30):
            while not reader.complete:
                async with connected(server) as socket:
                    await reader.read_some(socket, server.engine.epoch)
        assert reader.seqs == {stream: list(range(1, MESSAGES + 1)) for stream in streams}
        assert reader.resumes > 3


async def stream(server: LiveServer) -> None:
    for number in range(MESSAGES):
        await say(server, 1, str(number))
        await say(server, 3, str(number))


class Reader:
    """A client that keeps its positions and is cut off after every 30 events."""

    def __init__(self, identifier: str, seqs: dict[str, list[int]]) -> None:
        self.identifier = identifier
        self.seqs = seqs
        self.resumes = 0

    @property
    def complete(self) -> bool:
        return all(len(seqs) >= MESSAGES for seqs in self.seqs.values())

    async def read_some(self, socket: WebSocketConnection, epoch: str) -> None:
        self.resumes += 1
        positions = {stream: {"epoch": epoch, "offset": seqs[-1] if seqs else 0} for stream, seqs in self.seqs.items()}
        await command(socket, "subscribe", self.identifier, history={"streams": positions})
        for _ in range(30):
            while "offset" not in (event := await heard(socket)):
                assert event.get("type") != "reject_history"
            self.seqs[event["stream_id"]].append(event["offset"])
            if self.complete:
                return


@pytest.mark.parametrize(("token", "answer"), [("bo", "pong"), ("visitor%201", 1009)])
async def test_a_member_may_send_more_at_once_than_a_visitor(token: str, answer: object, tmp_path: Path) -> None:
    """A dashboard that comes back names its position in every conversation that it has seen."""
    async with live_server(tmp_path) as server, connected(server, token) as socket:
        assert (await heard(socket))["type"] == "welcome"
        await command(socket, "ping", "", padding="x" * 100_000)
        try:
            got: object = (await heard(socket))["type"]
        except ConnectionClosed as closed:
            got = closed.reason.code if closed.reason else None
    assert got == answer
