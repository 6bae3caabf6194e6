"""Nodes as an operator runs them: processes on ports of their own, which can be killed and started again."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import trio

from ..processes.server_process import START_TIMEOUT, STOP_TIMEOUT, command, environment
from ..servers import free_port

READY = b"accepts connections on"

RESTART_PAUSE = 0.5  # seconds
METRICS_TIMEOUT = 2.0
#: What is read from a node's metrics, and what it is called in the report.
COUNTERS = {
    "tertulia_cluster_gaps_total": "gaps that nodes filled from PostgreSQL",
    "tertulia_cluster_forwarded_total": "commands that nodes sent to others",
    "tertulia_directory_crashes_total": "actors that started again",
}


class EndedEarly(Exception):
    """The node ended before it accepted connections."""


class Node:
    """One address, and the process that serves there now."""

    def __init__(self, name: str, arguments: Sequence[str], settings: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.address = f"127.0.0.1:{free_port()}"
        self.accepting = False
        self.kills = 0
        self.counters: Counter[str] = Counter()
        self._arguments = ("serve", "--bind", self.address, *arguments)
        self._settings = settings
        self.log = log
        self._process: trio.Process | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start a process and wait until it accepts connections."""
        with self.log.open("ab") as log:
            self._process = process = await trio.lowlevel.open_process(
                command(*self._arguments), env=environment(**self._settings), stdout=subprocess.PIPE, stderr=log
            )
        assert process.stdout is not None
        said = b""
        with trio.fail_after(START_TIMEOUT):
            while READY not in said:
                data = await process.stdout.receive_some(4096)
                if not data:
                    status = await process.wait()
                    raise EndedEarly(f"node {self.name} ended with {status}: {self.log.read_text()[-2000:]}")
                said += data
        self.accepting = True  # it says no more than this, so that its pipe cannot fill up

    async def start_again(self) -> None:
        """Start it as a supervisor of services does: again, where it ends because a server is away."""
        with trio.fail_after(START_TIMEOUT):
            while True:
                try:
                    await self.start()
                except EndedEarly:
                    await trio.sleep(RESTART_PAUSE)
                else:
                    return

    async def note_counters(self) -> None:
        """Add what this process has counted, before it ends."""
        with trio.move_on_after(METRICS_TIMEOUT), suppress(httpx.HTTPError):
            async with httpx.AsyncClient(timeout=METRICS_TIMEOUT) as http:
                text = (await http.get(f"{self.url}/metrics")).text
            for line in text.splitlines():
                name, _, value = line.rpartition(" ")
                if name in COUNTERS:
                    self.counters[COUNTERS[name]] += int(float(value))

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.kills += 1
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM, and wait for the end; returns the exit status."""
        return await self._end(signal.SIGTERM)

    def send_signal(self, what: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(what)

    async def _end(self, how: signal.Signals) -> int:
        assert self._process is not None
        self.accepting = False
        self._process.send_signal(how)
        with trio.fail_after(STOP_TIMEOUT):
            return await self._process.wait()

    async def clear(self) -> None:
        """Leave nothing behind, whatever happened before."""
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


@asynccontextmanager
async def running(
    count: int, arguments: Sequence[str], logs: Path, settings: Mapping[str, str] | None = None
) -> AsyncGenerator[list[Node]]:
    """`count` nodes that accept connections. The arguments of `serve` name their database and their bus."""
    nodes = [Node(name, arguments, settings or {}, logs / f"node-{name}.log") for name in "abcdefgh"[:count]]
    try:
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(node.start)
        yield nodes
    finally:
        for node in nodes:
            await node.clear()
