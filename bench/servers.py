"""The servers under test, each a process on cores of its own. In: a peer's name. Out: an address that answers.

Tertulia is started as an operator starts it: `tertulia demo`, then `tertulia serve`, with everything on and SQLite in
a file, synchronous=FULL, unless another database is named. Only the visitors' rate limit is out of reach, because the
generator's visitors write faster than people.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers import free_port, run_postgres, run_redis

from .cable import dialect_of
from .load.dialect import Dialect
from .peers import Peer
from .peers import running as peers_running
from .usage import Usage, usage_of
from .wires import WireDialect

HOST = "127.0.0.1"
TERTULIA = "tertulia"
SETTINGS = {"TERTULIA_CHAT_VISITOR_RATE": "1000000", "TERTULIA_CHAT_VISITOR_BURST": "1000000"}
START_TIMEOUT = 60.0  # seconds
STOP_TIMEOUT = 20.0
POLL = 0.02
OUTPUT_SHOWN = 2000  # characters of what a server said that did not start


@dataclass(frozen=True)
class Place:
    """Where servers run, and on what.

    Attributes:
        cores: of the server under test; empty: wherever the system likes.
        store: `sqlite`, `postgres` (a PostgreSQL and a Redis are started for it), or a database's URL.
        redis: a Redis's URL, for a PostgreSQL's URL.
    """

    cores: Sequence[int] = ()
    store: str = "sqlite"
    redis: str | None = None


@dataclass(frozen=True)
class Running:
    """A server that accepts connections."""

    name: str
    version: str
    durable: bool
    address: tuple[str, int]
    dialect: Dialect
    roots: Sequence[int]  # its process, and those of the servers that were started for it
    #: Whether a sender's messages come in their order even if it does not wait between them.
    ordered: bool = True

    def usage(self) -> Usage:
        return usage_of(self.roots)


class DidNotStart(Exception):
    """The server ended, or did not answer in time; says what it said."""


@contextmanager
def run_tertulia(place: Place, rooms: int, settings: Mapping[str, str] | None = None) -> Generator[Running]:
    """Tertulia with a new demo account that has so many conversations.

    Raises:
        DidNotStart: `tertulia demo` or `tertulia serve` failed.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="tertulia-bench-")))
        database, arguments, roots = store_for(stack, place, folder)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TERTULIA_")}
        environment |= {**SETTINGS, **(settings or {})}
        filled = subprocess.run(
            [*_tertulia("demo"), "--database", database, "--conversations", str(rooms), "--json"],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
        if filled.returncode:
            raise DidNotStart(f"tertulia demo failed: {filled.stderr[-OUTPUT_SHOWN:]}")
        port = free_port()
        command = [*_tertulia("serve"), "--bind", f"{HOST}:{port}", "--database", database, *arguments]
        pid = stack.enter_context(process(command, environment, place.cores, folder / "server.log", port))
        yield Running(
            TERTULIA,
            version(TERTULIA),
            True,
            (HOST, port),
            dialect_of(HOST, port, json.loads(filled.stdout)),
            (pid, *roots),
        )


@contextmanager
def run_peer(peer: Peer, place: Place) -> Generator[Running]:
    """One of the others, with a PostgreSQL and a Redis of its own where it needs them.

    Raises:
        bench.peers.running.DoesNotStart: it did not.
    """
    with ExitStack() as stack:
        roots, urls = list[int](), dict[str, str]()
        if "postgres" in peer.needs:
            postgres = stack.enter_context(run_postgres())
            urls["postgres_url"] = postgres.new_database()
            roots.append(postgres.pid)
        if "redis" in peer.needs:
            redis = stack.enter_context(run_redis())
            urls["redis_url"] = redis.url
            roots.append(redis.pid)
        with on_cores(place.cores):
            running = stack.enter_context(peers_running.run_peer(peer, **urls))
        dialect = WireDialect(HOST, running.port, peer.wire)
        pids = (running.process.pid, *roots)
        yield Running(peer.name, peer.version, peer.durable, (HOST, running.port), dialect, pids, peer.ordered)


@contextmanager
def process(
    command: Sequence[str],
    environment: Mapping[str, str],
    cores: Sequence[int],
    log: Path,
    port: int,
    timeout: float = START_TIMEOUT,
) -> Generator[int]:
    """Start a program on its cores, wait until the port answers, and end it with SIGTERM; gives its pid."""
    with log.open("wb") as output, on_cores(cores):
        started = subprocess.Popen(
            list(command), env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + timeout
        while not answers(port):
            if started.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-OUTPUT_SHOWN:]
                raise DidNotStart(f"{command[0]} does not listen on port {port}; it says:\n{said}")
            time.sleep(POLL)
        yield started.pid
    finally:
        _end(started)


@contextmanager
def on_cores(cores: Sequence[int]) -> Generator[None]:
    """Processes that are started inside inherit these cores."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def _tertulia(command: str) -> list[str]:
    return [sys.executable, "-m", "tertulia", command]


def store_for(stack: ExitStack, place: Place, folder: Path) -> tuple[str, list[str], list[int]]:
    """The database's URL, what `serve` is told besides, and the processes that were started for it."""
    if place.store == "sqlite":
        return f"sqlite:///{folder}/bench.db", [], []
    if place.store == "postgres":
        postgres, redis = stack.enter_context(run_postgres()), stack.enter_context(run_redis())
        return postgres.new_database(), ["--redis", redis.url], [postgres.pid, redis.pid]
    return place.store, ["--redis", place.redis] if place.redis else [], []


def _end(started: subprocess.Popen[bytes]) -> None:
    """The whole session: a peer may be a shell with children."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if started.poll() is None:
            os.killpg(started.pid, number)
            try:
                started.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                continue
