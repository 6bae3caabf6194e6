"""Subscribers who get the same bytes. In: frames from `hub`. Next hop: each one's socket; `outbox` where it is busy.

A frame goes to thousands of sockets, and most of what that costs on this side of the kernel is memory that is not in
the processor's cache: a connection's outbox, looked at only to find that nothing waits in it. So a group keeps apart
those for whom nothing waits, and writes to their sockets itself: with one system call for all of them where there is a
`ring` and they are many. An outbox tells every group that it is in (`put`) before anything else can be written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from .ring import LARGEST, Ring
from .roster import Roster

#: Writes whole frames and says how many of the bytes were taken.
Write = Callable[[bytes], int]

#: An empty dict takes 64 bytes, and most groups have one member.
NOBODY: dict[Any, Any] = {}
#: Sockets for which one system call is cheaper than one for each: with 24 it costs the same.
MANY = 32


class Sink(Protocol):
    """Where frames for one client go: an `Outbox` over a socket, or a `PlainSink` over something else."""

    def send(self, frames: bytes, /) -> None: ...

    def send_ephemeral(self, frames: bytes, /) -> None: ...

    def unsent(self, frames: bytes, taken: int, /) -> None:
        """Its socket took only so many of the bytes that a group wrote to it; none, where it failed."""
        ...

    def socket(self) -> tuple[int, Write] | None:
        """The descriptor and the `send` of the socket that a group may write to now; None: only through the sink."""
        ...

    def enter(self, group: Group, /) -> None:
        """Become a member: `put` this sink again from now on whenever its `socket` changes."""
        ...

    def leave(self, group: Group, /) -> None: ...


class Group:
    """Some sinks, and how to write to each of them now."""

    __slots__ = ("_direct", "_others", "_ring", "_roster")

    def __init__(self, ring: Ring | None = None) -> None:
        self._ring = ring
        self._direct: dict[Sink, Write] = NOBODY
        self._others: dict[Sink, None] = NOBODY
        self._roster: Roster[Sink] | None = None  # of those in `_direct`, while they are many

    def __len__(self) -> int:
        return len(self._direct) + len(self._others)

    def __contains__(self, sink: Sink) -> bool:
        return sink in self._direct or sink in self._others

    def put(self, sink: Sink) -> None:
        """A new member, or one to whom there is another way now."""
        socket = sink.socket()
        if socket is None:
            self._forget_direct(sink)
            if not self._others:
                self._others = {}
            self._others[sink] = None
            return
        self._others.pop(sink, None)
        if not self._direct:
            self._direct = {}
        descriptor, self._direct[sink] = socket
        if self._roster is not None:
            if sink not in self._roster:
                self._roster.add(sink, descriptor)
        elif self._ring is not None and len(self._direct) >= MANY:
            self._roster = self._roster_on(self._ring)

    def remove(self, sink: Sink) -> None:
        """A member no more; who was none is no error."""
        self._others.pop(sink, None)
        self._forget_direct(sink)

    def _forget_direct(self, sink: Sink) -> None:
        self._direct.pop(sink, None)
        if self._roster is not None:
            self._roster.discard(sink)
            if len(self._direct) < MANY // 2:
                self._roster = None

    def _roster_on(self, ring: Ring) -> Roster[Sink]:
        roster = Roster[Sink](ring)
        for sink in self._direct:
            socket = sink.socket()
            assert socket is not None
            roster.add(sink, socket[0])
        return roster

    def write(self, frames: bytes, *, ephemeral: bool = False) -> None:
        """Hand the same bytes to every member."""
        # First of all the others: whoever takes less than all becomes one of them by that.
        for sink in self._others:
            if ephemeral:
                sink.send_ephemeral(frames)
            else:
                sink.send(frames)
        if self._roster is not None and len(frames) <= LARGEST:
            short = self._roster.send(frames)
        else:
            short = self._write_one_by_one(frames)
        for sink, taken in short:
            sink.unsent(frames, taken)

    def _write_one_by_one(self, frames: bytes) -> list[tuple[Sink, int]]:
        size = len(frames)
        short: list[tuple[Write, int]] = []
        for write in self._direct.values():
            try:
                taken = write(frames)
            except OSError:
                taken = 0
            if taken != size:
                short.append((write, taken))
        if not short:
            return []
        sinks = {write: sink for sink, write in self._direct.items()}
        return [(sinks[write], taken) for write, taken in short]


class PlainSink(ABC):
    """A sink that takes everything at once: a base for those without a socket."""

    __slots__ = ()

    @abstractmethod
    def send(self, frames: bytes, /) -> None: ...

    def unsent(self, frames: bytes, taken: int, /) -> None:
        raise AssertionError("a sink that takes everything left something")

    def socket(self) -> None:
        return None

    def enter(self, group: Group, /) -> None:
        group.put(self)

    def leave(self, group: Group, /) -> None:
        group.remove(self)

    def send_ephemeral(self, frames: bytes, /) -> None:
        self.send(frames)
