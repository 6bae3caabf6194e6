"""What leaves a socket. In: frames from `hub` and the session. Next hop: the kernel.

A connection without a backlog is written to directly, without waking a task. What the socket does not take waits here
and is written, joined, when the socket is writable again. What waits is bounded; what is under way (the first entry of
it) does not count, so that one large history is not mistaken for a slow client. Over the bound the backlog sheds
ephemeral frames (typing, presence) first; if that is not enough it overflows: the client is told `too_slow` and
reconnects, and loses nothing by it, because it resumes from its position. The broadcaster never waits for a client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from .group import Group, Write

#: Bytes that are joined for one write; a larger entry is written by itself, without a copy.
WRITE_CHUNK = 128 * 1024


class OutboxOwner(Protocol):
    """The connection that an outbox reports to. None of these may close the socket, or leave the hub, on the spot: a
    broadcast that iterates over outboxes is on the stack."""

    def want_writable(self, wanted: bool) -> None: ...

    def broken(self) -> None: ...

    def overflowed(self) -> None:
        """Called once; the outbox takes no more, except what `finish` brings."""
        ...


class _State(Enum):
    OPEN = auto()
    OVERFLOWED = auto()  # what waited is dropped; only `finish` may still add
    FINISHED = auto()


class Outbox:
    """Bytes on their way to one socket.

    `send` is the socket's: it takes a part of the bytes and says how much, or raises BlockingIOError.
    """

    __slots__ = (
        "_backlog", "_descriptor", "_groups", "_limit", "_owner", "_send", "_state", "_taken", "_waiting", "shed",
    )  # fmt: skip

    def __init__(
        self,
        send: Callable[[bytes | memoryview], int],
        owner: OutboxOwner,
        limit: int,
        descriptor: int | None = None,
    ) -> None:
        """With the socket's descriptor, groups write to it themselves as long as nothing waits. Then `abandon` must
        come before the socket is closed: the descriptor may be another socket's soon after."""
        self._send = send
        self._descriptor = descriptor
        self._owner = owner
        self._limit = limit
        # (bytes, ephemeral) in the order of sending. None is the common case: open, and nothing waits.
        self._backlog: deque[tuple[bytes, bool]] | None = None
        self._groups: tuple[Group, ...] = ()
        self._taken = 0  # how much of the first entry has left
        self._waiting = 0
        self._state = _State.OPEN
        self.shed = 0

    @property
    def waiting(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._waiting

    @property
    def finished(self) -> bool:
        """Whether the last bytes have left."""
        return self._state is _State.FINISHED and not self._backlog

    def send(self, frames: bytes) -> None:
        """Write whole frames, now if nothing waits before them."""
        if self._backlog is None:
            try:
                sent = self._send(frames)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._break()
                return
            if sent != len(frames):
                self._begin_backlog(frames, sent)
        elif self._state is _State.OPEN:
            self._queue(frames)

    def send_ephemeral(self, frames: bytes) -> None:
        """Write frames that nobody misses for long: the first to go when the socket is slow."""
        if self._backlog is None:
            self.send(frames)
        elif self._state is _State.OPEN:
            if self._excess(len(frames)) > 0:
                self.shed += 1
            else:
                self._backlog.append((frames, True))
                self._waiting += len(frames)

    # A group's side; see `group`.

    def enter(self, group: Group) -> None:
        group.put(self)
        self._groups += (group,)

    def leave(self, group: Group) -> None:
        group.remove(self)
        self._groups = tuple([other for other in self._groups if other is not group])

    def socket(self) -> tuple[int, Write] | None:
        return None if self._descriptor is None or self._backlog is not None else (self._descriptor, self._send)

    def unsent(self, frames: bytes, taken: int) -> None:
        if taken:
            self._begin_backlog(frames, taken)
        else:
            self.send(frames)  # and be told why nothing of it was taken

    def _have_backlog(self, backlog: deque[tuple[bytes, bool]] | None) -> None:
        self._backlog = backlog
        for group in self._groups:
            group.put(self)

    def finish(self, frames: bytes) -> None:
        """Send these after all that waits, and take no more."""
        if self._backlog is None:
            self.send(frames)
        elif self._state is not _State.FINISHED:
            self._backlog.append((frames, False))
            self._waiting += len(frames)
            self._owner.want_writable(True)
        if self._backlog is None:
            self._have_backlog(deque())
        self._state = _State.FINISHED

    def abandon(self) -> None:
        """Forget what waits, and take no more: the socket is gone."""
        self._state = _State.FINISHED
        self._have_backlog(deque())
        self._waiting = self._taken = 0

    def flush(self) -> None:
        """The socket is writable."""
        if not self._backlog:
            return
        chunk = self._next_chunk()
        try:
            sent = self._send(chunk)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._break()
            return
        self._drop_sent(sent)
        if not self._backlog:
            if self._state is _State.OPEN:
                self._have_backlog(None)
            self._owner.want_writable(False)

    def _next_chunk(self) -> bytes | memoryview:
        """The first entry's rest, or as many whole entries as fit into one write."""
        assert self._backlog
        head = self._backlog[0][0]
        if self._taken:
            return memoryview(head)[self._taken :]
        if len(self._backlog) == 1:
            return head
        chunk: list[bytes] = []
        room = WRITE_CHUNK
        for frames, _ in self._backlog:
            room -= len(frames)
            if room < 0 and chunk:
                break
            chunk.append(frames)
        return chunk[0] if len(chunk) == 1 else b"".join(chunk)

    def _drop_sent(self, sent: int) -> None:
        assert self._backlog
        self._waiting -= sent
        self._taken += sent
        while self._backlog and self._taken >= len(self._backlog[0][0]):
            self._taken -= len(self._backlog.popleft()[0])

    def _begin_backlog(self, frames: bytes, sent: int) -> None:
        self._have_backlog(deque(((frames, False),)))
        self._taken = sent
        self._waiting = len(frames) - sent
        self._owner.want_writable(True)

    def _queue(self, frames: bytes) -> None:
        assert self._backlog is not None
        self._backlog.append((frames, False))
        self._waiting += len(frames)
        if self._excess() > 0:
            self._keep(lambda entry: not entry[1])
            if self._excess() > 0:
                self._state = _State.OVERFLOWED
                self._keep(lambda entry: False)
                self._owner.overflowed()

    def _excess(self, more: int = 0) -> int:
        """How far what waits behind the first entry is over the bound."""
        under_way = len(self._backlog[0][0]) - self._taken if self._backlog else 0
        return self._waiting - under_way + more - self._limit

    def _keep(self, wanted: Callable[[tuple[bytes, bool]], bool]) -> None:
        """Drop entries that are not wanted, but never the rest of one that is half out: frames leave whole."""
        assert self._backlog is not None
        entries = list(self._backlog)
        begun = 1 if self._taken else 0
        kept = entries[:begun] + [entry for entry in entries[begun:] if wanted(entry)]
        self.shed += sum(ephemeral for _, ephemeral in entries) - sum(ephemeral for _, ephemeral in kept)
        self._backlog = deque(kept)
        self._waiting = sum(len(frames) for frames, _ in kept) - self._taken

    def _break(self) -> None:
        self.abandon()
        self._owner.broken()
