"""One process that serves: an engine, a server around it, and an orderly end. Next hop: `engine`, `server`.

It may be a worker: then a socket connects it with the process that started it, its parent. The worker says on it that
it accepts connections, or why it cannot, and reads nothing from it but its end: the parent is gone, and so goes the
worker.
"""

from __future__ import annotations

import gc
import signal
import socket as sockets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import trio

from ..engine.errors import TertuliaError
from . import demo as demo_account
from .engine import open_engine
from .jobs_module import load_jobs
from .memory import give_memory_back
from .server import Server, open_server
from .settings import Settings

#: Generation 0 is collected after so many new objects, the others after so many runs of the one before. Requests leave
#: little garbage that needs the collector, and a run of generation 2 walks all live objects: with thousands of
#: connections Python's default, once in 70,000 objects, costs more than it frees. The younger ones stay small: when
#: thousands of clients come back, all that is new is alive, and walking 50,000 objects stops the server for 40 ms.
GC_THRESHOLDS = (2_000, 3, 8_000)
#: Seconds that a thread waits for the interpreter before it is given it, half of Python's default. While the event loop
#: is busy a commit needs it several times, and everybody waits for commits; a shorter one costs more than it brings.
SWITCH_INTERVAL = 0.0025
#: What a worker says when it accepts connections; anything else is the reason why it does not.
READY = b"ready\n"


class Parent:
    """A worker's side of the socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = sockets.socket(fileno=descriptor)
        self._socket.set_inheritable(False)

    def tell(self, what: bytes) -> None:
        with suppress(OSError):  # it is gone, which `gone` tells
            self._socket.sendall(what)

    async def gone(self) -> None:
        """Wait until it is; nothing else makes the socket readable."""
        await trio.lowlevel.wait_readable(self._socket)


def serve(settings: Settings, *, demo: bool) -> None:
    """Serve until SIGINT or SIGTERM, then drain.

    Raises:
        TertuliaError: the server cannot start.
        BaseExceptionGroup: with a TertuliaError, it failed later.
    """

    def accepting(server: Server, filled: Mapping[str, Any] | None) -> None:
        if filled is not None:
            print(demo_account.sheet(filled))
            print(f"# both sides of a chat: {server.url}/demo")
        print(f"tertulia accepts connections on {server.url} (cable: {settings.server.cable_path})", flush=True)

    _run(settings, demo, accepting)


def serve_as_worker(settings: Settings, parent: Parent, *, demo: bool) -> int:
    """Serve until SIGTERM or the parent's end, then drain; returns the exit status.

    Raises:
        BaseExceptionGroup: with a TertuliaError, the server failed after it had accepted connections.
    """

    def accepting(_: Server, __: Mapping[str, Any] | None) -> None:
        parent.tell(READY)

    try:
        _run(settings, demo, accepting, parent)
    except TertuliaError as error:
        parent.tell(error.detail.encode())
        return 2
    return 0


def run_reporting(main: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
    """Run a process's main task; an error that Tertulia raised on purpose comes alone until the task says it started.

    Raises:
        TertuliaError: it could not start.
        BaseExceptionGroup: it failed later.
    """
    started = False

    def start() -> None:
        nonlocal started
        started = True

    try:
        trio.run(main, start, restrict_keyboard_interrupt_to_checkpoints=True)
    except BaseExceptionGroup as group:
        error = known_error(group)
        if error is None or started:
            raise
        raise error from None


def _run(
    settings: Settings,
    demo: bool,
    accepting: Callable[[Server, Mapping[str, Any] | None], None],
    parent: Parent | None = None,
) -> None:
    async def serving(started: Callable[[], None]) -> None:
        def start(server: Server, filled: Mapping[str, Any] | None) -> None:
            started()
            accepting(server, filled)

        await _serving(settings, demo, start, parent)

    run_reporting(serving)


async def _serving(
    settings: Settings,
    demo: bool,
    accepting: Callable[[Server, Mapping[str, Any] | None], None],
    parent: Parent | None,
) -> None:
    # A process manager may send SIGTERM more than once; a person who presses Ctrl-C again means it.
    with trio.open_signal_receiver(signal.SIGTERM) as terminations:
        redis = settings.server.redis or None
        jobs = load_jobs(settings.server.jobs_module)
        async with open_engine(settings.server.database, settings, redis=redis, jobs=jobs) as engine:
            world, filled = engine.world, None
            if demo:
                filled = await demo_account.fill(world.reads, world.journal, world.wall_clock())
            shared = parent is not None
            async with (
                open_server(engine, settings, demo=filled, shared_port=shared) as server,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(give_memory_back, engine.directory)
                gc.collect()
                gc.freeze()
                gc.set_threshold(*GC_THRESHOLDS)
                sys.setswitchinterval(SWITCH_INTERVAL)
                accepting(server, filled)
                with trio.open_signal_receiver(signal.SIGINT) as interrupts:
                    ends = [next_of(terminations), next_of(interrupts), *([parent.gone] if parent else [])]
                    await first_of(*ends)
                nursery.cancel_scope.cancel()


def next_of(source: AsyncIterator[int]) -> Callable[[], Awaitable[object]]:
    """For `first_of`: the next of these signals."""
    return lambda: anext(source)


async def first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until one of them is over."""
    async with trio.open_nursery() as nursery:

        async def wait(for_it: Callable[[], Awaitable[object]]) -> None:
            await for_it()
            nursery.cancel_scope.cancel()

        for for_it in waits:
            nursery.start_soon(wait, for_it)


def known_error(error: BaseException) -> TertuliaError | None:
    """The first error in a group that Tertulia raised on purpose."""
    if isinstance(error, TertuliaError):
        return error
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return next(filter(None, map(known_error, inner)), None)
    return None


def allow_many_files() -> None:
    """A connection is a file: raise the soft limit to what the system allows."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS names a hard limit that it does not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 10_240), hard))
