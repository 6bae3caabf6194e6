"""Subscribers who get the same bytes. In: frames from `hub`. Next hop: each one's socket; `outbox` where it is busy.

A frame goes to thousands of sockets, and most of what that costs on this side of the kernel is memory that is not in
the processor's cache: a connection's outbox, looked at only to find that nothing waits in it. So a group keeps, for
each member, how to write to it now: the socket's own `send` while nothing waits, the outbox's as soon as something
does. The outbox changes the entry itself, in every group that it is in, before anything else can be written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

#: Writes whole frames and says how many of the bytes were taken.
Write = Callable[[bytes], int]


class Sink(Protocol):
    """Where frames for one client go: an `Outbox` over a socket, or a `PlainSink` over something else."""

    def send(self, frames: bytes, /) -> None: ...

    def send_ephemeral(self, frames: bytes, /) -> None: ...

    def unsent(self, frames: bytes, taken: int, /) -> None:
        """Its socket took only so many of the bytes that a group wrote to it; none, where it failed."""
        ...

    def enter(self, members: Members, /) -> None:
        """Become a member: keep the entry of this sink up to date from now on."""
        ...

    def leave(self, members: Members, /) -> None: ...


Members = dict[Sink, Write]


def write_to_all(members: Members, frames: bytes) -> None:
    """Hand the same bytes to every member."""
    size = len(frames)
    short: list[tuple[Write, int]] = []
    for write in members.values():
        try:
            taken = write(frames)
        except OSError:
            taken = 0
        if taken != size:
            short.append((write, taken))
    if short:
        sinks = {write: sink for sink, write in members.items()}
        for write, taken in short:
            sinks[write].unsent(frames, taken)


class PlainSink(ABC):
    """A sink that takes everything at once: a base for those without a socket."""

    __slots__ = ()

    @abstractmethod
    def send(self, frames: bytes, /) -> None: ...

    def unsent(self, frames: bytes, taken: int, /) -> None:
        raise AssertionError("a sink that takes everything left something")

    def enter(self, members: Members, /) -> None:
        members[self] = self._take

    def leave(self, members: Members, /) -> None:
        members.pop(self, None)

    def send_ephemeral(self, frames: bytes, /) -> None:
        self.send(frames)

    def _take(self, frames: bytes) -> int:
        self.send(frames)
        return len(frames)
