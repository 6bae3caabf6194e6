"""What becomes of a connection before it is a session: upgraded, handed over or refused, never forgotten or spun on."""

from __future__ import annotations

import errno
import socket as sockets
from collections.abc import Iterator
from socket import socket
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.utilities import generate_accept_token

from tertulia.api.cable.ports import Transport
from tertulia.api.cable.protocol import CableProtocol
from tertulia.api.front_door import ACCEPT_PAUSE, FrontDoor
from tertulia.engine import frames
from tertulia.engine.config import SocketLimits
from tertulia.engine.connection import Connection
from tertulia.engine.frames import frame
from tertulia.engine.handshake import UpgradeRequest
from tertulia.engine.reactor import SWEEP_INTERVAL, Reactor

from ..autobahn.echo import Echo
from ..engine.wire import TEXT, client_frame

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
LIMITS = SocketLimits(head=1024, visits=8, connections=3)


def upgrade(target: str = "/cable", *lines: str, version: str = "13", key: bytes = KEY) -> bytes:
    head = [
        f"GET {target} HTTP/1.1",
        "Host: chat.example",
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Version: {version}",
        f"Sec-WebSocket-Key: {key.decode()}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode()


class Cable:
    """Echoes, and remembers what was asked for."""

    def __init__(self) -> None:
        self.sessions: set[Echo] = set()
        self.requests: list[UpgradeRequest] = []
        self.fail = False

    def connect(self, request: UpgradeRequest, transport: Transport, protocol: CableProtocol) -> Echo:
        self.requests.append(request)
        if self.fail:
            raise RuntimeError("the gateway has a bug")
        return Echo(transport, self.sessions)


class FullListener(socket):
    """A listener on a machine that has no descriptors left, for a while."""

    error: OSError | None = None
    attempts = 0

    def accept(self) -> tuple[socket, Any]:
        self.attempts += 1
        if self.error is not None:
            raise self.error
        return super().accept()


class House:
    """A front door with what is behind it, and clients in front of it."""

    def __init__(self, limits: SocketLimits = LIMITS, share: float = 0.001, **options: Any) -> None:
        self.listener = FullListener()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.reactor = Reactor(arrivals_share=share)
        self.cable = Cable()
        self.handed_over: list[socket] = []
        self.clients: list[socket] = []
        self.door = FrontDoor(self.listener, self.reactor, self.cable, self.handed_over.append, limits, **options)

    def client(self, data: bytes = b"") -> socket:
        client = sockets.create_connection(self.listener.getsockname())
        client.setblocking(False)
        client.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)  # what is sent is there at once
        self.clients.append(client)
        if data:
            client.send(data)
        return client

    async def answer(self, data: bytes) -> bytes:
        client = self.client(data)
        await wait_all_tasks_blocked()
        return received(client)

    @property
    def wakeups(self) -> int:
        return self.reactor.statistics().wakeups

    def close(self) -> None:
        self.door.close()
        self.reactor.close()
        for sock in self.clients + self.handed_over:
            sock.close()


def received(client: socket) -> bytes:
    try:
        return client.recv(65536)
    except BlockingIOError:
        return b""


def ended(client: socket) -> bool:
    """Whether the server has ended, in order: an answer that is still unread survives it."""
    while True:
        try:
            if client.recv(65536) == b"":
                return True
        except BlockingIOError:
            return False


@pytest.fixture
def houses() -> Iterator[list[House]]:
    houses: list[House] = []
    yield houses
    for house in houses:
        house.close()


@pytest.fixture
async def house(nursery: trio.Nursery, houses: list[House]) -> House:
    house = House()
    houses.append(house)
    nursery.start_soon(house.reactor.run)
    return house


async def test_an_upgrade_to_the_cable_path_becomes_a_session(house: House, autojump_clock: MockClock) -> None:
    client = house.client(upgrade("/cable?token=t%20k&x=", "Origin: https://chat.example", "X-Account-Id: 7"))
    await wait_all_tasks_blocked()
    head = received(client)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert generate_accept_token(KEY) in head
    (request,) = house.cable.requests
    assert (request.path, request.query, request.client) == ("/cable", {"token": "t k", "x": ""}, "127.0.0.1")
    assert request.headers["x-account-id"] == "7"
    client.send(client_frame(TEXT, b"hello"))
    await wait_all_tasks_blocked()
    assert received(client) == frame(b"hello")


