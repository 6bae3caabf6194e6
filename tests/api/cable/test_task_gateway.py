"""The door without a reactor: trio-websocket on both sides, and the same outbox in between."""

from __future__ import annotations

import json
import socket as sockets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from socket import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from tertulia.api.cable.ports import Transport
from tertulia.api.cable.protocol import CableProtocol
from tertulia.api.cable.task_gateway import TaskFrontDoor
from tertulia.api.server import open_server
from tertulia.api.settings import ServerSettings, Settings
from tertulia.engine.config import SocketLimits
from tertulia.engine.frames import Violation, frame
from tertulia.engine.handshake import UpgradeRequest
from tertulia.engine.hub import Hub
from tertulia.engine.reactor import Reactor

from .stage import open_stage

LIMITS = SocketLimits(outbox=64 * 1024)


class Raw:
    """A format that shows a publication as it is."""

    def frame(self, publication: bytes) -> bytes:
        return frame(publication)


RAW = Raw()


class Member:
    """Joins the one topic; sends every message back; fails where it is told to."""

    def __init__(self, cable: Cable, transport: Transport) -> None:
        self.cable = cable
        self.transport = transport
        self.closings = 0
        self.received_texts: list[bytes] = []
        cable.sessions.add(self)
        cable.hub.join("topic", RAW, transport.outbox)

    def received(self, first: int, payload: bytes) -> None:
        self.received_texts.append(payload)
        if payload == b"bug":
            raise RuntimeError("the session has a bug")
        if payload == b"violate":
            raise Violation(1008, "not like this")
        if payload == b"pause":
            self.transport.pause_reading()
        if payload == b"bye":
            self.transport.close(1001, "going", last=frame(b"goodbye"))
        self.transport.outbox.send(frame(payload, first))

    def farewell(self) -> bytes:
        return frame(b"too_slow")

    def closed(self) -> None:
        assert not self.cable.publishing, "a broadcast closed a session while it iterated over the subscribers"
        self.closings += 1
        self.cable.sessions.discard(self)
        self.cable.hub.leave("topic", RAW, self.transport.outbox)


class Cable:
    def __init__(self) -> None:
        self.hub: Hub[bytes] = Hub()
        self.sessions: set[Member] = set()
        self.members: list[Member] = []
        self.handed_over: list[socket] = []
        self.requests: list[UpgradeRequest] = []
        self.publishing = False

    def connect(self, request: UpgradeRequest, transport: Transport, protocol: CableProtocol) -> Member:
        self.requests.append(request)
        self.members.append(Member(self, transport))
        return self.members[-1]

    def publish(self, publication: bytes) -> None:
        self.publishing = True
        self.hub.publish("topic", [publication])
        self.publishing = False


class House:
    def __init__(self) -> None:
        self.cable = Cable()
        self.listener = sockets.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.door = TaskFrontDoor(self.listener, self.cable, self.cable.handed_over.append, LIMITS)
        self.address: tuple[str, int] = self.listener.getsockname()

    @asynccontextmanager
    async def connect(self, *subprotocols: str, path: str = "/cable") -> AsyncGenerator[WebSocketConnection]:
        """trio-websocket as the client. Its own `open_websocket` leaves the stream open when the server ends first."""
        async with await trio.open_tcp_stream(*self.address) as stream, trio.open_nursery() as nursery:
            yield await wrap_client_stream(nursery, stream, "chat.example", path, subprotocols=subprotocols)
            nursery.cancel_scope.cancel()


@pytest.fixture
async def house(nursery: trio.Nursery) -> AsyncIterator[House]:
    house = House()
    nursery.start_soon(house.door.run)
    yield house
    house.door.close()
    for sock in house.cable.handed_over:
        sock.close()


async def test_messages_go_both_ways_as_text_and_as_bytes(house: House, autojump_clock: MockClock) -> None:
    async with house.connect("actioncable-v1-json", path="/cable?token=t") as client:
        await client.send_message("olé")
        assert await client.get_message() == "olé"
        await client.send_message(b"\xff")
        assert await client.get_message() == b"\xff"
        assert client.subprotocol == "actioncable-v1-json"
    (request,) = house.cable.requests
    assert request.query == {"token": "t"}
    await wait_all_tasks_blocked()
    assert house.cable.members[0].closings == 1
    assert not house.cable.sessions


async def test_a_publication_reaches_every_subscriber_in_order(house: House, autojump_clock: MockClock) -> None:
    async with house.connect() as one, house.connect() as two:
        for client in (one, two):
            await client.send_message("here")
            await client.get_message()
        for number in range(50):
            house.cable.publish(b"%d" % number)
        for client in (one, two):
            assert [await client.get_message() for _ in range(50)] == [str(number) for number in range(50)]


