"""Readiness, deadlines and errors of handlers that share one task."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from socket import socket

import pytest
import trio
from trio.testing import MockClock

from tertulia.engine.arrivals import PASSES_BETWEEN
from tertulia.engine.reactor import SWEEP_INTERVAL, Reactor
from tertulia.engine.sockets import READ, WRITE

from .sockets import settle, socket_pair


class Handler:
    """Writes down what it is told; reads what is there, unless it has something else to do."""

    def __init__(self, sock: socket, act: Callable[[], None] | None = None) -> None:
        self.sock = sock
        self.act = act
        self.heard: list[str] = []
        self.errors: list[Exception] = []
        self.when: list[float] = []

    def on_readable(self) -> None:
        self.heard.append("readable")
        if self.sock.fileno() >= 0:
            self.sock.recv(65536)
        if self.act is not None:
            self.act()

    def on_writable(self) -> None:
        self.heard.append("writable")

    def abandon(self) -> None: ...

    def on_deadline(self) -> None:
        self.heard.append("deadline")
        self.when.append(trio.current_time())
        if self.act is not None:
            self.act()

    def on_error(self, error: Exception) -> None:
        self.errors.append(error)


def fail() -> None:
    raise RuntimeError("a bug")


def test_this_platform_has_a_selector_that_trio_can_wait_on() -> None:
    assert Reactor.available()


async def test_a_handler_hears_what_it_asked_for_and_nothing_after_it_is_forgotten(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    ours, theirs = socket_pair()
    handler = Handler(ours)
    reactor.watch(ours, handler, READ)
    theirs.send(b"x")
    await settle()
    reactor.watch(ours, handler, 0)
    theirs.send(b"x")
    await settle()
    assert handler.heard == ["readable"]
    reactor.forget(ours)  # unknown by now, and no error
    assert reactor.statistics().sockets == 0


async def test_an_error_in_a_handler_is_its_own_and_the_others_go_on(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    pairs = [socket_pair() for _ in range(5)]
    handlers = [Handler(ours, fail if number == 1 else None) for number, (ours, _) in enumerate(pairs)]
    for handler in handlers:
        reactor.watch(handler.sock, handler)
    for _ in range(2):
        for _, theirs in pairs:
            theirs.send(b"x")
        await settle()
    assert [handler.heard for handler in handlers] == [["readable"] * 2] * 5
    assert [len(handler.errors) for handler in handlers] == [0, 2, 0, 0, 0]


async def test_an_error_at_a_deadline_or_in_work_for_soon_is_the_handler_s_too(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    ours, _ = socket_pair()
    failing, sound = Handler(ours, fail), Handler(ours)
    reactor.set_deadline(failing, 0.1)
    reactor.set_deadline(sound, 0.1)
    reactor.call_soon(failing, fail)
    await trio.sleep(2 * SWEEP_INTERVAL)
    reactor.set_deadline(sound, 0.1)
    await trio.sleep(2 * SWEEP_INTERVAL)
    assert len(failing.errors) == 2
    assert sound.heard == ["deadline", "deadline"]


async def test_a_deadline_comes_once_in_time_unless_it_is_moved_or_taken_back(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    ours, _ = socket_pair()
    kept, moved, taken = Handler(ours), Handler(ours), Handler(ours)
    began = trio.current_time()
    for handler in (kept, moved, taken):
        reactor.set_deadline(handler, 2)
    reactor.set_deadline(moved, 7)
    reactor.set_deadline(taken, None)
    await trio.sleep(20)
    assert taken.heard == []
    assert [when - began for when in kept.when] == [pytest.approx(2, abs=SWEEP_INTERVAL)]
    assert [when - began for when in moved.when] == [pytest.approx(7, abs=SWEEP_INTERVAL)]


async def test_a_deadline_may_take_back_another_of_the_same_moment(reactor: Reactor, autojump_clock: MockClock) -> None:
    ours, _ = socket_pair()
    second = Handler(ours)
    first = Handler(ours, lambda: reactor.set_deadline(second, None))
    reactor.set_deadline(first, 1)
    reactor.set_deadline(second, 1)
    await trio.sleep(5)
    assert (first.heard, second.heard) == (["deadline"], [])


async def test_work_for_soon_is_done_without_waiting_for_a_socket_or_the_clock(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    ours, _ = socket_pair()
    done: list[float] = []
    began = trio.current_time()
    reactor.call_soon(Handler(ours), lambda: done.append(trio.current_time()))
    assert done == []
    await settle()
    assert done == [began]


async def test_other_tasks_get_their_turns_between_slices(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    reactor = Reactor(slice_size=2)
    turns: list[str] = []
    pairs = [socket_pair() for _ in range(6)]
    for ours, theirs in pairs:
        reactor.watch(ours, Handler(ours, lambda: turns.append("socket")))
        theirs.send(b"x")

    async def neighbour() -> None:
        while turns.count("socket") < len(pairs):
            turns.append("neighbour")
            await trio.lowlevel.checkpoint()

    nursery.start_soon(reactor.run)
    nursery.start_soon(neighbour)
    await settle()
    reactor.close()
    between = "".join(turn[0] for turn in turns).strip("n")
    assert between.count("s") == 6
    assert "sssss" not in between  # within one round of the scheduler the order is random: two slices may touch


async def test_a_reused_descriptor_never_hears_of_the_old_socket_s_readiness(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    pairs = [socket_pair() for _ in range(4)]
    newcomers: list[Handler] = []
    reused: list[bool] = []

    def replace_the_others() -> None:
        """Whoever is first closes all others, which are in the same list, and takes their descriptors."""
        if newcomers:
            return
        for handler in handlers:
            if handler.heard:
                continue
            descriptor = handler.sock.fileno()
            reactor.forget(handler.sock)
            handler.sock.close()
            fresh, other = socket_pair()
            reused.append(descriptor in (fresh.fileno(), other.fileno()))
            newcomers.append(Handler(fresh))
            reactor.watch(fresh, newcomers[-1])

    handlers = [Handler(ours, replace_the_others) for ours, _ in pairs]
    for handler, (_, theirs) in zip(handlers, pairs, strict=True):
        reactor.watch(handler.sock, handler)
        theirs.send(b"x")
    await settle()
    assert reused == [True] * 3
    assert [newcomer.heard for newcomer in newcomers] == [[]] * 3


async def test_waiting_to_write_wakes_once_it_is_possible(reactor: Reactor, autojump_clock: MockClock) -> None:
    ours, _ = socket_pair()
    handler = Handler(ours, None)
    reactor.watch(ours, handler, WRITE)
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
    reactor.forget(ours)
    assert "writable" in handler.heard


async def test_closing_the_reactor_closes_the_sockets_that_it_watches() -> None:
    reactor = Reactor()
    ours, theirs = socket_pair()
    reactor.watch(ours, Handler(ours))
    reactor.close()
    assert theirs.recv(1) == b""


async def test_sockets_that_are_ready_all_the_time_are_handled_together(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    reactor = Reactor(gather=0.001)
    pairs = [socket_pair() for _ in range(3)]
    handled: list[float] = []
    for ours, _ in pairs:
        reactor.watch(ours, Handler(ours, lambda: handled.append(trio.current_time())))
    nursery.start_soon(reactor.run)
    began = trio.current_time()
    pairs[0][1].send(b"x")  # after a silence: at once
    await settle()
    assert handled == [began]
    for _, theirs in pairs:
        theirs.send(b"x")
    await trio.sleep(0.0009)
    assert handled == [began]
    await trio.sleep(0.0002)
    assert handled[1:] == [pytest.approx(began + 0.001)] * 3
    await trio.sleep(1)
    pairs[0][1].send(b"x")
    asked = trio.current_time()
    await settle()
    assert handled[4:] == [asked]
    reactor.close()


async def test_between_two_shares_of_newcomers_the_other_tasks_get_several_turns(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    reactor = Reactor()
    ours, theirs = socket_pair()
    turn = 0
    shares: list[int] = []
    reactor.arrivals.watch(ours, Handler(ours, lambda: shares.append(turn)))
    nursery.start_soon(reactor.run)
    await settle()
    while (turn := turn + 1) < 40:
        theirs.send(b"x")  # somebody is always new
        await trio.lowlevel.checkpoint()
    assert len(shares) > 3
    assert all(later - earlier >= PASSES_BETWEEN for earlier, later in pairwise(shares))
    reactor.close()


async def test_nobody_waits_for_company_while_newcomers_have_to_be_greeted(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    reactor = Reactor(gather=0.001)
    handled: list[float] = []
    ours, theirs = socket_pair()
    reactor.arrivals.watch(ours, Handler(ours, lambda: handled.append(trio.current_time())))
    nursery.start_soon(reactor.run)
    began = trio.current_time()
    for _ in range(3):
        theirs.send(b"x")
        await settle()
    assert handled == [began] * 3
    reactor.close()
