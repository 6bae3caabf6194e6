"""Sockets of those who have just come. In: readiness from the kernel. Next hop: their handlers, a few at a time.

When thousands come back at once, each has to be greeted, recognised and told what it missed. Whoever is here already
must not wait for all of that. So newcomers have a selector of their own, and one pass of the reactor in a few gives it
a share of time and no more: what is ready beyond that waits, in the order in which it became ready, and so do those who
have not even been accepted.

The newcomers' selector is one socket of the reactor's selector: it is readable while any of its sockets is.
"""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Callable
from time import perf_counter

from .sockets import READ, WRITE, SocketHandler, Sockets

#: Passes for everybody else between two shares. A message that was read has then gone through its actor, the writer and
#: back, instead of waiting for one share after the other.
PASSES_BETWEEN = 5


class Arrivals(Sockets):
    """The sockets of newcomers; a handler of the reactor itself.

    Args:
        share: seconds of a pass that newcomers get. One more handler is told as long as it is not over.
        clock: seconds since any instant. Where it is coarse, a pass takes that much longer, but never for ever: nobody
            is told twice in it.
    """

    def __init__(self, share: float, clock: Callable[[], float] = perf_counter) -> None:
        super().__init__()
        self._share = share
        self._clock = clock
        self._passes_off = 0
        self._is_off = False
        self._ready: deque[tuple[selectors.SelectorKey, int]] = deque()

    def fileno(self) -> int:
        return int(self._selector.fileno())  # `Reactor.available` has been asked

    def __len__(self) -> int:
        return len(self._selector.get_map())

    def make_way(self) -> bool:
        """Whether the others have this pass to themselves, because newcomers had theirs just now."""
        self._is_off = self._passes_off > 0
        self._passes_off -= self._is_off
        return self._is_off

    def on_readable(self) -> None:
        """Tell handlers, each of what was ready, until the share is used up."""
        if self._is_off:
            return
        self._passes_off = PASSES_BETWEEN
        clock = self._clock
        end = clock() + self._share
        ready = self._ready
        if not ready:
            ready.extend(self._selector.select(0))
        while ready:
            key, events = ready.popleft()
            handler: SocketHandler = key.data
            try:
                if events & READ:
                    handler.on_readable()
                if events & WRITE:
                    handler.on_writable()
            except Exception as error:
                handler.on_error(error)
            if clock() >= end:
                return

    def on_writable(self) -> None: ...

    def abandon(self) -> None: ...

    def on_deadline(self) -> None: ...

    def on_error(self, error: Exception) -> None:
        raise error

    def close(self) -> None:
        self._ready.clear()
        super().close()
