"""A crowd at the door: what each of it is sent arrives at once and in order, and a door that closes keeps its word."""

from __future__ import annotations

import socket as sockets
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.api.cable.ports import Transport
from tertulia.api.cable.protocol import CableProtocol
from tertulia.api.front_door import ACCEPTS_PER_EVENT
from tertulia.engine.config import SocketLimits
from tertulia.engine.frames import frame
from tertulia.engine.handshake import UpgradeRequest

from ..autobahn.echo import Echo
from ..engine.wire import TEXT, client_frame
from .test_front_door import Cable, House, received, upgrade

WELCOME = frame(b'{"type":"welcome"}')
#: As many visits as are accepted at once: then the door is full without having noticed.
CROWD = SocketLimits(head=1024, visits=ACCEPTS_PER_EVENT)


class Greeting(Cable):
    """Knows everybody at once."""

    def connect(self, request: UpgradeRequest, transport: Transport, protocol: CableProtocol) -> Echo:
        session = super().connect(request, transport, protocol)
        transport.outbox.send(WELCOME)
        return session


class Refusing(Cable):
    """Sends everybody away on the spot."""

    def connect(self, request: UpgradeRequest, transport: Transport, protocol: CableProtocol) -> Echo:
        session = super().connect(request, transport, protocol)
        transport.close(last=WELCOME)
        return session


class Asking(Cable):
    """Has to find out first who somebody is."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__()
        self._nursery = nursery
        self.known = trio.Event()

    def connect(self, request: UpgradeRequest, transport: Transport, protocol: CableProtocol) -> Echo:
        self._nursery.start_soon(self._greet, transport)
        return super().connect(request, transport, protocol)

    async def _greet(self, transport: Transport) -> None:
        await self.known.wait()
        transport.outbox.send(WELCOME)


@pytest.fixture
def house() -> Iterator[House]:
    house = House(CROWD)
    yield house
    house.close()


def use(house: House, cable: Cable) -> None:
    house.cable = house.door.gateway = cable


async def test_who_is_known_at_once_gets_the_answer_and_the_welcome_together(
    house: House, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(house.reactor.run)
    use(house, Greeting())
    client = house.client(upgrade())
    await wait_all_tasks_blocked()
    head, _, rest = received(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert rest == WELCOME
    client.send(client_frame(TEXT, b"hello"))
    await wait_all_tasks_blocked()
    assert received(client) == frame(b"hello")


async def test_who_is_not_known_yet_gets_the_answer_without_waiting_for_the_welcome(
    house: House, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(house.reactor.run)
    cable = Asking(nursery)
    use(house, cable)
    client = house.client(upgrade())
    await wait_all_tasks_blocked()
    head = received(client)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert head.endswith(b"\r\n\r\n")
    cable.known.set()
    await wait_all_tasks_blocked()
    assert received(client) == WELCOME


async def test_who_is_sent_away_at_once_gets_the_answer_and_the_reason(
    house: House, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(house.reactor.run)
    use(house, Refusing())
    client = house.client(upgrade())
    await wait_all_tasks_blocked()
    head, _, rest = received(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert rest.startswith(WELCOME)
    client.close()
    await wait_all_tasks_blocked()
    assert house.reactor.statistics().sockets == 1  # the listener


async def test_a_client_that_has_gone_before_its_answer_leaves_nothing(
    house: House, nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    use(house, Greeting())
    client = house.client(upgrade())
    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    house.reactor.arrivals.on_readable()
    client.close()
    nursery.start_soon(house.reactor.run)
    await wait_all_tasks_blocked()
    assert house.reactor.statistics().sockets == 1
    assert not house.door.visits
    assert not house.cable.sessions
    assert caplog.records == []


async def test_a_door_that_closes_while_it_is_full_lets_go_of_those_who_are_inside_in_order(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(CROWD, share=1e-9)  # one handler in each pass
    look = house.reactor.arrivals.on_readable
    waiting = [house.client() for _ in range(CROWD.visits)]
    look()
    assert len(house.door.visits) == CROWD.visits
    look()  # there is nobody: from now on, who comes first is first
    waiting[0].send(b"GET ")
    house.client()
    look()  # at the first one; that somebody is at the door is known by now
    house.door.close()
    look()
    waiting[0].send(b"/healthz HTTP/1.1\r\n\r\n")
    nursery.start_soon(house.reactor.run)
    await wait_all_tasks_blocked()
    assert len(house.handed_over) == 1
    await trio.sleep(CROWD.visit_grace + CROWD.head_timeout)
    assert received(waiting[1]).startswith(b"HTTP/1.1 408 ")
    assert caplog.records == []
    house.close()