async def test_frames_right_behind_the_head_are_not_lost(house: House, autojump_clock: MockClock) -> None:
    answer = await house.answer(upgrade() + client_frame(TEXT, b"impatient"))
    assert answer.endswith(b"\r\n\r\n" + frame(b"impatient"))


async def test_the_first_supported_subprotocol_is_selected_and_a_token_never_echoed(
    house: House, autojump_clock: MockClock
) -> None:
    offer = "Sec-WebSocket-Protocol: anycable-token.secret, actioncable-v1-ext-json, actioncable-v1-json"
    head = await house.answer(upgrade("/cable", offer))
    assert b"\r\nsec-websocket-protocol: actioncable-v1-ext-json\r\n" in head.lower()
    assert b"secret" not in head


async def test_a_client_that_offers_only_what_is_unknown_is_told_so_and_closed(
    house: House, autojump_clock: MockClock
) -> None:
    client = house.client(upgrade("/cable", "Sec-WebSocket-Protocol: chat-v9, actioncable-unsupported"))
    await wait_all_tasks_blocked()
    head, _, rest = received(client).partition(b"\r\n\r\n")
    assert b"\r\nsec-websocket-protocol: actioncable-unsupported\r\n" in head.lower()
    assert [first for first, _ in frames.payloads(rest)] == [frames.CLOSE]
    client.close()
    await wait_all_tasks_blocked()
    assert house.cable.requests == []
    assert house.reactor.statistics().sockets == 1  # the listener


async def test_anything_else_is_handed_over_unread(house: House, autojump_clock: MockClock) -> None:
    request = b"POST /api/v1/messages HTTP/1.1\r\nHost: chat.example\r\nContent-Length: 5\r\n\r\nhello"
    client = house.client(request[:40])
    await wait_all_tasks_blocked()
    client.send(request[40:])
    await wait_all_tasks_blocked()
    (sock,) = house.handed_over
    assert sock.recv(1000) == request
    assert sock.getsockopt(sockets.SOL_SOCKET, sockets.SO_RCVLOWAT) == 1
    await trio.sleep(LIMITS.head_timeout + 1)
    sock.send(b"still open")
    assert received(client) == b"still open"


async def test_a_head_that_comes_in_crumbs_wakes_the_reactor_once_for_each_crumb_at_most(
    house: House, autojump_clock: MockClock
) -> None:
    head = upgrade()
    # Single bytes at both ends; more packets than these would wait, in real time, for TCP's delayed acknowledgements.
    crumbs = [head[at : at + 1] for at in range(10)] + [head[10:-10]] + [head[at : at + 1] for at in range(-10, -1)]
    client = house.client()
    for crumb in [*crumbs, head[-1:]]:
        assert received(client) == b""
        client.send(crumb)
        await wait_all_tasks_blocked()
    assert received(client).startswith(b"HTTP/1.1 101 ")
    assert house.wakeups <= len(crumbs) + 2


async def test_a_head_that_stops_half_way_costs_nothing_while_it_waits_and_is_answered_408_in_time(
    house: House, autojump_clock: MockClock
) -> None:
    client = house.client(upgrade()[:50])
    await wait_all_tasks_blocked()
    before = house.wakeups
    await trio.sleep(LIMITS.head_timeout - 1)
    assert (house.wakeups, received(client)) == (before, b"")
    await trio.sleep(2)
    assert received(client).startswith(b"HTTP/1.1 408 ")
    assert ended(client)
    await trio.sleep(LIMITS.close_timeout + 1)
    assert house.reactor.statistics().sockets == 1


