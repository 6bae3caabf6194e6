"""One port for all. In: sockets from the listener. Next hop: `engine/connection` for cable, hypercorn for the rest.

The request head is looked at without being read (`MSG_PEEK`). A WebSocket upgrade to the cable path stays on the
reactor; any other connection is handed over unread. A head that is not complete yet raises the socket's low-water mark,
so that the kernel wakes us when there is more of it, and not before. Slow and oversized heads are refused, and so is
what cannot be HTTP.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket as sockets
from collections.abc import Callable
from socket import socket

import trio

from ..engine.config import SocketLimits
from ..engine.connection import Connection
from ..engine.handshake import BadHandshake
from ..engine.reactor import Reactor
from .cable.admission import BROKEN_OFF, CROWDED, FIRST_BYTES, HEAD_END, NOT_HTTP, TOO_LARGE, TOO_SLOW, Admission, Cable
from .cable.protocol import choose

logger = logging.getLogger("tertulia.front_door")

ACCEPTS_PER_EVENT = 64
#: Seconds between two looks at whether the connections on their way out have gone.
LOOK_INTERVAL = 0.02
#: Seconds without accepting when the machine has no descriptors or buffers left.
ACCEPT_PAUSE = 0.5
#: For bytes that more bytes follow at once; nothing where the system knows no such thing.
MORE = getattr(sockets, "MSG_MORE", 0)
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class FrontDoor:
    """Accepts connections and sends each where it belongs."""

    def __init__(
        self,
        listener: socket,
        reactor: Reactor,
        gateway: Cable,
        hand_over: Callable[[socket], None],
        limits: SocketLimits,
        cable_path: str = "/cable",
        origins: frozenset[str] = frozenset(),
    ) -> None:
        self.listener = listener
        self.reactor = reactor
        self.gateway = gateway
        self.hand_over = hand_over
        self.limits = limits
        self.admission = Admission(cable_path.encode(), origins, limits.connections)
        self.visits: dict[Visit, None] = {}  # the oldest first
        self._full = False  # of visits that are all young
        reactor.arrivals.watch(listener, self)

    def on_readable(self) -> None:
        if self.listener.fileno() < 0:  # closed after it was listed
            return
        for _ in range(ACCEPTS_PER_EVENT):
            if len(self.visits) >= self.limits.visits and self._waits_for_room():
                return
            try:
                sock, address = self.listener.accept()
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause(error)
                return  # nobody is waiting, or whoever was has gone
            self._receive(sock, str(address[0]))

    def on_writable(self) -> None: ...

    def abandon(self) -> None: ...

    def on_deadline(self) -> None:
        self._full = False
        self.reactor.arrivals.watch(self.listener, self)

    def on_error(self, error: Exception) -> None:
        logger.error("a connection could not be accepted", exc_info=error)

    def _pause(self, error: OSError) -> None:
        """The listener stays readable: looking again at once would only burn the processor."""
        logger.warning("no connections are accepted for %s s: %s", ACCEPT_PAUSE, error)
        self._rest(ACCEPT_PAUSE)

    def _rest(self, seconds: float) -> None:
        self.reactor.arrivals.forget(self.listener)
        self.reactor.set_deadline(self, seconds)

    def _waits_for_room(self) -> bool:
        """Whether the oldest visit is too young to be ended for another one.

        Who says nothing keeps nobody out for long; but when thousands come at once, the oldest have only not had their
        turn yet: turned away they would come back and make it more. Who is not accepted waits in the kernel.
        """
        oldest = next(iter(self.visits))
        age = trio.current_time() - oldest.since
        if age >= self.limits.visit_grace or oldest.answered:
            return False
        self._full = True
        self._rest(self.limits.visit_grace - age)
        return True

    def left(self, visit: Visit) -> None:
        """A visit is over, or has become something else."""
        self.visits.pop(visit, None)
        if self._full:
            self._full = False
            self.reactor.set_deadline(self, None)
            self.reactor.arrivals.watch(self.listener, self)

    def _receive(self, sock: socket, address: str) -> None:
        sock.setblocking(False)
        try:
            sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        except OSError:  # reset already; some systems say so here
            sock.close()
            return
        if len(self.visits) >= self.limits.visits:
            next(iter(self.visits)).make_room()
        self.visits[Visit(self, sock, address)] = None

    def close(self) -> None:
        """Accept no more."""
        self._full = False
        self.reactor.set_deadline(self, None)
        self.reactor.arrivals.forget(self.listener)
        self.listener.close()

    async def emptied(self) -> None:
        """Wait until the connections that are on their way out have taken their last bytes, or had time enough."""
        while True:
            if self.reactor.statistics().sockets <= len(self.visits):
                return
            await trio.sleep(LOOK_INTERVAL)


class Visit:
    """A connection whose request head is not known yet, or that is on its way out with an answer.

    In `door.visits` for as long as it owns the socket.
    """

    __slots__ = ("address", "answered", "door", "seen", "since", "sock")

    def __init__(self, door: FrontDoor, sock: socket, address: str) -> None:
        self.door = door
        self.sock = sock
        self.address = address
        self.seen = 0
        self.answered = False
        self.since = trio.current_time()
        door.reactor.arrivals.watch(sock, self)
        door.reactor.set_deadline(self, door.limits.head_timeout)

    def on_readable(self) -> None:
        if self in self.door.visits:
            if self.answered:
                self._discard()
            else:
                self._look()

    def on_writable(self) -> None: ...

    def abandon(self) -> None: ...

    def on_deadline(self) -> None:
        if self.answered:
            self._end()
        else:
            self._answer(TOO_SLOW)

    def on_error(self, error: Exception) -> None:
        if not isinstance(error, ConnectionError):  # a peer that leaves between two looks is no news
            logger.error("a connection failed before it was a session, and is closed", exc_info=error)
        self._end()

    def make_room(self) -> None:
        if not self.answered:
            self._answer(CROWDED)
        self._end()

    def _look(self) -> None:
        limit = self.door.limits.head
        try:
            head = self.sock.recv(limit, sockets.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            head = b""
        if not head:
            self._end()
            return
        end = head.find(HEAD_END, max(0, self.seen - len(HEAD_END)))
        if end >= 0:
            self._low_water(1)
            self._direct(head[: end + len(HEAD_END)])
        elif head[0] not in FIRST_BYTES:
            self._answer(NOT_HTTP)
        elif len(head) >= limit:
            self._answer(TOO_LARGE)
        elif len(head) == self.seen:  # woken without more bytes: there will be none
            self._answer(BROKEN_OFF)
        else:
            self.seen = len(head)
            self._low_water(self.seen + 1)

    def _low_water(self, size: int) -> None:
        if self.seen:
            self.sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVLOWAT, size)

    def _direct(self, head: bytes) -> None:
        door = self.door
        if door.admission.is_cable(head):
            self._upgrade(head)
        else:
            self._let_go()
            door.reactor.arrivals.forget(self.sock)
            door.hand_over(self.sock)

    def _upgrade(self, head: bytes) -> None:
        door = self.door
        self.sock.recv(len(head))
        try:
            handshake = door.admission.admit(head, self.address, door.gateway)
        except BadHandshake as bad:
            self._answer(bad.answer)
            return
        protocol, selected = choose(handshake.request.subprotocols)
        self._let_go()
        notice_dead_peers(self.sock, int(door.limits.peer_timeout))
        connection = Connection(self.sock, door.reactor, door.limits)
        answer = handshake.accept(selected)
        if protocol is None:
            connection.outbox.send(answer)
            connection.close()
            return
        # The kernel keeps it until more follows: most clients are known at once, and get their welcome with it.
        taken = self._send_more(answer)
        if taken < len(answer):
            connection.outbox.send(answer[taken:])
        connection.start(door.gateway.connect(handshake.request, connection, protocol))
        self._send_now()

    def _send_more(self, answer: bytes) -> int:
        try:
            return self.sock.send(answer, MORE)
        except OSError:  # whatever it is, the outbox meets it, too
            return 0

    def _send_now(self) -> None:
        """Let what the kernel keeps go, and keep nothing from now on."""
        if self.sock.fileno() >= 0:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)

    def _answer(self, answer: bytes) -> None:
        """Send it and wait for the peer's end: closing with unread input resets the connection."""
        self.answered = True
        self._low_water(1)
        self.door.reactor.set_deadline(self, self.door.limits.close_timeout)
        try:
            self.sock.send(answer)
            self.sock.shutdown(sockets.SHUT_WR)
        except OSError:
            self._end()

    def _discard(self) -> None:
        try:
            data = self.sock.recv(self.door.limits.read_chunk)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end()

    def _let_go(self) -> None:
        self.door.left(self)
        self.door.reactor.set_deadline(self, None)

    def _end(self) -> None:
        self._let_go()
        self.door.reactor.arrivals.forget(self.sock)
        self.sock.close()


def notice_dead_peers(sock: socket, seconds: int) -> None:
    """Let TCP end a connection whose peer has vanished: by unacknowledged data where it can, by probes otherwise."""
    with contextlib.suppress(OSError):
        sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1)
        if hasattr(sockets, "TCP_KEEPIDLE"):
            sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_KEEPIDLE, seconds)
        if hasattr(sockets, "TCP_USER_TIMEOUT"):
            sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, seconds * 1000)
