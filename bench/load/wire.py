"""What a WebSocket client says and hears (RFC 6455), as bytes. The mask is all zeros, which is valid and costs nothing.

No proxy is on the way that a random mask would have to protect, so none is needed to measure a server: it unmasks
zeros as it does any other mask.
"""

from __future__ import annotations

from collections.abc import Iterable

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
LAST_CHUNK = b"\r\n0\r\n\r\n"  # with the end of what is before it
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the one of the RFC; what the server makes of it is not checked


def client_frame(payload: bytes, first: int = TEXT) -> bytes:
    """One masked final frame."""
    return header(len(payload), first) + payload


def header(size: int, first: int = TEXT) -> bytes:
    """The head of a masked final frame of that many bytes."""
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0"


def upgrade(
    host: str, port: int, path: str, *, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """The request that opens a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        *([f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []),
        *(f"{name}: {value}" for name, value in headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def split_frames(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """The (first byte, payload) pairs of the server's whole frames, and where the rest begins."""
    frames, at, end = list[tuple[int, bytes]](), 0, len(data)
    while end - at >= 2:
        size, body = data[at + 1] & 0x7F, at + 2
        if size == 126:
            size, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            size, body = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        if body + size > end:
            break
        frames.append((data[at], data[body : body + size]))
        at = body + size
    return frames, at


def split_responses(data: bytes) -> tuple[list[int], int]:
    """The status codes of the whole HTTP/1.1 responses, and where the rest begins."""
    statuses, at = list[int](), 0
    while (body := data.find(b"\r\n\r\n", at)) >= 0:
        head, body = data[at:body].lower(), body + 4
        _, has_length, length = head.partition(b"content-length:")
        if has_length:
            stop = body + int(length.split(b"\r\n", 1)[0])
        elif b"transfer-encoding: chunked" in head:
            last = data.find(LAST_CHUNK, body - 2)
            stop = last + len(LAST_CHUNK) if last >= 0 else len(data) + 1
        else:
            stop = body
        if stop > len(data):
            break
        statuses.append(int(head[9:12]))
        at = stop
    return statuses, at
