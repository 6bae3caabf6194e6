"""The sockets of a large group, as requests for one system call. In: frames from `group`. Next hop: `ring`.

A request is written when its socket enters and stays as it is: what changes from one frame to the next is the length,
and often not even that. Each knows its place, so that one that is heard of, or leaves, is found at once; the last takes
the place of one that leaves.
"""

from __future__ import annotations

from array import array
from typing import Generic, TypeVar

from .ring import LENGTH_AT, REQUEST, TAG, TAG_AT, WORD, Ring

M = TypeVar("M")


class Roster(Generic[M]):
    """Members with a socket each."""

    __slots__ = ("_length", "_members", "_places", "_requests", "_ring")

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._members: list[M] = []
        self._places: dict[M, int] = {}
        self._requests = bytearray()
        self._length = 0  # of what was sent last

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: M) -> bool:
        return member in self._places

    def add(self, member: M, descriptor: int) -> None:
        """Send to this socket, too. It must be discarded before the socket is closed: the descriptor may be another
        socket's soon after."""
        place = len(self._members)
        self._places[member] = place
        self._members.append(member)
        self._requests += self._ring.request(descriptor, place, self._length)

    def discard(self, member: M) -> None:
        """Send no more; one who is not in it is no error."""
        place = self._places.pop(member, None)
        if place is None:
            return
        size = REQUEST.size
        last = self._members.pop()
        if last is not member:
            self._members[place] = last
            self._places[last] = place
            self._requests[size * place : size * (place + 1)] = self._requests[-size:]
            TAG.pack_into(self._requests, size * place + TAG_AT, place)
        del self._requests[-size:]

    def send(self, frames: bytes) -> list[tuple[M, int]]:
        """Send to all; at most `ring.LARGEST` bytes. Returns who took less than all, and how much of it."""
        if len(frames) != self._length:
            self._length = len(frames)
            lengths = memoryview(array("I", (self._length,)) * len(self._members))
            with memoryview(self._requests) as whole, whole.cast("I") as words:
                words[LENGTH_AT // WORD :: REQUEST.size // WORD] = lengths
        return [(self._members[place], taken) for place, taken in self._ring.send(self._requests, frames)]
