"""A group on real sockets, with a ring and without: who gets which bytes, whatever the sockets take."""

from __future__ import annotations

from socket import socket

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from trio.testing import MockClock

from tertulia.engine import group as groups
from tertulia.engine.config import SocketLimits
from tertulia.engine.group import Group
from tertulia.engine.outbox import Outbox
from tertulia.engine.reactor import Reactor
from tertulia.engine.ring import LARGEST, REQUEST, Ring, new_ring

from . import sockets
from .sockets import Line, read_all, socket_pair

BUFFER = 4096
UNLIMITED = 1 << 30


class Client:
    """Both ends of a socket, an outbox, and what should have arrived."""

    def __init__(self, limit: int = UNLIMITED) -> None:
        self.ours, self.theirs = socket_pair(BUFFER)
        self.outbox = Outbox(self.ours.send, self, limit, self.ours.fileno())
        self.expected = bytearray()
        self.received = bytearray()
        self.wanted = self.is_broken = False

    def want_writable(self, wanted: bool) -> None:
        self.wanted = wanted

    def broken(self) -> None:
        self.is_broken = True

    def overflowed(self) -> None:
        raise AssertionError("nothing overflows here")

    def read(self, size: int = 1 << 20) -> None:
        try:
            self.received += self.theirs.recv(size)
        except BlockingIOError:
            return

    def close(self) -> None:
        self.outbox.abandon()
        self.ours.close()
        self.theirs.close()


def group_of(clients: list[Client], ring: Ring | None) -> Group:
    group = Group(ring)
    for client in clients:
        client.outbox.enter(group)
    return group


def test_a_large_group_is_written_to_through_the_ring_and_a_small_one_is_not(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MANY", 4)
    clients = [Client() for _ in range(6)]
    through_ring: list[int] = []
    send = ring.send

    def counting(requests: bytearray, frames: bytes) -> list[tuple[int, int]]:
        through_ring.append(len(requests) // REQUEST.size)
        return send(requests, frames)

    monkeypatch.setattr(ring, "send", counting)
    group = group_of(clients[:3], ring)
    group.write(b"to three.")
    assert through_ring == []
    for client in clients[3:]:
        client.outbox.enter(group)
    group.write(b"to six.")
    assert through_ring == [6]
    for client in clients[1:]:
        client.outbox.leave(group)
    group.write(b"to one.")
    assert through_ring == [6]
    assert read_all(clients[0].theirs) == b"to three.to six.to one."
    assert read_all(clients[5].theirs) == b"to six."


def test_what_is_larger_than_the_ring_s_buffer_arrives_all_the_same(ring: Ring) -> None:
    clients = [Client() for _ in range(3)]
    group = group_of(clients, ring)
    large = b"x" * (LARGEST + 1)
    group.write(large)
    for client in clients:
        while len(client.received) < len(large):
            client.read()
            client.outbox.flush()
        assert client.received == large


def test_a_descriptor_that_another_socket_has_by_now_is_not_written_to(ring: Ring) -> None:
    clients = [Client() for _ in range(3)]
    group = group_of(clients, ring)
    number = clients[1].ours.fileno()
    clients[1].close()
    stranger, other_end = next(
        pair for pair in iter(socket_pair, None) if number in (pair[0].fileno(), pair[1].fileno())
    )
    group.write(b"for members only")
    assert read_all(stranger) == read_all(other_end) == b""
    assert read_all(clients[2].theirs) == b"for members only"


async def test_what_the_reactor_closed_is_not_written_to(ring: Ring, autojump_clock: MockClock) -> None:
    reactor = Reactor()
    lines = [Line(reactor, SocketLimits()) for _ in range(3)]
    group = Group(ring)
    for line in lines:
        line.connection.outbox.enter(group)
    reactor.close()
    strangers: list[socket] = [end for _ in lines for end in socket_pair()]
    group.write(b"for members only")
    assert [read_all(stranger) for stranger in strangers] == [b""] * 6


class GroupMachine(RuleBasedStateMachine):
    """Clients join, leave, read and vanish while frames are written; each must have got its own sequence in the end."""

    def make_group(self) -> Group:
        return Group()

    @initialize(count=st.integers(1, 6))
    def begin(self, count: int) -> None:
        self.clients = [Client() for _ in range(count)]
        self.group = self.make_group()
        for client in self.clients:
            client.outbox.enter(self.group)
        self.members = set(self.clients)
        self.number = 0

    def client(self, index: int) -> Client:
        return self.clients[index % len(self.clients)]

    def frame(self, size: int) -> bytes:
        self.number += 1
        return (b"%d:" % self.number).ljust(size, b".")

    @rule(size=st.integers(10, 6000), times=st.integers(1, 4), ephemeral=st.booleans())
    def write(self, size: int, times: int, ephemeral: bool) -> None:
        for _ in range(times):
            frame = self.frame(size)
            self.group.write(frame, ephemeral=ephemeral)
            for client in self.members:
                client.expected += frame

    @rule(index=st.integers(0, 5), size=st.integers(10, 6000))
    def write_to_one(self, index: int, size: int) -> None:
        client = self.client(index)
        frame = self.frame(size)
        client.outbox.send(frame)
        client.expected += frame

    @rule(index=st.integers(0, 5), size=st.integers(1, 20_000))
    def read(self, index: int, size: int) -> None:
        client = self.client(index)
        client.read(size)
        if client.wanted:
            client.outbox.flush()

    @rule(index=st.integers(0, 5))
    def leave_or_come_back(self, index: int) -> None:
        client = self.client(index)
        if client in self.members:
            client.outbox.leave(self.group)
            self.members.discard(client)
        else:
            client.outbox.enter(self.group)
            self.members.add(client)

    @rule(index=st.integers(0, 5))
    def vanish_and_let_another_have_the_descriptor(self, index: int) -> None:
        client = self.client(index)
        client.close()
        client.outbox.leave(self.group)
        self.members.discard(client)
        self.clients[index % len(self.clients)] = newcomer = Client()
        newcomer.outbox.enter(self.group)
        self.members.add(newcomer)

    @invariant()
    def it_has_its_members(self) -> None:
        if hasattr(self, "group"):
            assert len(self.group) == len(self.members)
            assert all(client.outbox in self.group for client in self.members)

    def teardown(self) -> None:
        for client in getattr(self, "clients", ()):
            while client.outbox.waiting or len(client.received) < len(client.expected):
                client.read()
                client.outbox.flush()
            assert client.received == client.expected
        while sockets.opened:
            sockets.opened.pop().close()


class RingMachine(GroupMachine):
    """The same, through a ring."""

    def make_group(self) -> Group:
        self.ring = new_ring(16)
        assert self.ring is not None
        return Group(self.ring)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "ring") and self.ring is not None:
            self.ring.close()


for machine in (GroupMachine, RingMachine):
    machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOneByOne = GroupMachine.TestCase
TestThroughTheRing = pytest.mark.usefixtures("ring")(RingMachine.TestCase)