async def test_a_message_of_exactly_the_limit_arrives_and_a_longer_one_is_refused(
    house: House, autojump_clock: MockClock
) -> None:
    async with house.connect() as client:
        await client.send_message("x" * LIMITS.message)
        assert len(await client.get_message()) == LIMITS.message
        await client.send_message("x" * (LIMITS.message + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await client.get_message()
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1009


async def read_until_the_end(client: WebSocketConnection) -> None:
    while True:
        assert await client.get_message() == "goodbye"


@pytest.mark.parametrize(("message", "code"), [("bug", 1011), ("violate", 1008), ("bye", 1001)])
async def test_an_ending_has_its_code_and_ends_one_session_once(
    house: House, autojump_clock: MockClock, message: str, code: int
) -> None:
    async with house.connect() as other, house.connect() as client:
        await client.send_message(message)
        with pytest.raises(ConnectionClosed) as closed:
            await read_until_the_end(client)
        await other.send_message("hello")
        assert await other.get_message() == "hello"
    assert closed.value.reason is not None
    assert closed.value.reason.code == code
    await wait_all_tasks_blocked()
    assert [member.closings for member in house.cable.members] == [1, 1]


async def test_a_door_is_empty_when_the_last_connection_has_ended(house: House, autojump_clock: MockClock) -> None:
    emptied = trio.Event()

    async def wait() -> None:
        await house.door.emptied()
        emptied.set()

    async with trio.open_nursery() as nursery:
        async with house.connect() as client:
            await client.send_message("hello")
            await client.get_message()
            nursery.start_soon(wait)
            await trio.sleep(1)
            assert not emptied.is_set()
        await emptied.wait()


async def test_a_paused_connection_reads_nothing_until_it_resumes(house: House, autojump_clock: MockClock) -> None:
    async with house.connect() as client:
        await client.send_message("pause")
        await client.send_message("after")
        await wait_all_tasks_blocked()
        (member,) = house.cable.members
        assert member.received_texts == [b"pause"]
        member.transport.resume_reading()
        await wait_all_tasks_blocked()
        assert member.received_texts == [b"pause", b"after"]


def slow_client(house: House) -> socket:
    """A client that has upgraded and reads nothing."""
    client = sockets.socket()
    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    client.connect(house.address)
    client.send(
        b"GET /cable HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    client.setblocking(False)
    return client


async def test_a_subscriber_that_reads_too_slowly_leaves_and_the_others_miss_nothing(
    house: House, autojump_clock: MockClock
) -> None:
    with slow_client(house):
        await wait_all_tasks_blocked()
        async with house.connect() as other:
            await other.send_message("here")
            await other.get_message()
            slow, sound = house.cable.members
            count = 0
            while not slow.closings:
                house.cable.publish(b"%06d" % count + b"." * 32_000)
                assert slow.transport.outbox.waiting <= LIMITS.outbox + 2 * 33_000
                message = await other.get_message()
                assert message[:6] == f"{count:06}"
                count += 1
                await wait_all_tasks_blocked()
            assert (sound.closings, slow.closings) == (0, 1)
            assert house.cable.hub.statistics().subscriptions == 1
            await trio.sleep(LIMITS.close_timeout + 1)
            assert slow.transport.outbox.waiting == 0


async def test_anything_else_is_handed_over_unread(house: House, autojump_clock: MockClock) -> None:
    request = b"POST /api/v1/messages HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    with sockets.create_connection(house.address) as client:
        client.send(request[:20])
        await wait_all_tasks_blocked()
        client.send(request[20:])
        await trio.sleep(1)
        (sock,) = house.cable.handed_over
        assert sock.recv(1000) == request


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (b"400", b"\x16\x03\x01\x02\x00\x01\x00"),
        (b"400", b"GET /cable HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"408", b"GET /cable HTTP/1.1\r\n"),
        (b"431", b"GET /" + b"x" * LIMITS.head),
    ],
)
async def test_what_is_no_acceptable_upgrade_is_answered_and_let_go(
    house: House, autojump_clock: MockClock, status: bytes, data: bytes
) -> None:
    with sockets.create_connection(house.address) as client:
        client.setblocking(False)
        client.send(data)
        await trio.sleep(LIMITS.head_timeout + 1)
        assert client.recv(65536).startswith(b"HTTP/1.1 " + status)
        assert client.recv(1) == b""


async def test_over_the_bound_of_sessions_an_upgrade_is_refused(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    house = House()
    house.door = TaskFrontDoor(house.listener, house.cable, house.cable.handed_over.append, SocketLimits(connections=1))
    nursery.start_soon(house.door.run)
    async with house.connect():
        with pytest.RaisesGroup(pytest.RaisesExc(ConnectionRejected, check=lambda error: error.status_code == 503)):
            async with house.connect():
                pass
    house.door.close()


@pytest.mark.parametrize("has_reactor", [True, False])
async def test_a_server_serves_the_same_sessions_with_and_without_a_reactor(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, has_reactor: bool
) -> None:
    monkeypatch.setattr(Reactor, "available", staticmethod(lambda: has_reactor))
    settings = Settings(server=ServerSettings(bind="127.0.0.1:0", drain_window=0.1))
    identifier = '{"channel":"ConversationChannel","id":1}'
    data = json.dumps({"action": "send_message", "content": "hello", "client_id": "1"})
    async with (
        open_stage(settings=settings) as (engine, _),
        open_server(engine, settings) as server,
        await trio.open_tcp_stream(server.host, server.port) as stream,
        trio.open_nursery() as nursery,
    ):
        client = await wrap_client_stream(
            nursery, stream, "chat.example", "/cable?token=ana", subprotocols=["actioncable-v1-json"]
        )
        await client.send_message(json.dumps({"command": "subscribe", "identifier": identifier}))
        await client.send_message(json.dumps({"command": "message", "identifier": identifier, "data": data}))
        answers = [json.loads(await client.get_message()) for _ in range(3)]
        nursery.cancel_scope.cancel()
    assert [answer.get("type") for answer in answers] == ["welcome", "confirm_subscription", None]
    assert answers[2]["message"]["data"]["content"] == "hello"
