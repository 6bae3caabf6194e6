"""Newcomers get their share of each pass, in the order in which they came, and nobody else waits for more than that."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import trio
from trio.testing import MockClock

from tertulia.engine.arrivals import PASSES_BETWEEN, Arrivals
from tertulia.engine.config import SocketLimits
from tertulia.engine.reactor import Reactor
from tertulia.engine.sockets import READ, WRITE

from .sockets import Line, settle, socket_pair
from .wire import TEXT, client_frame

SHARE = 0.001


class Clock:
    """Time that passes only where a handler takes it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Newcomer:
    """Takes time for what it is told, and reads what is there."""

    def __init__(self, number: int, told: list[int], act: Callable[[], None] = lambda: None) -> None:
        self.sock, self.client = socket_pair()
        self.number = number
        self.told = told
        self.act = act
        self.errors: list[Exception] = []

    def on_readable(self) -> None:
        self.told.append(self.number)
        if self.sock.fileno() >= 0:
            self.sock.recv(65536)
        self.act()

    def on_writable(self) -> None:
        self.told.append(-self.number)

    def abandon(self) -> None: ...

    def on_deadline(self) -> None: ...

    def on_error(self, error: Exception) -> None:
        self.errors.append(error)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def arrivals(clock: Clock) -> Iterator[Arrivals]:
    arrivals = Arrivals(SHARE, clock)
    yield arrivals
    arrivals.close()


def come(arrivals: Arrivals, told: list[int], count: int, act: Callable[[], None] = lambda: None) -> list[Newcomer]:
    """So many newcomers that have something to say, the first one first."""
    newcomers = [Newcomer(number, told, act) for number in range(1, count + 1)]
    for newcomer in newcomers:
        arrivals.watch(newcomer.sock, newcomer)
        newcomer.client.send(b"x")
    return newcomers


def test_a_pass_ends_with_the_handler_that_uses_the_share_up_and_the_next_one_goes_on(
    arrivals: Arrivals, clock: Clock
) -> None:
    told: list[int] = []

    def work() -> None:
        clock.now += 0.4 * SHARE

    come(arrivals, told, 7, work)
    passes: list[list[int]] = []
    for _ in range(4):
        told.clear()
        arrivals.on_readable()
        passes.append(list(told))
    assert passes == [[1, 2, 3], [4, 5, 6], [7], []]


def test_who_comes_again_waits_behind_those_who_have_not_had_their_turn(arrivals: Arrivals, clock: Clock) -> None:
    told: list[int] = []

    def work() -> None:
        clock.now += 2 * SHARE

    first, *_ = come(arrivals, told, 3, work)
    for _ in range(4):
        arrivals.on_readable()
        first.client.send(b"more")
    assert told == [1, 2, 3, 1]


def test_a_clock_that_stands_still_for_a_while_lets_everybody_through_once(arrivals: Arrivals) -> None:
    told: list[int] = []
    first, *_ = come(arrivals, told, 20)

    def ask_for_more() -> None:
        first.client.send(b"again and again")

    first.act = ask_for_more
    arrivals.on_readable()
    assert told == list(range(1, 21))


def test_however_small_the_share_is_one_is_told_in_each_pass(clock: Clock) -> None:
    told: list[int] = []
    arrivals = Arrivals(1e-9, clock)

    def work() -> None:
        clock.now += 0.0156  # as far as a coarse clock goes at once

    come(arrivals, told, 3, work)
    for _ in range(3):
        arrivals.on_readable()
    arrivals.close()
    assert told == [1, 2, 3]


def test_an_error_in_a_newcomer_s_handler_is_its_own(arrivals: Arrivals) -> None:
    told: list[int] = []
    newcomers = come(arrivals, told, 3)

    def fail() -> None:
        raise RuntimeError("a bug")

    newcomers[1].act = fail
    arrivals.on_readable()
    assert told == [1, 2, 3]
    assert [len(newcomer.errors) for newcomer in newcomers] == [0, 1, 0]


