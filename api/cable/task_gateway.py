"""The front door without a reactor, for platforms whose selector has no descriptor. In: sockets from the listener.
Next hop: a session over trio-websocket for cable, hypercorn for the rest.

A task per connection, and the same sessions: what they and the hub send goes into the same `Outbox`. Where the
reactor's outbox writes to a socket, this one fills a slot that the connection's writer empties, so that the same rule
decides when a client is too slow. Frames are unwrapped there, because trio-websocket makes its own.
"""

from __future__ import annotations

import logging
import socket as sockets
from collections.abc import Callable
from socket import socket
from typing import Protocol

import trio
from trio_websocket import ConnectionClosed, wrap_server_stream

from ...engine.config import SocketLimits
from ...engine.connection import Peer
from ...engine.frames import (
    BINARY,
    CLOSE,
    INTERNAL_ERROR,
    MESSAGE_TOO_BIG,
    NORMAL_CLOSURE,
    TEXT,
    Violation,
    close_frame,
    payloads,
)
from ...engine.handshake import BadHandshake, Handshake
from ...engine.outbox import Outbox
from .admission import BROKEN_OFF, FIRST_BYTES, HEAD_END, NOT_HTTP, TOO_LARGE, TOO_SLOW, Admission, Cable
from .protocol import choose

logger = logging.getLogger("tertulia.task_gateway")

#: Seconds between two looks at a head that is not complete, and at connections that should end.
LOOK_INTERVAL = 0.02
ACCEPT_PAUSE = 0.5


class MessageSocket(Protocol):
    """A WebSocket that makes frames by itself: trio-websocket's, or the like. Raises ConnectionClosed at its end."""

    async def get_message(self) -> str | bytes: ...

    async def send_message(self, message: str | bytes, /) -> None: ...

    async def aclose(self, code: int = ..., reason: str | None = ...) -> None: ...


