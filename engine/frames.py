"""WebSocket frames (RFC 6455, section 5). In: bytes from `reactor`. Out: messages for the session.

The common frame (final, masked, text or binary, no extension) is parsed inline. Anything else, a fragment, a control frame
or an error, goes through wsproto from that frame boundary on, one whole frame at a time, until no message is open: then the
inline parser takes over again. What wsproto never sees cannot need it: a data frame that is complete in itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.utilities import ProtocolError, RemoteProtocolError

TEXT, BINARY, CLOSE, PONG = 0x81, 0x82, 0x88, 0x8A  # first byte of a final frame

NORMAL_CLOSURE = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
INVALID_DATA = 1007
MESSAGE_TOO_BIG = 1009

_HEADER_16 = struct.Struct("!BBH").pack
_HEADER_64 = struct.Struct("!BBQ").pack


def frame(payload: bytes, first: int = TEXT) -> bytes:
    """One unmasked final frame, as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return _HEADER_16(first, 126, size) + payload
    return _HEADER_64(first, 127, size) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """The frame that begins or answers the closing handshake."""
    return frame(code.to_bytes(2, "big") + reason.encode()[:123], CLOSE)


def payloads(frames: bytes) -> Iterator[tuple[int, bytes]]:
    """The (first byte, payload) pairs of frames that `frame` built, for a transport that frames by itself."""
    at = 0
    while at < len(frames):
        size, head = frames[at + 1], 2
        if size == 126:
            size, head = int.from_bytes(frames[at + 2 : at + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(frames[at + 2 : at + 10], "big"), 10
        yield frames[at], frames[at + head : at + head + size]
        at += head + size


def unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, as two large integers: faster than a loop, and exact for any length."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


class ClosedByPeer(Exception):
    """The peer began the closing handshake; `reply` answers it."""

    def __init__(self, reply: bytes) -> None:
        super().__init__("the peer closed the connection")
        self.reply = reply


class Violation(Exception):
    """The peer broke the protocol; close with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


Message: TypeAlias = tuple[int, bytes]  # (TEXT | BINARY, payload), or (PONG, a whole frame to send back)


class FrameReader:
    """Turns the bytes of one client into messages. Sans-I/O; keeps nothing while no frame is incomplete."""

    __slots__ = ("_careful", "_limit", "_rest")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""
        self._careful: _CarefulReader | None = None

    def read(self, data: bytes, messages: list[Message]) -> None:
        """Append the messages that `data` completes.

        `messages` holds what came before the error when this raises.

        Raises:
            Violation: close the connection with its code.
            ClosedByPeer: send its reply and close.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, end, limit = 0, len(data), self._limit
        while end - at >= 2:
            first = data[at]
            size, head = data[at + 1], 6
            masked = size & 0x80
            size &= 0x7F
            if size == 126:
                if end - at < 4:
                    break
                size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 8
            elif size == 127:
                if end - at < 10:
                    break
                size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 14
            common = masked and (first == TEXT or first == BINARY) and self._careful is None
            if size > limit and not first & 0x78:
                raise Violation(MESSAGE_TOO_BIG, f"A message may have {limit} bytes.")
            if not common:
                head = head if masked else head - 4
                _refuse_early(first, size, bool(masked), self._careful)
            body = at + head
            if end - body < size:
                break
            if common:
                messages.append((first, unmask(data[body : body + size], data[body - 4 : body])))
            else:
                self._read_carefully(data[at : body + size], messages)
            at = body + size
        if at < end:
            self._rest = data[at:] if at else data

    def _read_carefully(self, whole_frame: bytes, messages: list[Message]) -> None:
        if self._careful is None:
            self._careful = _CarefulReader(self._limit)
        self._careful.read(whole_frame, messages)
        if not self._careful.in_message:
            self._careful = None


def _refuse_early(first: int, size: int, masked: bool, careful: _CarefulReader | None) -> None:
    """Refuse a header that no body can make right, before waiting for the body."""
    opcode = first & 0x0F
    if first & 0x70 or 2 < opcode < 8 or opcode > 10:
        raise Violation(PROTOCOL_ERROR, "A reserved bit or opcode is set and no extension was agreed.")
    if not masked:
        raise Violation(PROTOCOL_ERROR, "A client must mask its frames.")
    if opcode >= 8 and (size > 125 or not first & 0x80):
        raise Violation(PROTOCOL_ERROR, "A control frame is at most 125 bytes and never fragmented.")
    in_message = careful is not None and careful.in_message
    if (opcode == 0) is not in_message and opcode < 3:
        raise Violation(PROTOCOL_ERROR, "Fragments of two messages are mixed.")


class _CarefulReader:
    """wsproto, fed whole frames, for everything that is not the common frame."""

    __slots__ = ("_connection", "_limit", "_parts", "_size", "in_message")

    def __init__(self, limit: int) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self.in_message = False

    def read(self, whole_frame: bytes, messages: list[Message]) -> None:
        try:
            self._connection.receive_data(whole_frame)
            for event in self._connection.events():
                if isinstance(event, TextMessage):
                    self._collect(event.data.encode(), TEXT, event.message_finished, messages)
                elif isinstance(event, BytesMessage):
                    self._collect(bytes(event.data), BINARY, event.message_finished, messages)
                elif isinstance(event, Ping):
                    messages.append((PONG, self._connection.send(event.response())))
                elif isinstance(event, CloseConnection):
                    raise self._closed(event)
        except RemoteProtocolError as error:
            code = INVALID_DATA if "decod" in str(error) or "utf" in str(error).lower() else PROTOCOL_ERROR
            raise Violation(code, str(error)) from error
        except ProtocolError as error:
            raise Violation(PROTOCOL_ERROR, str(error)) from error

    def _collect(self, part: bytes, first: int, finished: bool, messages: list[Message]) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise Violation(MESSAGE_TOO_BIG, f"A message may have {self._limit} bytes.")
        self._parts.append(part)
        self.in_message = not finished
        if finished:
            messages.append((first, b"".join(self._parts)))
            self._parts.clear()
            self._size = 0

    def _closed(self, event: CloseConnection) -> ClosedByPeer:
        if self._connection.state is ConnectionState.REMOTE_CLOSING:
            return ClosedByPeer(self._connection.send(event.response()))
        return ClosedByPeer(b"")