async def test_a_silent_connection_is_answered_408_in_time(house: House, autojump_clock: MockClock) -> None:
    client = house.client()
    await trio.sleep(LIMITS.head_timeout + 1)
    assert received(client).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (b"431", b"GET /cable HTTP/1.1\r\nX: " + b"x" * LIMITS.head),
        (b"431", b"GET /" + b"x" * 10 * LIMITS.head),
        (b"400", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500),  # TLS
        (b"400", b"\x00"),
        (b"400", b"get /cable"),
        (b"400", upgrade(key=b"c2hvcnQ=")),
        (b"400", upgrade(key=b"not base64 at all")),
        (b"400", upgrade().replace(b"Upgrade: websocket\r\n", b"")),
        (b"400", upgrade().replace(b"Connection: keep-alive, Upgrade\r\n", b"")),
        (b"400", upgrade().replace(b"Host: chat.example\r\n", b"")),
        (b"400", upgrade().replace(b"HTTP/1.1", b"HTTP/1.0")),
        (b"400", upgrade().replace(b"GET ", b"POST ")),
        (b"400", upgrade("/cable", "Content-Length: 5") + b"hello"),
        (b"400", upgrade("/cable", "Sec-WebSocket-Protocol: caf\N{LATIN SMALL LETTER E WITH ACUTE}")),
        (b"400", upgrade().replace(b"chat.example", b"\xff\xfe")),
        (b"400", upgrade("/cable", "no colon")),
        (b"426", upgrade(version="8")),
        (b"426", upgrade().replace(b"Sec-WebSocket-Version: 13\r\n", b"")),
    ],
    ids=lambda value: value.decode("latin-1")[:60] if isinstance(value, bytes) else None,
)
async def test_what_is_no_acceptable_upgrade_is_answered_at_once_and_let_go(
    house: House, autojump_clock: MockClock, status: bytes, data: bytes
) -> None:
    client = house.client(data)
    await wait_all_tasks_blocked()
    answer = received(client)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert (b"\r\nSec-WebSocket-Version: 13\r\n" in answer) == (status == b"426")
    assert ended(client)
    client.close()
    await wait_all_tasks_blocked()
    assert house.reactor.statistics().sockets == 1
    assert not house.door.visits


async def test_a_client_that_leaves_half_way_is_forgotten_without_spinning(
    house: House, autojump_clock: MockClock
) -> None:
    client = house.client(upgrade()[:50])
    await wait_all_tasks_blocked()
    client.shutdown(sockets.SHUT_WR)
    await wait_all_tasks_blocked()
    assert received(client).startswith(b"HTTP/1.1 400 ")
    assert house.wakeups < 10
    assert not house.door.visits


async def test_a_client_that_says_nothing_and_leaves_is_forgotten(house: House, autojump_clock: MockClock) -> None:
    house.client().close()
    await wait_all_tasks_blocked()
    assert not house.door.visits


