"""One WebSocket connection on the reactor. In: readiness from `reactor`. Out: messages to its session.

It reads frames, answers pings and closings by itself, and gives the session whole messages. Its outbox is what the session
and the hub write to.
"""

from __future__ import annotations

import socket as sockets
from socket import socket
from typing import Protocol

from .config import SocketLimits
from .frames import GOING_AWAY, NORMAL_CLOSURE, PONG, ClosedByPeer, FrameReader, Message, Violation, close_frame
from .outbox import Outbox
from .reactor import READ, WRITE, Reactor


class Peer(Protocol):
    """The application's side of a connection."""

    def received(self, first: int, payload: bytes) -> None:
        """A message came; `first` is `frames.TEXT` or `frames.BINARY`.

        Raises:
            Violation: close the connection with its code.
        """

    def farewell(self) -> bytes:
        """Frames to send before closing a connection that reads too slowly."""
        ...

    def closed(self) -> None:
        """The connection is over; nothing that is sent from now on arrives. Called once."""


class Connection:
    """A socket that has been upgraded."""

    __slots__ = (
        "_closing",
        "_limits",
        "_paused",
        "_peer",
        "_reactor",
        "_reader",
        "_sock",
        "_writable_wanted",
        "outbox",
    )

    def __init__(self, sock: socket, reactor: Reactor, limits: SocketLimits) -> None:
        self._sock = sock
        self._reactor = reactor
        self._limits = limits
        self._reader = FrameReader(limits.message)
        self._peer: Peer | None = None
        self._closing = False
        self._paused = False
        self._writable_wanted = False
        self.outbox = Outbox(sock, self, limits.outbox)

    def start(self, peer: Peer) -> None:
        """Deliver messages to the peer from now on. The socket is registered with the reactor already."""
        self._peer = peer
        self._reactor.modify(self._sock, self, READ)

    # The reactor's side.

    def on_readable(self) -> None:
        if self._sock.fileno() < 0:
            return
        try:
            data = self._sock.recv(self._limits.read_chunk)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._end()
            return
        if not data:
            self._end()
        elif not self._closing:
            self._read(data)

    def on_writable(self) -> None:
        if self._sock.fileno() >= 0 and self.outbox.flush() and self._closing:
            self._half_close()

    def on_deadline(self) -> None:
        """The peer did not take or send its last bytes in time."""
        self._end()

    def _read(self, data: bytes) -> None:
        messages: list[Message] = []
        try:
            try:
                self._reader.read(data, messages)
            finally:
                peer = self._peer
                for first, payload in messages:
                    if first == PONG:
                        self.outbox.send(payload)
                    elif peer is not None and not self._closing:
                        peer.received(first, payload)
        except Violation as violation:
            self.close(violation.code, violation.reason)
        except ClosedByPeer as closed:
            self._finish(closed.reply)

    # The outbox's side; a broadcast may be on the stack, so nothing is closed here.

    def want_writable(self, wanted: bool) -> None:
        self._writable_wanted = wanted
        self._update_interest()

    def broken(self) -> None:
        """The socket failed. The reactor reads the error next, or the deadline ends the connection."""
        self._reactor.set_deadline(self, 0)

    def overflowed(self) -> None:
        if not self.outbox.closed and self._peer is not None:
            self.outbox.finish(self._peer.farewell() + close_frame(NORMAL_CLOSURE, "too slow"))
            self._closing = True
            self._reactor.set_deadline(self, self._limits.close_timeout)

    # The session's side.

    def pause_reading(self) -> None:
        """Let the kernel push back on the client until `resume_reading`."""
        self._paused = True
        self._update_interest()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._update_interest()

    def close(self, code: int = NORMAL_CLOSURE, reason: str = "", last: bytes = b"") -> None:
        """Send `last` and a close frame after what is on its way, then close."""
        if not self._closing:
            self._finish(last + close_frame(code, reason))

    def abort(self) -> None:
        """Close at once."""
        self._end()

    def go_away(self, last: bytes = b"") -> None:
        self.close(GOING_AWAY, "server restart", last)

    def _finish(self, frames: bytes) -> None:
        self._closing = True
        self._reactor.set_deadline(self, self._limits.close_timeout)
        self.outbox.finish(frames)
        self._leave()
        if self._sock.fileno() >= 0 and self.outbox.waiting == 0:
            self._half_close()

    def _half_close(self) -> None:
        """All is sent; the peer's own closing, or the deadline, ends the connection."""
        self._leave()
        try:
            self._sock.shutdown(sockets.SHUT_WR)
        except OSError:
            self._end()

    def _end(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._closing = True
        self.outbox.closed = True
        self._reactor.set_deadline(self, None)
        self._reactor.unregister(self._sock)
        self._sock.close()
        self._leave()

    def _leave(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.closed()

    def _update_interest(self) -> None:
        if self._sock.fileno() < 0:
            return
        events = (0 if self._paused else READ) | (WRITE if self._writable_wanted else 0)
        if not events:
            self._reactor.unregister(self._sock)
            return
        try:
            self._reactor.modify(self._sock, self, events)
        except KeyError:
            self._reactor.register(self._sock, self, events)
