"""Several processes on one port. In: settings and signals. Out: workers, each a node (`serving`) with its own listener.

The kernel spreads connections over all listeners that share the port (SO_REUSEPORT). This process serves nothing: it
keeps the port, starts the workers, follows up whoever dies, and ends them. SIGTERM and SIGINT end them in order, a
second SIGINT at once. SIGHUP replaces them one after the other: the next one accepts before the last one drains.

A worker is a child with a socket to this process (`serving.Parent`), on which it says that it accepts connections, or
why it cannot. However this process ends, the kernel closes its side of the sockets, and the workers drain: none is left
behind. The terminal's Ctrl-C does not reach them, because each is a process group of its own.
"""

from __future__ import annotations

import logging
import os
import signal
import socket as sockets
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from ..engine.errors import TertuliaError
from .server import listen, url_of
from .serving import READY
from .settings import ServerSettings, Settings, WrongSetting, address_of
from .worker_limits import WorkerLimits

logger = logging.getLogger("tertulia.workers")

STDIN = 0
CHUNK = 4096  # bytes; what a worker says is one line
#: How a worker ends that was told to: in order, or before it had begun to listen to signals.
ENDED_WELL = frozenset({0, -signal.SIGTERM})


class CannotStart(TertuliaError):
    """A worker cannot start."""

    code = "cannot_start"


@dataclass(eq=False, slots=True)
class Worker:
    """One child and our side of the socket to it."""

    process: trio.Process
    channel: trio.socket.SocketType  # open while both live: its end tells the worker of ours
    started_at: float = field(default_factory=trio.current_time)

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    async def accepts(self, patience: float) -> None:
        """Wait until it does; where it does not within `patience` seconds, it is killed.

        Raises:
            CannotStart: with its own words, where it said why.
        """
        said = b""
        with trio.move_on_after(patience) as waiting:
            while chunk := await self.channel.recv(CHUNK):
                said += chunk
                if said == READY:
                    return
        if waiting.cancelled_caught:
            self.process.kill()
            said = b"It accepts no connections after %g s." % patience
        status = await self.process.wait()
        raise CannotStart(said.decode() or f"A worker ended with status {status} before it accepted connections.")

    async def stop(self, patience: float) -> None:
        """Drain it; where that takes more than `patience` seconds, it is killed."""
        self.process.terminate()
        with trio.move_on_after(patience):
            await self.process.wait()
        if self.alive:
            logger.error("worker %d did not end within %g s and is killed", self.process.pid, patience)
            self.process.kill()
            await self.process.wait()