async def test_without_descriptors_accepting_pauses_instead_of_spinning(
    house: House, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    house.listener.error = OSError(errno.EMFILE, "Too many open files")
    client = house.client(upgrade())
    await trio.sleep(10 * ACCEPT_PAUSE)
    assert 1 < house.listener.attempts <= 11
    assert len(caplog.records) == house.listener.attempts
    house.listener.error = None
    await trio.sleep(3 * ACCEPT_PAUSE)
    assert received(client).startswith(b"HTTP/1.1 101 ")


async def test_a_connection_that_was_gone_before_it_was_accepted_is_no_matter(
    house: House, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    house.listener.error = OSError(errno.ECONNABORTED, "Software caused connection abort")
    client = house.client(upgrade())
    await trio.lowlevel.checkpoint()
    house.listener.error = None
    await wait_all_tasks_blocked()
    assert received(client).startswith(b"HTTP/1.1 101 ")
    assert caplog.records == []


async def test_over_the_bound_the_oldest_of_those_that_have_not_said_what_they_want_goes(
    house: House, autojump_clock: MockClock
) -> None:
    waiting = [house.client(b"GET /slow") for _ in range(LIMITS.visits)]
    await trio.sleep(LIMITS.visit_grace)
    newcomer = house.client(upgrade())
    await wait_all_tasks_blocked()
    assert received(newcomer).startswith(b"HTTP/1.1 101 ")
    assert received(waiting[0]).startswith(b"HTTP/1.1 503 ")
    assert [received(client) for client in waiting[1:]] == [b""] * (LIMITS.visits - 1)


async def test_over_the_bound_of_visits_that_are_all_young_nobody_is_turned_away_nor_accepted(
    house: House, autojump_clock: MockClock
) -> None:
    waiting = [house.client(b"GET /slow") for _ in range(LIMITS.visits)]
    newcomer = house.client(upgrade())
    await wait_all_tasks_blocked()
    assert [received(client) for client in (*waiting, newcomer)] == [b""] * (LIMITS.visits + 1)
    assert len(house.door.visits) == LIMITS.visits


async def test_who_was_not_accepted_is_as_soon_as_a_visit_is_over(house: House, autojump_clock: MockClock) -> None:
    waiting = [house.client(b"GET /slow") for _ in range(LIMITS.visits)]
    newcomer = house.client(upgrade())
    await wait_all_tasks_blocked()
    waiting[3].send(b" HTTP/1.1\r\n\r\n")
    await wait_all_tasks_blocked()
    assert received(newcomer).startswith(b"HTTP/1.1 101 ")
    assert [received(client) for client in waiting] == [b""] * LIMITS.visits


async def test_visits_that_say_nothing_keep_nobody_out_for_longer_than_their_grace(
    house: House, autojump_clock: MockClock
) -> None:
    waiting = [house.client(b"GET /slow") for _ in range(LIMITS.visits)]
    newcomer = house.client(upgrade())
    await trio.sleep(LIMITS.visit_grace + SWEEP_INTERVAL)
    await wait_all_tasks_blocked()
    assert received(newcomer).startswith(b"HTTP/1.1 101 ")
    assert received(waiting[0]).startswith(b"HTTP/1.1 503 ")


async def test_over_the_bound_of_sessions_an_upgrade_is_refused_and_http_is_not(
    house: House, autojump_clock: MockClock
) -> None:
    for _ in range(LIMITS.connections):
        assert (await house.answer(upgrade())).startswith(b"HTTP/1.1 101 ")
    assert (await house.answer(upgrade())).startswith(b"HTTP/1.1 503 ")
    assert await house.answer(b"GET /healthz HTTP/1.1\r\n\r\n") == b""
    assert len(house.handed_over) == 1


@pytest.mark.parametrize(("origin", "status"), [("https://chat.example", b"101"), ("https://evil.example", b"403")])
async def test_only_configured_origins_may_connect(
    nursery: trio.Nursery, houses: list[House], autojump_clock: MockClock, origin: str, status: bytes
) -> None:
    house = House(origins=frozenset({"https://chat.example"}))
    houses.append(house)
    nursery.start_soon(house.reactor.run)
    assert (await house.answer(upgrade("/cable", f"Origin: {origin}"))).startswith(b"HTTP/1.1 " + status)
    assert (await house.answer(upgrade())).startswith(b"HTTP/1.1 403 ")


async def test_a_bug_behind_the_door_closes_that_connection_alone(
    house: House, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    house.cable.fail = True
    unlucky = house.client(upgrade())
    await wait_all_tasks_blocked()
    house.cable.fail = False
    assert ended(unlucky)
    assert "the gateway has a bug" in caplog.text
    assert (await house.answer(upgrade())).startswith(b"HTTP/1.1 101 ")


async def test_tcp_is_told_to_notice_peers_that_vanish(house: House, autojump_clock: MockClock) -> None:
    await house.answer(upgrade())
    (session,) = house.cable.sessions
    assert isinstance(session.connection, Connection)
    sock: socket = session.connection._sock  # pyright: ignore[reportPrivateUsage]
    assert sock.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE)
    if hasattr(sockets, "TCP_USER_TIMEOUT"):
        assert sock.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT) == LIMITS.peer_timeout * 1000


async def test_a_closed_door_refuses_new_connections_and_keeps_the_sessions(
    house: House, autojump_clock: MockClock
) -> None:
    client = house.client(upgrade())
    await wait_all_tasks_blocked()
    address = house.listener.getsockname()
    house.door.close()
    received(client)
    client.send(client_frame(TEXT, b"hello"))
    await wait_all_tasks_blocked()
    assert received(client) == frame(b"hello")
    with pytest.raises(ConnectionRefusedError):
        sockets.create_connection(address)