class TaskConnection:
    """The transport of one session, driven by tasks of its own."""

    def __init__(self, limits: SocketLimits) -> None:
        self._limits = limits
        self._largest = limits.message
        self._peer: Peer | None = None
        self._slot: bytes | None = None  # frames that the writer is sending
        self._slot_filled = trio.Event()
        self._may_read = trio.Event()
        self._may_read.set()
        self._closing = trio.Event()
        self._too_slow = False
        self.outbox = Outbox(self._fill, self, limits.outbox)

    def start(self, peer: Peer) -> None:
        self._peer = peer

    async def run(self, websocket: MessageSocket) -> None:
        """Serve until the connection is over, however it ends."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, websocket)
                nursery.start_soon(self._end_in_time, nursery.cancel_scope)
                await self._read(websocket)
                nursery.cancel_scope.cancel()
        finally:
            self._closing.set()
            self.outbox.abandon()
            self._leave()

    async def _read(self, websocket: MessageSocket) -> None:
        """Until the connection is over."""
        while True:
            await self._may_read.wait()
            try:
                message = await websocket.get_message()
            except ConnectionClosed:
                return
            if self._peer is None or self._closing.is_set():
                continue
            first, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
            if len(payload) > self._largest:
                self.close(MESSAGE_TOO_BIG, f"A message may have {self._largest} bytes.")
                continue
            try:
                self._peer.received(first, payload)
            except Violation as violation:
                self.close(violation.code, violation.reason)
            except Exception:
                logger.exception("a connection failed and is closed")
                self.close(INTERNAL_ERROR, "internal error")

    async def _write(self, websocket: MessageSocket) -> None:
        while True:
            await self._slot_filled.wait()
            self._slot_filled = trio.Event()
            while self._slot is not None:
                try:
                    for first, payload in payloads(self._slot):
                        if first == CLOSE:
                            await websocket.aclose(int.from_bytes(payload[:2], "big"), payload[2:].decode())
                        else:
                            await websocket.send_message(payload.decode() if first == TEXT else payload)
                except ConnectionClosed:
                    return
                self._slot = None
                self.outbox.flush()

    async def _end_in_time(self, scope: trio.CancelScope) -> None:
        await self._closing.wait()
        if self._too_slow:
            farewell = b"" if self._peer is None else self._peer.farewell()
            self.outbox.finish(farewell + close_frame(NORMAL_CLOSURE, "too slow"))
        self._leave()
        await trio.sleep(self._limits.close_timeout)
        scope.cancel()

    # The outbox's side. A broadcast may be on the stack: the tasks do the rest.

    def _fill(self, frames: bytes | memoryview) -> int:
        """All or nothing, so that the writer gets whole frames."""
        if self._slot is not None:
            return 0
        self._slot = bytes(frames)
        self._slot_filled.set()
        return len(frames)

    def want_writable(self, wanted: bool) -> None:
        """The writer asks for more by itself."""

    def broken(self) -> None:
        """A slot does not break."""

    def overflowed(self) -> None:
        self._too_slow = True
        self._closing.set()

    # The session's side.

    def pause_reading(self) -> None:
        if self._may_read.is_set() and not self._closing.is_set():
            self._may_read = trio.Event()

    def trust(self) -> None:
        self._largest = self._limits.trusted_message

    def resume_reading(self) -> None:
        self._may_read.set()

    def close(self, code: int = NORMAL_CLOSURE, reason: str = "", last: bytes = b"") -> None:
        if not self._closing.is_set():
            self.outbox.finish(last + close_frame(code, reason))
            self._closing.set()
            self.resume_reading()
            self._leave()

    def _leave(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.closed()


class TaskFrontDoor:
    """Accepts connections and sends each where it belongs, as `FrontDoor` does."""

    def __init__(
        self,
        listener: socket,
        gateway: Cable,
        hand_over: Callable[[socket], None],
        limits: SocketLimits,
        cable_path: str = "/cable",
        origins: frozenset[str] = frozenset(),
    ) -> None:
        self._listener = trio.socket.from_stdlib_socket(listener)
        self._gateway = gateway
        self._hand_over = hand_over
        self._limits = limits
        self._admission = Admission(cable_path.encode(), origins, limits.connections)
        self._accepting = trio.CancelScope()
        self._visits = trio.CapacityLimiter(limits.visits)
        self._open = 0  # connections

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            with self._accepting:
                while True:
                    try:
                        sock, address = await self._listener.accept()
                    except OSError as error:
                        logger.warning("no connections are accepted for %s s: %s", ACCEPT_PAUSE, error)
                        await trio.sleep(ACCEPT_PAUSE)
                    else:
                        nursery.start_soon(self._visit, sock, str(address[0]))

    def close(self) -> None:
        """Accept no more."""
        self._accepting.cancel()
        self._listener.close()

    async def emptied(self) -> None:
        """Wait until the connections that are on their way out have taken their last bytes, or had time enough."""
        while True:
            if not self._open:
                return
            await trio.sleep(LOOK_INTERVAL)

    async def _visit(self, sock: trio.socket.SocketType, address: str) -> None:
        with sock:
            try:
                async with self._visits:
                    head = await self._head(sock)
                if self._admission.is_cable(head):
                    await self._serve(sock, self._admission.admit(head, address, self._gateway))
                else:
                    self._hand_over(sockets.socket(fileno=sock.detach()))
            except BadHandshake as bad:
                await self._answer(sock, bad.answer)
            except ConnectionError:
                return  # a peer that leaves is no news
            except Exception:
                logger.exception("a connection failed and is closed")

    async def _head(self, sock: trio.socket.SocketType) -> bytes:
        """The request head, still unread.

        Raises:
            BadHandshake: there is none, or not one that is acceptable.
        """
        with trio.move_on_after(self._limits.head_timeout):
            while True:
                head = await sock.recv(self._limits.head, sockets.MSG_PEEK)
                end = head.find(HEAD_END)
                if end >= 0:
                    return head[: end + len(HEAD_END)]
                if not head:
                    raise BadHandshake(BROKEN_OFF)
                if head[0] not in FIRST_BYTES:
                    raise BadHandshake(NOT_HTTP)
                if len(head) >= self._limits.head:
                    raise BadHandshake(TOO_LARGE)
                await trio.sleep(LOOK_INTERVAL)
        raise BadHandshake(TOO_SLOW)

    async def _serve(self, sock: trio.socket.SocketType, handshake: Handshake) -> None:
        protocol, selected = choose(handshake.request.subprotocols)
        async with trio.open_nursery() as nursery:
            largest = max(self._limits.message, self._limits.trusted_message)
            request = await wrap_server_stream(nursery, trio.SocketStream(sock), max_message_size=largest)
            try:
                websocket = await request.accept(subprotocol=selected)
            except ConnectionClosed:
                return
            connection = TaskConnection(self._limits)
            if protocol is None:
                connection.close()
            else:
                connection.start(self._gateway.connect(handshake.request, connection, protocol))
            self._open += 1
            try:
                await connection.run(websocket)
            finally:
                self._open -= 1
            nursery.cancel_scope.cancel()

    async def _answer(self, sock: trio.socket.SocketType, answer: bytes) -> None:
        """Send it and wait for the peer's end: closing with unread input resets the connection."""
        with trio.move_on_after(self._limits.close_timeout):
            try:
                await sock.send(answer)
                sock.shutdown(sockets.SHUT_WR)
                while await sock.recv(self._limits.read_chunk):
                    pass
            except OSError:
                return
