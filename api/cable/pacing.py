"""How a long history leaves: in pieces, as fast as the socket takes them, while live events are held back behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import trio

from ...engine.group import Sink

INTERVAL = 0.01  # seconds between two looks at a socket that has not taken a piece yet


class Outgoing(Sink, Protocol):
    """A sink that knows how much it still has."""

    @property
    def waiting(self) -> int: ...


async def send_paced(outgoing: Outgoing, frames: Sequence[bytes], size: int, wanted: Callable[[], bool]) -> bool:
    """Send the frames in pieces of about `size` bytes. Returns False, early, when they are not wanted any more."""
    for piece in pieces(frames, size):
        outgoing.send(piece)
        while outgoing.waiting > size:
            await trio.sleep(INTERVAL)
            if not wanted():
                return False
    return True


def pieces(frames: Sequence[bytes], size: int) -> Iterator[bytes]:
    """The frames joined into pieces of about `size` bytes."""
    begin = length = 0
    for end, frame in enumerate(frames, 1):
        length += len(frame)
        if length >= size or end == len(frames):
            yield b"".join(frames[begin:end])
            begin, length = end, 0