class Workers:
    """All workers; each has a place, and whoever dies is followed at its place by another one."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], limits: WorkerLimits) -> None:
        self._command = command
        self._environment = environment
        self._limits = limits
        self._places: dict[int, Worker] = {}
        self._changing: dict[int, trio.Lock] = {}
        self._all: set[Worker] = set()
        self._ending = trio.CancelScope()
        self._killed = False
        self._hung_up = trio.Event()

    async def run(self, count: int, signals: AsyncIterator[int], accepting: Callable[[], None]) -> int:
        """Keep `count` workers until a signal ends them; returns the exit status.

        Raises:
            CannotStart: one of them cannot.
        """
        failures: list[CannotStart] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, signals)
            with self._ending:
                await self._start(count, failures)
                if not failures:
                    accepting()
                    await self._keep()
            ended = await self._end()
            nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]
        well = all(worker.process.returncode in ENDED_WELL for worker in ended)
        return 0 if well and not self._killed else 1

    async def _hear(self, signals: AsyncIterator[int]) -> None:
        interactive = os.isatty(STDIN)
        async for number in signals:
            if number == signal.SIGHUP and not (interactive and not os.isatty(STDIN)):
                self._hung_up.set()
            elif number == signal.SIGINT and self._ending.cancel_called:
                self._killed = True
                for worker in self._all:
                    worker.process.kill()
            else:  # a terminal that was closed is an end like any other
                self._ending.cancel()

    async def _start(self, count: int, failures: list[CannotStart]) -> None:
        async with trio.open_nursery() as nursery:

            async def start(place: int) -> None:
                try:
                    self._places[place] = await self._open()
                except CannotStart as failure:
                    failures.append(failure)
                    nursery.cancel_scope.cancel()

            for place in range(count):
                self._changing[place] = trio.Lock()
                nursery.start_soon(start, place)

    async def _keep(self) -> None:
        async with trio.open_nursery() as nursery:
            for place in self._places:
                nursery.start_soon(self._keep_place, place)
            while True:
                await self._hung_up.wait()
                self._hung_up = trio.Event()
                await self._restart()

    async def _keep_place(self, place: int) -> None:
        delay = 0.0
        while True:
            worker = self._places[place]
            status = await worker.process.wait()
            async with self._changing[place]:
                if self._places[place] is not worker:
                    continue  # it was replaced
                young = trio.current_time() - worker.started_at < self._limits.steady
                delay = self._longer(delay) if young else self._limits.min_backoff
                logger.error(
                    "worker %d ended with status %d; another one starts in %g s", worker.process.pid, status, delay
                )
                self._places[place] = await self._follow(delay)

    async def _follow(self, delay: float) -> Worker:
        while True:
            await trio.sleep(delay)
            try:
                return await self._open()
            except CannotStart as failure:
                delay = self._longer(delay)
                logger.error("no worker starts, the next one is tried in %g s: %s", delay, failure)

    def _longer(self, delay: float) -> float:
        return min(max(2 * delay, self._limits.min_backoff), self._limits.max_backoff)

    async def _restart(self) -> None:
        """Replace all workers, one after the other. If one cannot be, the others stay."""
        for place, changing in self._changing.items():
            async with changing:
                old = self._places[place]
                try:
                    self._places[place] = await self._open()
                except CannotStart as failure:
                    logger.error("the rolling restart ends at worker %d, which goes on: %s", old.process.pid, failure)
                    return
            await old.stop(self._limits.stop_timeout)
        print(f"tertulia replaced its {len(self._places)} workers", flush=True)

    async def _open(self) -> Worker:
        """A worker that accepts connections. Raises CannotStart."""
        self._forget_dead()
        ours, theirs = sockets.socketpair()
        ours.setblocking(False)
        with theirs:
            descriptor = theirs.fileno()
            try:
                process = await trio.lowlevel.open_process(
                    [*self._command, "--parent", str(descriptor)],
                    env=self._environment, stdin=subprocess.DEVNULL, pass_fds=(descriptor,), process_group=0,
                )  # fmt: skip
            except OSError as error:
                ours.close()
                raise CannotStart(f"The system starts no process: {error.strerror}.") from None
        worker = Worker(process, trio.socket.from_stdlib_socket(ours))
        self._all.add(worker)
        await worker.accepts(self._limits.start_timeout)
        return worker

    async def _end(self) -> list[Worker]:
        """Stop all workers at once; returns them."""
        alive = [worker for worker in self._all if worker.alive]
        async with trio.open_nursery() as nursery:
            for worker in alive:
                nursery.start_soon(worker.stop, self._limits.stop_timeout)
        self._forget_dead()
        return alive

    def _forget_dead(self) -> None:
        for worker in [worker for worker in self._all if not worker.alive]:
            worker.channel.close()
            self._all.discard(worker)


def serve_with_workers(
    settings: Settings, command: Sequence[str], environment: Mapping[str, str], accepting: Callable[[str], None]
) -> int:
    """Keep `settings.server.workers` workers until a signal ends them; returns the exit status.

    Args:
        command: starts a worker, once `--bind` and `--parent` are appended.
        environment: the workers' own.
        accepting: called once, with the server's URL, when all accept connections.

    Raises:
        CannotStart: a worker cannot, for the reason that it gives.
        WrongSetting: the address cannot be used.
    """
    server = settings.server
    with reserve(server) as reserved:
        host, port = reserved.getsockname()[:2]
        bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        workers = Workers([*command, "--bind", bind], environment, settings.worker)

        async def run() -> int:
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                return await workers.run(server.workers, signals, lambda: accepting(url_of(host, port)))

        return trio.run(run)


def reserve(server: ServerSettings) -> sockets.socket:
    """A socket that holds the port for the workers, without listening on it.

    Raises:
        WrongSetting: the address cannot be used, or cannot be shared.
    """
    if not hasattr(sockets, "SO_REUSEPORT"):
        raise WrongSetting("This system does not let processes share a port (SO_REUSEPORT); start one worker.")
    # Sharing is for our own workers: a port where another server listens already is refused like anywhere else.
    listen(server.bind, server.backlog).close()
    host, port = address_of(server.bind)
    reserved = sockets.socket(sockets.AF_INET6 if ":" in host else sockets.AF_INET)
    try:
        reserved.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        reserved.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEPORT, 1)
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        raise WrongSetting(f"The server cannot listen on {server.bind}: {error.strerror}.") from None
    return reserved
