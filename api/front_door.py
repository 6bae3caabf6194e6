"""One port for everything. In: sockets from the listener. Next hop: `engine/connection` for cable, hypercorn for the rest.

The request head is looked at without being read (`MSG_PEEK`). A WebSocket upgrade to the cable path stays on the reactor;
any other connection is handed over unread. A head that is not complete yet raises the socket's low-water mark, so that the
kernel wakes us when there is more of it, and not before. Slow and oversized heads are refused.
"""

from __future__ import annotations

import socket as sockets
from collections.abc import Callable
from http import HTTPStatus
from socket import socket

from ..engine.config import SocketLimits
from ..engine.connection import Connection
from ..engine.handshake import BadHandshake, Handshake, refusal
from ..engine.reactor import Reactor
from .cable.gateway import Gateway
from .cable.protocol import choose

HEAD_END = b"\r\n\r\n"
ACCEPTS_PER_EVENT = 64


class FrontDoor:
    """Accepts connections and sends each where it belongs."""

    def __init__(
        self,
        listener: socket,
        reactor: Reactor,
        gateway: Gateway,
        hand_over: Callable[[socket], None],
        limits: SocketLimits,
        *,
        cable_path: str = "/cable",
        origins: frozenset[str] = frozenset(),
    ) -> None:
        self.listener = listener
        self.reactor = reactor
        self.gateway = gateway
        self.hand_over = hand_over
        self.limits = limits
        self.cable_path = cable_path.encode()
        self.origins = origins
        reactor.register(listener, self)

    def on_readable(self) -> None:
        for _ in range(ACCEPTS_PER_EVENT):
            try:
                sock, address = self.listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            sock.setblocking(False)
            sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            Visit(self, sock, address[0])

    def on_writable(self) -> None: ...

    def on_deadline(self) -> None: ...

    def close(self) -> None:
        """Accept no more."""
        self.reactor.unregister(self.listener)
        self.listener.close()


class Visit:
    """A connection whose request head is not known yet."""

    __slots__ = ("address", "door", "raised", "sock")

    def __init__(self, door: FrontDoor, sock: socket, address: str) -> None:
        self.door = door
        self.sock = sock
        self.address = address
        self.raised = False
        door.reactor.register(sock, self)
        door.reactor.set_deadline(self, door.limits.head_timeout)

    def on_readable(self) -> None:
        limit = self.door.limits.head
        try:
            head = self.sock.recv(limit, sockets.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            head = b""
        if not head:
            self._leave(b"")
            return
        end = head.find(HEAD_END)
        if end < 0:
            if len(head) >= limit:
                self._leave(refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request head is too large."))
            else:
                self._wait_for_more(len(head))
            return
        if self.raised:
            self.sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVLOWAT, 1)
        self._direct(head[: end + len(HEAD_END)])

    def on_writable(self) -> None: ...

    def on_deadline(self) -> None:
        self._leave(refusal(HTTPStatus.REQUEST_TIMEOUT, "The request head did not come in time."))

    def _wait_for_more(self, size: int) -> None:
        self.raised = True
        self.sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVLOWAT, size + 1)

    def _direct(self, head: bytes) -> None:
        door = self.door
        door.reactor.set_deadline(self, None)
        target = head[: head.find(b"\r\n")].split(b" ")
        path = target[1].partition(b"?")[0] if len(target) > 1 else b""
        if path == door.cable_path:
            self._upgrade(head)
        else:
            door.reactor.unregister(self.sock)
            door.hand_over(self.sock)

    def _upgrade(self, head: bytes) -> None:
        door = self.door
        self.sock.recv(len(head))
        try:
            handshake = Handshake(head, self.address)
        except BadHandshake as bad:
            self._leave(bad.answer)
            return
        request = handshake.request
        if door.origins and request.headers.get("origin") not in door.origins:
            self._leave(handshake.reject(HTTPStatus.FORBIDDEN, "This origin is not allowed."))
            return
        if len(door.gateway.sessions) >= door.limits.connections:
            self._leave(handshake.reject(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections; try again later."))
            return
        protocol, selected = choose(request.subprotocols)
        connection = Connection(self.sock, door.reactor, door.limits)
        connection.outbox.send(handshake.accept(selected))
        if protocol is None:
            connection.close()
            return
        connection.start(door.gateway.connect(request, connection, protocol))

    def _leave(self, answer: bytes) -> None:
        self.door.reactor.set_deadline(self, None)
        self.door.reactor.unregister(self.sock)
        if answer:
            try:
                self.sock.send(answer)
            except OSError:
                pass
        self.sock.close()
