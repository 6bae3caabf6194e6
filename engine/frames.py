"""WebSocket frames (RFC 6455, section 5). In: bytes from `reactor`. Out: messages for the session.

The common frame (final, masked, text or binary, no extension) is parsed inline, and so is a ping. Fragments and closes
go through wsproto from that frame boundary on, one whole frame at a time, until no message is open: then the inline
parser takes over again. What wsproto never sees cannot need it: a frame that is complete in itself. A header that no
body can make right is refused before its body is waited for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, TextMessage

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A  # first byte of a final frame

NORMAL_CLOSURE = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
INVALID_DATA = 1007
MESSAGE_TOO_BIG = 1009
INTERNAL_ERROR = 1011

_MESSAGE = frozenset({TEXT, BINARY})

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
    shortened = reason.encode()[:123].decode(errors="ignore")  # a control frame holds 125 bytes
    return frame(code.to_bytes(2, "big") + shortened.encode(), CLOSE)


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
    """Turns the bytes of one client into messages. Sans-I/O; keeps nothing while no frame or message is incomplete."""

    __slots__ = ("_careful", "_needed", "_rest", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._rest: bytearray | None = None  # the beginning of a frame, and ...
        self._needed = 0  # ... how long it must be before looking at it again is worth while
        self._careful: _CarefulReader | None = None  # while a message is open

    @property
    def buffered(self) -> int:
        """Bytes held back: never more than the limit and one frame's header (14)."""
        fragments = 0 if self._careful is None else self._careful.size
        return fragments + (0 if self._rest is None else len(self._rest))

    def read(self, data: bytes, messages: list[Message]) -> None:
        """Append the messages that `data` completes.

        `messages` holds what came before the error when this raises.

        Raises:
            Violation: close the connection with its code.
            ClosedByPeer: send its reply and close.
        """
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest = None
        at, end = 0, len(data)
        needed = 2
        while end - at >= 2:
            first, second = data[at], data[at + 1]
            size, head = second & 0x7F, 6
            if size > 125:
                head = 8 if size == 126 else 14
                if end - at < head - 4:
                    needed = head - 4
                    break
                size = _extended_size(data[at + 2 : at + head - 4])
            common = first in _MESSAGE and second & 0x80 and self._careful is None
            if not common:
                self._refuse_early(first, second, size)
            elif size > self.limit:
                raise self._too_big()
            body = at + head
            stop = body + size
            if stop > end:
                needed = head + size
                break
            if common:
                payload = unmask(data[body:stop], data[body - 4 : body])
                if first == TEXT and not payload.isascii():
                    _check_utf8(payload)
                messages.append((first, payload))
            elif first == PING:
                messages.append((PONG, frame(unmask(data[body:stop], data[body - 4 : body]), PONG)))
            elif first != PONG:
                self._read_carefully(data[at:stop], size, messages)
            at = stop
        if at < end:
            self._rest = bytearray(data[at:])
            self._needed = needed

    def _refuse_early(self, first: int, second: int, size: int) -> None:
        """Refuse a header that no body can make right, before waiting for the body."""
        opcode = first & 0x0F
        if first & 0x70 or 2 < opcode < 8 or opcode > 10:
            raise Violation(PROTOCOL_ERROR, "A reserved bit or opcode is set and no extension was agreed.")
        if not second & 0x80:
            raise Violation(PROTOCOL_ERROR, "A client must mask its frames.")
        if opcode >= 8:
            if size > 125 or not first & 0x80:
                raise Violation(PROTOCOL_ERROR, "A control frame is at most 125 bytes and never fragmented.")
            return
        if (opcode == 0) is (self._careful is None):
            raise Violation(PROTOCOL_ERROR, "Fragments of two messages are mixed.")
        if size + (0 if self._careful is None else self._careful.size) > self.limit:
            raise self._too_big()

    def _read_carefully(self, whole_frame: bytes, size: int, messages: list[Message]) -> None:
        careful = self._careful or _CarefulReader()
        self._careful = careful if careful.read(whole_frame, size, messages) else None

    def _too_big(self) -> Violation:
        return Violation(MESSAGE_TOO_BIG, f"A message may have {self.limit} bytes.")


def _extended_size(field: bytes) -> int:
    size = int.from_bytes(field, "big")
    if size < (126 if len(field) == 2 else 65536) or size >> 63:
        raise Violation(PROTOCOL_ERROR, "A length is written in as few bytes as it needs.")
    return size


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise Violation(INVALID_DATA, "A text message must be UTF-8.") from None


class _CarefulReader:
    """wsproto, fed whole frames: the fragments of one message, or a close frame."""

    __slots__ = ("_connection", "_parts", "size")

    def __init__(self) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self._parts: list[bytes] = []
        self.size = 0

    def read(self, whole_frame: bytes, size: int, messages: list[Message]) -> bool:
        """Returns whether a message is still open."""
        self._connection.receive_data(whole_frame)
        for event in self._connection.events():
            if isinstance(event, TextMessage | BytesMessage):
                first, part = (TEXT, event.data.encode()) if isinstance(event, TextMessage) else (BINARY, event.data)
                self._parts.append(bytes(part))
                if event.message_finished:
                    messages.append((first, b"".join(self._parts)))
                    return False
            elif isinstance(event, CloseConnection):
                if self._connection.state is ConnectionState.REMOTE_CLOSING:
                    raise ClosedByPeer(self._connection.send(event.response()))
                raise Violation(int(event.code), event.reason or "The frame is malformed.")
        self.size += size
        return True