def test_a_newcomer_that_was_closed_after_it_was_listed_takes_no_other_one_s_place(
    arrivals: Arrivals, clock: Clock
) -> None:
    told: list[int] = []

    def work() -> None:
        clock.now += SHARE

    newcomers = come(arrivals, told, 3, work)
    arrivals.on_readable()
    closed = newcomers[1]
    descriptor = closed.sock.fileno()
    arrivals.forget(closed.sock)
    closed.sock.close()
    fresh = Newcomer(9, told, work)
    assert descriptor in (fresh.sock.fileno(), fresh.client.fileno())
    arrivals.watch(fresh.sock, fresh)
    for _ in range(3):
        arrivals.on_readable()
    assert told == [1, 2, 3]  # the second handler was told, as `forget` says, and looked first; the fresh one was not
    fresh.client.send(b"x")
    arrivals.on_readable()
    assert told == [1, 2, 3, 9]


def test_a_newcomer_hears_that_it_can_write_if_it_asked(arrivals: Arrivals) -> None:
    told: list[int] = []
    newcomer = Newcomer(1, told)
    arrivals.watch(newcomer.sock, newcomer, READ | WRITE)
    arrivals.on_readable()
    arrivals.watch(newcomer.sock, newcomer, 0)
    arrivals.on_readable()
    assert told == [-1]
    assert len(arrivals) == 0
    arrivals.forget(newcomer.sock)  # unknown by now, and no error


def test_closing_closes_whoever_is_still_there(clock: Clock) -> None:
    told: list[int] = []
    arrivals = Arrivals(SHARE, clock)
    newcomers = come(arrivals, told, 2)
    arrivals.close()
    assert [newcomer.sock.fileno() for newcomer in newcomers] == [-1, -1]
    arrivals.forget(newcomers[0].sock)  # too late, and no error


async def test_between_two_newcomers_everybody_else_is_told_several_times(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """With a share that is used up by one of them."""
    reactor = Reactor(arrivals_share=1e-9)
    told: list[int] = []
    resident = Newcomer(0, told)

    def go_on_speaking() -> None:
        if 5 not in told:
            resident.client.send(b"x")

    resident.act = go_on_speaking
    resident.client.send(b"x")
    reactor.watch(resident.sock, resident)
    come(reactor.arrivals, told, 5)
    nursery.start_soon(reactor.run)
    await settle()
    reactor.close()
    assert [number for number in told if number] == [1, 2, 3, 4, 5]
    turns = [told.index(number + 1) - told.index(number) - 1 for number in range(1, 5)]
    assert min(turns) >= PASSES_BETWEEN


async def test_a_connection_is_a_newcomer_until_its_first_message_and_never_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    reactor = Reactor()
    nursery.start_soon(reactor.run)
    line = Line(reactor, SocketLimits())
    assert len(reactor.arrivals) == 1
    message = client_frame(TEXT, b"hello")
    line.client.send(message[:4])
    await settle()
    assert len(reactor.arrivals) == 1
    line.client.send(message[4:])
    await settle()
    assert (len(reactor.arrivals), reactor.statistics().sockets) == (0, 1)
    line.connection.pause_reading()
    line.connection.resume_reading()
    line.client.send(client_frame(TEXT, b"again"))
    await settle()
    assert line.peer.texts == [b"hello", b"again"]
    assert len(reactor.arrivals) == 0
    reactor.close()


async def test_a_newcomer_that_never_speaks_gets_what_is_sent_to_it_however_slowly_it_reads(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    reactor = Reactor()
    nursery.start_soon(reactor.run)
    line = Line(reactor, SocketLimits(), buffer=4096)
    sent = bytes(300_000)
    line.connection.outbox.send(sent)
    arrived = 0
    while arrived < len(sent):
        await settle()
        arrived += len(line.client.recv(65536))
    assert line.connection.outbox.waiting == 0
    line.connection.close()
    line.client.close()
    await settle()
    assert line.ended
    assert reactor.statistics().sockets == 0
    reactor.close()
