"""A WebSocket client that is light enough for a thousand in one process. In: a URL. Out: whole text messages.

It speaks as much of RFC 6455 as the server uses: unfragmented frames, no extensions. The mask is all zeros, which is a
mask like any other and costs nothing; no proxy that it would have to fool is on the way.
"""

from __future__ import annotations

import base64
import secrets
from types import TracebackType
from urllib.parse import urlsplit

import trio

CHUNK = 65536
FINAL_TEXT, CLOSE = 0x81, 0x88
MASKED = 0x80


class Closed(Exception):
    """The connection is gone; `args` says how."""


class WebSocket:
    """One connection. Made by `connect`."""

    def __init__(self, stream: trio.SocketStream, rest: bytes) -> None:
        self._stream = stream
        self._buffer = bytearray(rest)

    async def send(self, text: bytes) -> None:
        """Raises Closed."""
        size = len(text)
        head = bytes((FINAL_TEXT, MASKED | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
        try:
            await self._stream.send_all(head + b"\0\0\0\0" + text)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Closed("dropped") from None

    async def receive(self) -> list[bytes]:
        """Wait for more; returns the messages that are complete. Raises Closed after the last one."""
        while True:
            messages = self._take()
            if messages:
                return messages
            try:
                data = await self._stream.receive_some(CHUNK)
            except trio.BrokenResourceError:
                raise Closed("dropped") from None
            if not data:
                raise Closed("dropped")
            self._buffer += data

    def _take(self) -> list[bytes]:
        buffer, at, messages = self._buffer, 0, list[bytes]()
        while len(buffer) - at >= 2:
            first, size, head = buffer[at], buffer[at + 1], 2
            if size == 126:
                size, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
            elif size == 127:
                size, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
            end = at + head + size
            if len(buffer) < end:
                break
            if first == CLOSE:
                if messages:
                    break  # first what was said before
                raise Closed("closed")
            if first == FINAL_TEXT:
                messages.append(bytes(buffer[at + head : end]))
            at = end
        del buffer[:at]
        return messages

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await trio.aclose_forcefully(self._stream)


async def connect(url: str, subprotocol: str) -> WebSocket:
    """Open a connection.

    Raises:
        OSError: nobody listens there.
        Closed: the server refused the upgrade, or went away in the middle of it.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    stream = await trio.open_tcp_stream(parts.hostname, parts.port)
    try:
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        await stream.send_all(
            f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = await stream.receive_some(CHUNK)
            if not data:
                raise Closed("dropped during the handshake")
            answer += data
        head, _, rest = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise Closed(head.partition(b"\r\n")[0].decode("latin-1"))
    except trio.BrokenResourceError:
        await trio.aclose_forcefully(stream)
        raise Closed("dropped during the handshake") from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return WebSocket(stream, rest)
