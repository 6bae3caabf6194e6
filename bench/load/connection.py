"""One client's connection: what is known about it between two turns of the reactor."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

from .dialect import Client, Dialect, Step
from .marks import AlternatingLedger, Ledger

#: What a client that never reads takes in before the server notices: small, so that it notices soon.
DEAF_RECEIVE_BUFFER = 4096
NOBODY = -1
#: A closed loop without an end.
UNLIMITED = 1 << 60


class Connection:
    """State only; `Reactor` acts on it.

    Attributes:
        ready: it has gone through its greeting.
        rest: the beginning of a frame whose end has not come yet.
        last: what it received last that had a mark in it: where its position is found.
        allowed: how many messages it may have sent, all in all.
        began: when it first tried to connect; 0 once it has gone through its greeting.
        in_flight: sent, and not heard (or, by HTTP, not answered) yet.
    """

    __slots__ = (
        "allowed",
        "began",
        "client",
        "fd",
        "in_flight",
        "last",
        "ledger",
        "pending",
        "ready",
        "rest",
        "sender",
        "sent",
        "sent_at",
        "socket",
        "steps",
        "templates",
        "upgraded",
    )

    def __init__(self, client: Client, dialect: Dialect) -> None:
        self.client = client
        self.sender = NOBODY if client.sender is None else client.sender
        self.ledger = AlternatingLedger() if dialect.alternates else Ledger()
        self.templates = dialect.messages(client) if client.sender is not None else ()
        self.last = b""
        self.sent = self.allowed = self.in_flight = self.sent_at = 0
        self.socket: socket.socket | None = None
        self.steps: list[Step] = []
        self.began = 0
        self._forget()

    def open(self, address: tuple[str, int], opening: bytes, steps: Sequence[Step], now: int) -> int:
        """Begin to connect; returns the descriptor, which is to be watched for writing."""
        self._forget()
        self.socket = new = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if not self.client.reads:
            new.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DEAF_RECEIVE_BUFFER)
        new.setblocking(False)
        new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        new.connect_ex(address)  # "in progress", or an error that shows when it is written to
        self.fd = new.fileno()
        self.pending, self.steps = opening, list(steps)
        self.began = self.began or now
        return self.fd

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket, self.ready = None, False

    def _forget(self) -> None:
        self.ready = self.upgraded = False
        self.rest = self.pending = b""
        self.steps.clear()
        self.fd = -1


def senders_of(connections: Iterable[Connection]) -> list[Connection]:
    """Those that send, each as fast as its window lets it."""
    return [each for each in connections if each.sender != NOBODY and not each.client.paced]
