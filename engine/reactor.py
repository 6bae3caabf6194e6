"""All sockets of the gateway in one task. In: readiness from the kernel. Next hop: `connection`.

One trio task owns one selector. trio waits on the selector's own file descriptor; then the ready sockets are handled in
slices, with a checkpoint between slices, so that the other tasks get their turns. A connection is an object, not a task:
half a kilobyte instead of four, and no wake-up per message.
"""

from __future__ import annotations

import selectors
from dataclasses import dataclass
from socket import socket
from typing import Protocol

import trio

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

#: Seconds between two looks at the deadlines of sockets that must say or swallow something in time.
SWEEP_INTERVAL = 0.5


class SocketHandler(Protocol):
    """An object that the reactor tells when its socket is ready. None of these waits."""

    def on_readable(self) -> None: ...

    def on_writable(self) -> None: ...

    def on_deadline(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ReactorStatistics:
    sockets: int
    wakeups: int
    events: int


class Reactor:
    """The selector and the sockets registered with it."""

    def __init__(self, slice_size: int = 64) -> None:
        self._selector = selectors.DefaultSelector()
        self._slice = slice_size
        self._deadlines: dict[SocketHandler, float] = {}
        self._wakeups = 0
        self._events = 0

    @staticmethod
    def available() -> bool:
        """Whether this platform's selector has a descriptor that trio can wait on."""
        with selectors.DefaultSelector() as selector:
            return hasattr(selector, "fileno")

    def register(self, sock: socket, handler: SocketHandler, events: int = READ) -> None:
        self._selector.register(sock, events, handler)

    def modify(self, sock: socket, handler: SocketHandler, events: int) -> None:
        self._selector.modify(sock, events, handler)

    def unregister(self, sock: socket) -> None:
        """Forget the socket; unknown sockets are no error."""
        try:
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            return

    def set_deadline(self, handler: SocketHandler, seconds: float | None) -> None:
        """Call `on_deadline` in so many seconds, unless this is called again before; None takes it back."""
        if seconds is None:
            self._deadlines.pop(handler, None)
        else:
            self._deadlines[handler] = trio.current_time() + seconds

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_deadlines)
            await self._serve()

    async def _serve(self) -> None:
        descriptor: int = self._selector.fileno()  # type: ignore[attr-defined]  # `available` has been asked
        select = self._selector.select
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            self._wakeups += 1
            ready = select(0)
            self._events += len(ready)
            for number, (key, events) in enumerate(ready, 1):
                handler: SocketHandler = key.data
                if events & READ:
                    handler.on_readable()
                if events & WRITE:
                    handler.on_writable()
                if number % self._slice == 0:
                    await trio.lowlevel.checkpoint()

    async def _watch_deadlines(self) -> None:
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            now = trio.current_time()
            for handler in [handler for handler, deadline in self._deadlines.items() if deadline <= now]:
                self._deadlines.pop(handler, None)
                handler.on_deadline()

    def statistics(self) -> ReactorStatistics:
        return ReactorStatistics(len(self._selector.get_map()), self._wakeups, self._events)

    def close(self) -> None:
        self._selector.close()
