"""All sockets of the gateway in one task. In: readiness from the kernel. Next hop: `connection`.

One trio task owns one selector. trio waits on the selector's own file descriptor; then the ready sockets are handled
in slices, with a checkpoint between slices, so that the other tasks get their turns. A connection is an object, not a
task: half a kilobyte instead of four, and no wake-up per message.

A handler may be told of readiness after it has let go of its socket, because what is ready was listed before: the same
slice, or another task at a checkpoint, may have closed it. Handlers look first; a reused descriptor never reaches the
wrong one, because the list holds handlers, not descriptors.

Whatever a handler raises ends that handler's connection (`on_error`) and nothing else.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from dataclasses import dataclass
from socket import socket

import trio

from .arrivals import Arrivals
from .sockets import READ, WRITE, SocketHandler, Sockets
from .threads import let_threads_run

#: Seconds between two looks at the deadlines of sockets that must say or swallow something in time.
SWEEP_INTERVAL = 0.5


@dataclass(frozen=True, slots=True)
class ReactorStatistics:
    sockets: int
    wakeups: int
    events: int


class Reactor(Sockets):
    """The gateway's sockets, and the task that tells their handlers."""

    def __init__(
        self, slice_size: int = 64, arrivals_share: float = 0.00025, read_chunk: int = 65536, gather: float = 0.0
    ) -> None:
        super().__init__()
        self._slice = slice_size
        self._gather = gather  # seconds
        self._received = memoryview(bytearray(read_chunk))
        #: Sockets that are handled for so many seconds of a pass, after which those of the reactor have their turn.
        self.arrivals = Arrivals(arrivals_share)
        self._selector.register(self.arrivals, READ, self.arrivals)
        self._deadlines: dict[SocketHandler, float] = {}
        self._soon: list[tuple[SocketHandler, Callable[[], None]]] = []
        self._soon_filled = trio.Event()
        self._wakeups = 0
        self._events = 0

    @staticmethod
    def available() -> bool:
        """Whether this platform's selector has a descriptor that trio can wait on."""
        with selectors.DefaultSelector() as selector:
            return hasattr(selector, "fileno")

    def receive(self, sock: socket) -> bytes:
        """What the socket has to say now, up to a chunk; nothing where it has ended.

        All sockets read into one buffer: memory for a chunk of each, cut down to the few bytes that came, is more work
        for the allocator than everything else that a message needs of it.

        Raises:
            OSError: as `socket.recv`.
        """
        return self._received[: sock.recv_into(self._received)].tobytes()

    def set_deadline(self, handler: SocketHandler, seconds: float | None) -> None:
        """Call `on_deadline` in so many seconds, unless this is called again before; None takes it back."""
        if seconds is None:
            self._deadlines.pop(handler, None)
        else:
            self._deadlines[handler] = trio.current_time() + seconds

    def call_soon(self, handler: SocketHandler, work: Callable[[], None]) -> None:
        """Do the work as soon as nothing else is on the stack; what it raises is the handler's."""
        self._soon.append((handler, work))
        self._soon_filled.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_deadlines)
            nursery.start_soon(self._work_soon)
            await self._serve()

    async def _serve(self) -> None:
        descriptor: int = self._selector.fileno()  # `available` has been asked
        select = self._selector.select
        next_pass = 0.0
        while True:
            if self.arrivals.make_way():
                let_threads_run()
                await trio.lowlevel.checkpoint()
                next_pass = 0.0
            else:
                await trio.lowlevel.wait_readable(descriptor)
                next_pass = await self._let_gather(next_pass)
                self._wakeups += 1
            ready = select(0)
            self._events += len(ready)
            for number, (key, events) in enumerate(ready, 1):
                handler: SocketHandler = key.data
                try:
                    if events & READ:
                        handler.on_readable()
                    if events & WRITE:
                        handler.on_writable()
                except Exception as error:
                    handler.on_error(error)
                if number % self._slice == 0:
                    await trio.lowlevel.checkpoint()

    async def _let_gather(self, next_pass: float) -> float:
        """Wait for company, where the last pass was just now. Returns when the next one is not too early.

        On its own, a message costs a whole round of the scheduler. Newcomers are not held up: theirs is a share of
        one pass in a few.
        """
        now = trio.current_time()
        if now < next_pass:
            await trio.sleep_until(next_pass)
            now = trio.current_time()
        return now + self._gather

    async def _work_soon(self) -> None:
        while True:
            await self._soon_filled.wait()
            self._soon_filled = trio.Event()
            work, self._soon = self._soon, []
            for handler, call in work:
                _guarded(handler, call)

    async def _watch_deadlines(self) -> None:
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            now = trio.current_time()
            for handler in [handler for handler, deadline in self._deadlines.items() if deadline <= now]:
                # An earlier one of this sweep may have taken the deadline back.
                if self._deadlines.pop(handler, None) is not None:
                    _guarded(handler, handler.on_deadline)

    def statistics(self) -> ReactorStatistics:
        sockets = len(self._selector.get_map()) - 1 + len(self.arrivals)
        return ReactorStatistics(sockets, self._wakeups, self._events)

    def close(self) -> None:
        """Close the selectors and every socket that is still registered."""
        self.arrivals.close()
        super().close()


def _guarded(handler: SocketHandler, call: Callable[[], None]) -> None:
    try:
        call()
    except Exception as error:
        handler.on_error(error)
