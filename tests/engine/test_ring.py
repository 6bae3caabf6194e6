"""Many sends in one system call, on real sockets: what arrives, who is heard of, and what is done without it."""

from __future__ import annotations

import os
import resource
from itertools import count
from socket import socket

import pytest

from tertulia.engine.ring import ENTER, LARGEST, Ring, open_ring, system_call
from tertulia.engine.roster import Roster

from .sockets import read_all, socket_pair

FRAME = b"a frame for everybody"
SMALL = 4096  # bytes that a socket holds: about this


def full_pair() -> tuple[socket, socket]:
    ours, theirs = socket_pair(1)
    try:
        while True:
            ours.send(bytes(64))
    except BlockingIOError:
        return ours, theirs


def requests_to(ring: Ring, *sockets: socket, length: int = len(FRAME)) -> bytearray:
    """A request for each, tagged with its place."""
    return bytearray().join(ring.request(sock.fileno(), place, length) for place, sock in enumerate(sockets))


def test_everybody_gets_the_frame_however_often_the_ring_wraps_around(ring: Ring) -> None:
    pairs = [socket_pair() for _ in range(50)]
    requests = requests_to(ring, *(ours for ours, _ in pairs))
    for _ in range(3):
        assert ring.send(requests, FRAME) == []
    assert [read_all(theirs) for _, theirs in pairs] == [3 * FRAME] * 50


def test_only_those_that_take_less_than_all_are_heard_of_with_what_they_took(ring: Ring) -> None:
    large = os.urandom(LARGEST)
    ready, small, full, last = socket_pair(), socket_pair(SMALL), full_pair(), socket_pair()
    before = len(read_all(full[1]))
    full = full_pair()
    requests = requests_to(ring, ready[0], small[0], full[0], last[0], length=len(large))
    short = dict(ring.send(requests, large))
    assert set(short) == {1, 2}
    assert 0 < short[1] < len(large)
    assert short[2] == 0
    assert read_all(small[1]) == large[: short[1]]
    assert len(read_all(full[1])) == before
    assert read_all(ready[1]) == read_all(last[1]) == large


def test_sockets_that_fail_keep_nobody_back(ring: Ring) -> None:
    gone, left, sound = socket_pair(), socket_pair(), socket_pair()
    requests = requests_to(ring, gone[0], left[0], sound[0])
    gone[0].close()
    left[1].close()
    assert sorted(ring.send(requests, FRAME)) == [(0, 0), (1, 0)]
    assert read_all(sound[1]) == FRAME


def test_more_failures_than_the_ring_has_room_for_are_all_heard_of(ring: Ring) -> None:
    pairs = [socket_pair() for _ in range(100)]
    requests = requests_to(ring, *(ours for ours, _ in pairs))
    for _, theirs in pairs[::2]:
        theirs.close()
    assert sorted(ring.send(requests, FRAME)) == [(place, 0) for place in range(0, 100, 2)]


@pytest.mark.usefixtures("ring")
def test_what_the_kernel_does_not_take_up_is_said_and_the_ring_goes_on_later() -> None:
    kernel = system_call()
    enters = count(1)

    def out_of_memory_sometimes(number: int, *arguments: int) -> int:
        if number == ENTER and next(enters) == 2:
            return -1
        return kernel(number, *arguments)

    ring = Ring(4, out_of_memory_sometimes)
    pairs = [socket_pair() for _ in range(6)]
    requests = requests_to(ring, *(ours for ours, _ in pairs))
    assert ring.send(requests, FRAME) == [(4, 0), (5, 0)]
    assert ring.send(requests, FRAME) == []
    assert [read_all(theirs) for _, theirs in pairs] == [2 * FRAME] * 4 + [FRAME] * 2
    ring.close()


async def test_a_system_that_lends_no_ring_is_done_without() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        async with open_ring(16) as ring:
            assert ring is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_whoever_wants_no_ring_has_none() -> None:
    async with open_ring(0) as ring:
        assert ring is None


@pytest.mark.usefixtures("ring")
@pytest.mark.parametrize(("sends", "kept"), [(True, True), (False, False)])
def test_a_ring_that_does_not_do_what_is_relied_upon_is_noticed(sends: bool, kept: bool) -> None:
    kernel = system_call()

    def call(number: int, *arguments: int) -> int:
        return kernel(number, *arguments) if sends or number != ENTER else -1

    ring = Ring(16, call)
    assert ring.keeps_its_promises() is kept
    ring.close()


async def test_nothing_stays_open_of_a_ring_that_is_closed() -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        async with open_ring(16):
            pass
    assert os.listdir("/proc/self/fd") == before


def test_a_roster_sends_to_those_who_are_in_it_now_frames_of_any_length(ring: Ring) -> None:
    roster = Roster[str](ring)
    pairs = {name: socket_pair() for name in "abcdef"}
    for name in "abcde":
        roster.add(name, pairs[name][0].fileno())
    roster.send(b"one.")
    for name in "bebx":
        roster.discard(name)
    roster.add("f", pairs["f"][0].fileno())
    roster.send(b"two: longer.")
    assert (len(roster), "a" in roster, "b" in roster) == (4, True, False)
    heard = {name: read_all(theirs) for name, (_, theirs) in pairs.items()}
    assert heard == {
        **dict.fromkeys("acd", b"one.two: longer."),
        **dict.fromkeys("be", b"one."),
        "f": b"two: longer.",
    }


def test_a_roster_names_the_right_one_after_others_have_left(ring: Ring) -> None:
    roster = Roster[str](ring)
    pairs = {name: socket_pair() for name in "abcd"}
    for name in "abcd":
        roster.add(name, pairs[name][0].fileno())
    roster.discard("a")
    pairs["d"][1].close()
    assert roster.send(FRAME) == [("d", 0)]
