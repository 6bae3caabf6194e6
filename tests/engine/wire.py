"""A client's frames, right and wrong, as bytes."""

import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x37\xfa\x21\x3d"


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    mask: bytes | None = MASK,
    reserved: int = 0,
    length_bytes: int | None = None,
) -> bytes:
    """One frame as a client sends it; `length_bytes` (1, 3 or 9) writes the length longer than it needs."""
    size = len(payload)
    masked = 0 if mask is None else 0x80
    length_bytes = length_bytes or (1 if size < 126 else 3 if size < 65536 else 9)
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    if length_bytes == 1:
        head = struct.pack("!BB", first, masked | size)
    elif length_bytes == 3:
        head = struct.pack("!BBH", first, masked | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at & 3] for at, byte in enumerate(payload))


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason
