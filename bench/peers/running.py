"""A peer's process. In: a `Peer`. Out: the process, while it listens.

`serve` becomes the server by `exec`, so the process is the server itself, or the parent of its processes. It leads a
group of its own: ending the group ends whatever it started.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers import free_port, run_postgres, run_redis

from . import Peer

HOST = "127.0.0.1"
SECONDS_TO_STOP = 5.0


@dataclass(frozen=True)
class Running:
    """A peer that listens."""

    peer: Peer
    port: int
    process: subprocess.Popen[bytes]


class DoesNotStart(Exception):
    """The peer ended, or does not listen; with the end of what it printed."""


@contextmanager
def run_peer(
    peer: Peer, *, postgres_url: str | None = None, redis_url: str | None = None, prefix: Sequence[str] = ()
) -> Generator[Running]:
    """Start a peer on a free port, and end it when the block is left.

    Args:
        postgres_url, redis_url: empty databases; what it needs and is not given is started for it alone.
        prefix: words before the command, such as `taskset -c 0`.

    Raises:
        DoesNotStart: it is not installed, it ended at once or it does not listen in time.
    """
    if peer.missing is not None:
        raise DoesNotStart(f"{peer.title}: {peer.missing}")
    with ExitStack() as stack:
        if "postgres" in peer.needs and postgres_url is None:
            postgres_url = stack.enter_context(run_postgres()).new_database()
        if "redis" in peer.needs and redis_url is None:
            redis_url = stack.enter_context(run_redis()).url
        port = free_port()
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="tertulia-peer-")))
        folder.chmod(0o755)  # a server that was started by root may go on as somebody else
        given = peer.environment(port, postgres_url=postgres_url, redis_url=redis_url)
        environment = {**os.environ, **given, "RUN": str(folder)}
        log = stack.enter_context((folder / "log").open("w+b"))
        process = subprocess.Popen(
            [*_ends_with_us(), *prefix, *peer.command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        stack.callback(_end, process)
        deadline = time.monotonic() + peer.seconds_to_start
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise DoesNotStart(f"{peer.title} does not start: {log.read().decode(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield Running(peer, port, process)


def _ends_with_us() -> list[str]:
    """Words before a command that end it with this program, however that ends, where the system can."""
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "TERM"] if program else []


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_STOP)
