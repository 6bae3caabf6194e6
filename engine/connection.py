"""One WebSocket connection on the reactor. In: readiness from `reactor`. Out: messages to its session.

It reads frames, answers pings and closings by itself, and gives the session whole messages. Its outbox is what the
session and the hub write to.

    open --close, Violation, a close frame, too slow--> closing --all sent: half-closed; the peer's end--> ended
      +---- the peer's end, a socket error ---------------+----- no end in `close_timeout` ------------------^

The session is told (`closed`) when closing begins: what it sends from then on could not follow the close frame.
"""

from __future__ import annotations

import logging
import socket as sockets
from socket import socket
from typing import Protocol

from .config import SocketLimits
from .frames import (
    INTERNAL_ERROR,
    NORMAL_CLOSURE,
    PONG,
    ClosedByPeer,
    FrameReader,
    Message,
    Violation,
    close_frame,
)
from .outbox import Outbox
from .reactor import Reactor
from .sockets import READ, WRITE, Sockets

logger = logging.getLogger("tertulia.connection")


class Peer(Protocol):
    """The application's side of a connection."""

    def received(self, first: int, payload: bytes) -> None:
        """A message came; `first` is `frames.TEXT` (and the payload is UTF-8) or `frames.BINARY`.

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

    __slots__ = ("_closing", "_interest", "_limits", "_peer", "_reactor", "_reader", "_sock", "_sockets", "outbox")

    def __init__(self, sock: socket, reactor: Reactor, limits: SocketLimits) -> None:
        """Takes the socket over, on the reactor too. It must not block.

        It is a newcomer until its first message has been dealt with: see `arrivals`.
        """
        self._sock = sock
        self._reactor = reactor
        self._sockets: Sockets = reactor.arrivals  # where the socket is watched
        self._limits = limits
        self._reader: FrameReader | None = FrameReader(limits.message)  # None once frames mean nothing more
        self._peer: Peer | None = None
        self._closing = False
        self._interest = READ
        self.outbox = Outbox(sock.send, self, limits.outbox, sock.fileno())
        self._sockets.watch(sock, self, READ)

    def start(self, peer: Peer) -> None:
        """Deliver messages to the peer from now on."""
        self._peer = peer

    # The reactor's side.

    def on_readable(self) -> None:
        if self._sock.fileno() < 0:
            return
        try:
            data = self._reactor.receive(self._sock)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end()
        elif self._reader is not None:
            self._read(data, self._reader)

    def on_writable(self) -> None:
        if self._sock.fileno() >= 0:
            self.outbox.flush()
            self._half_close_if_finished()

    def on_deadline(self) -> None:
        """The peer did not take our last bytes, or did not close, in time."""
        self._end()

    def abandon(self) -> None:
        self._closing = True
        self.outbox.abandon()

    def on_error(self, error: Exception) -> None:
        logger.error("a connection failed and is closed", exc_info=error)
        try:
            if self._closing:
                self._end()
            else:
                self.close(INTERNAL_ERROR, "internal error")
        except Exception:
            # The session cannot even be closed. It has been let go of by now: this end reaches the socket alone.
            logger.exception("a session failed while it was closed")
            self._end()

    def _read(self, data: bytes, reader: FrameReader) -> None:
        messages: list[Message] = []
        try:
            try:
                reader.read(data, messages)
            finally:
                self._deliver(messages)
        except Violation as violation:
            self._reader = None
            self.close(violation.code, violation.reason)
        except ClosedByPeer as closed:
            self._reader = None
            if not self._closing:
                self._finish(closed.reply)
            elif self.outbox.finished:
                self._end()  # both have said it

    def _deliver(self, messages: list[Message]) -> None:
        for first, payload in messages:
            if self._closing:
                return
            if first == PONG:
                self.outbox.send(payload)
            elif self._peer is not None:
                self._peer.received(first, payload)
        if messages and self._sockets is not self._reactor:
            self._settle()

    def _settle(self) -> None:
        """A newcomer no more: from now on it has its turn in every pass."""
        if self._sock.fileno() >= 0:
            self._sockets.forget(self._sock)
            self._sockets = self._reactor
            self._sockets.watch(self._sock, self, self._interest)

    # The outbox's side. A broadcast may be on the stack: what closes the socket or leaves the hub is done soon after.

    def want_writable(self, wanted: bool) -> None:
        self._watch(self._interest | WRITE if wanted else self._interest & ~WRITE)

    def broken(self) -> None:
        self._closing = True
        self._reactor.call_soon(self, self._end)

    def overflowed(self) -> None:
        self._closing = True
        self._reactor.call_soon(self, self._say_too_slow)

    def _say_too_slow(self) -> None:
        if self._sock.fileno() >= 0:
            farewell = b"" if self._peer is None else self._peer.farewell()
            self._finish(farewell + close_frame(NORMAL_CLOSURE, "too slow"))

    # The session's side.

    def pause_reading(self) -> None:
        """Let the kernel push back on the client until `resume_reading`, or until closing begins."""
        if not self._closing:
            self._watch(self._interest & ~READ)

    def trust(self) -> None:
        """Accept larger messages from now on: who is at the other end is known."""
        if self._reader is not None:
            self._reader.limit = self._limits.trusted_message

    def resume_reading(self) -> None:
        self._watch(self._interest | READ)

    def close(self, code: int = NORMAL_CLOSURE, reason: str = "", last: bytes = b"") -> None:
        """Send `last` and a close frame after what is on its way, then close."""
        if not self._closing:
            self._finish(last + close_frame(code, reason))

    def abort(self) -> None:
        """Close at once."""
        self._end()

    def _finish(self, frames: bytes) -> None:
        self._closing = True
        self._reactor.set_deadline(self, self._limits.close_timeout)
        self.outbox.finish(frames)
        self.resume_reading()
        self._half_close_if_finished()
        self._leave()

    def _half_close_if_finished(self) -> None:
        """All is sent; the peer's own closing, or the deadline, ends the connection. Closing the socket at once instead
        could destroy what is sent: a kernel with unread input answers with a reset."""
        if self.outbox.finished and self._sock.fileno() >= 0:
            try:
                self._sock.shutdown(sockets.SHUT_WR)
            except OSError:
                self._end()

    def _end(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._closing = True
        self.outbox.abandon()
        self._reactor.set_deadline(self, None)
        self._sockets.forget(self._sock)
        self._sock.close()
        self._leave()

    def _leave(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.closed()

    def _watch(self, events: int) -> None:
        if events != self._interest and self._sock.fileno() >= 0:
            self._interest = events
            self._sockets.watch(self._sock, self, events)
