"""Real socket pairs for the reactor's tests: our end on the reactor, the client's end in the test's hands."""

from __future__ import annotations

import socket as sockets
from dataclasses import dataclass, field
from socket import socket

import trio.testing

from tertulia.engine.config import SocketLimits
from tertulia.engine.connection import Connection
from tertulia.engine.frames import Violation, payloads
from tertulia.engine.reactor import Reactor

#: Closed when the test is over.
opened: list[socket] = []


def socket_pair(buffer: int | None = None) -> tuple[socket, socket]:
    """Two connected sockets that do not block; a small `buffer` makes the first one's writing hit its end soon."""
    ours, theirs = sockets.socketpair()
    for one in (ours, theirs):
        one.setblocking(False)
        opened.append(one)
    if buffer is not None:
        ours.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, buffer)
    return ours, theirs


def read_all(sock: socket) -> bytes:
    """What has arrived by now."""
    found = bytearray()
    while True:
        try:
            data = sock.recv(1 << 20)
        except BlockingIOError:
            return bytes(found)
        if not data:
            return bytes(found)
        found += data


def at_end(sock: socket) -> bool:
    """Whether the other side has ended, after everything was read."""
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@dataclass(eq=False)
class Recorder:
    """A peer that writes down what it is told, and fails where it is told to."""

    messages: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    closings: int = 0
    fail_on: bytes = b"\x00"
    violate_on: bytes = b"\x01"
    fail_when_closed: bool = False

    def received(self, first: int, payload: bytes) -> None:
        if payload == self.fail_on:
            raise RuntimeError("the session has a bug")
        if payload == self.violate_on:
            raise Violation(1008, "not like this")
        self.messages.append((first, payload))

    def farewell(self) -> bytes:
        return b"\x81\x08too_slow"

    def closed(self) -> None:
        self.closings += 1
        if self.fail_when_closed:
            raise RuntimeError("the session cannot be closed")

    @property
    def texts(self) -> list[bytes]:
        return [payload for _, payload in self.messages]


class Line:
    """One connection, its recording peer, and the client's end."""

    def __init__(self, reactor: Reactor, limits: SocketLimits, buffer: int | None = None) -> None:
        self.sock, self.client = socket_pair(buffer)
        self.connection = Connection(self.sock, reactor, limits)
        self.peer = Recorder()
        self.connection.start(self.peer)

    @property
    def ended(self) -> bool:
        return self.sock.fileno() < 0

    def frames(self) -> list[tuple[int, bytes]]:
        return list(payloads(read_all(self.client)))


async def settle() -> None:
    """Until the reactor and everybody else have nothing left to do."""
    await trio.testing.wait_all_tasks_blocked()
