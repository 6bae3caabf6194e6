"""What leaves a socket. In: frames from `hub` and the session. Next hop: the kernel.

A connection without a backlog is written to directly, without waking a task. What the socket does not take waits here and
is written, joined, when the socket is writable again. Over its bound the backlog sheds ephemeral frames (typing, presence)
first; if that is not enough it overflows: the client is told `too_slow` and reconnects, and loses nothing by it, because it
resumes from its position. The broadcaster never waits for a client.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from typing import Protocol


class Sink(Protocol):
    """Where frames for one client go: an `Outbox` over a socket, or the like over another transport."""

    def send(self, frames: bytes, /) -> None: ...

    def send_ephemeral(self, frames: bytes, /) -> None: ...


class OutboxOwner(Protocol):
    """The connection that an outbox reports to. None of these may close the socket on the spot: a broadcast that
    iterates over outboxes is on the stack."""

    def want_writable(self, wanted: bool) -> None: ...

    def broken(self) -> None: ...

    def overflowed(self) -> None: ...


class Outbox:
    """Bytes on their way to one socket."""

    __slots__ = ("_backlog", "_limit", "_owner", "_send", "_waiting", "closed", "shed")

    def __init__(self, sock: socket, owner: OutboxOwner, limit: int) -> None:
        self._send: Callable[[bytes], int] = sock.send
        self._owner = owner
        self._limit = limit
        # None is the common case; (bytes, ephemeral) in the order of sending otherwise.
        self._backlog: list[tuple[bytes, bool]] | None = None
        self._waiting = 0
        self.shed = 0
        self.closed = False

    @property
    def waiting(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._waiting

    def send(self, frames: bytes) -> None:
        """Write whole frames, now if nothing waits before them."""
        if self._backlog is None and not self.closed:
            try:
                sent = self._send(frames)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._break()
                return
            if sent == len(frames):
                return
            self._backlog = []
            # The rest of a frame that is half out must follow, whatever its class.
            self._queue(frames[sent:], False)
            self._owner.want_writable(True)
        elif not self.closed:
            self._queue(frames, False)

    def send_ephemeral(self, frames: bytes) -> None:
        """Write frames that nobody misses for long: the first to go when the socket is slow."""
        if self._backlog is None:
            self.send(frames)
        elif not self.closed:
            self._queue(frames, True)

    def finish(self, frames: bytes) -> None:
        """Drop what has not begun to leave, send these last frames after it, and take no more."""
        if self.closed:
            return
        if self._backlog is None:
            self.send(frames)
        else:
            self._backlog = [self._backlog[0], (frames, False)]
            self._waiting = sum(len(data) for data, _ in self._backlog)
        self.closed = True

    def flush(self) -> bool:
        """The socket is writable. Returns whether everything is out."""
        if self._backlog is None:
            return True
        joined = b"".join([data for data, _ in self._backlog])
        try:
            sent = self._send(joined)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._break()
            return False
        if sent == len(joined):
            self._backlog = None
            self._waiting = 0
            self._owner.want_writable(False)
            return True
        self._drop_sent(sent)
        return False

    def _drop_sent(self, sent: int) -> None:
        assert self._backlog is not None
        self._waiting -= sent
        done = 0
        while sent >= len(self._backlog[done][0]):
            sent -= len(self._backlog[done][0])
            done += 1
        head, _ = self._backlog[done]
        self._backlog[: done + 1] = [(head[sent:], False if sent else self._backlog[done][1])]

    def _queue(self, frames: bytes, ephemeral: bool) -> None:
        assert self._backlog is not None
        self._backlog.append((frames, ephemeral))
        self._waiting += len(frames)
        if self._waiting > self._limit:
            self._shed()
            if self._waiting > self._limit and len(self._backlog) > 1:
                self._owner.overflowed()

    def _shed(self) -> None:
        assert self._backlog is not None
        kept = [entry for entry in self._backlog if not entry[1]]
        self.shed += len(self._backlog) - len(kept)
        self._backlog = kept
        self._waiting = sum(len(data) for data, _ in kept)

    def _break(self) -> None:
        self.closed = True
        self._backlog = None
        self._waiting = 0
        self._owner.broken()
