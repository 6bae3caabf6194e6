"""A real server in a process of its own, as an operator starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

START_TIMEOUT = 60.0  # seconds
STOP_TIMEOUT = 60.0
_READY = re.compile(r"accepts connections on (http://\S+)")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tertulia", *arguments]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without the settings in it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TERTULIA_")}
    return {**clean, "PYTHONUNBUFFERED": "1", **more}


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command of the command line to its end."""
    return subprocess.run(
        command(*arguments), env=environment(**more), capture_output=True, text=True, timeout=60, check=False
    )


def make_demo(database: Path | str, conversations: int) -> dict[str, Any]:
    """Fill a database; the people, ids and tokens in it."""
    done = run("demo", "--database", url_of(database), "--conversations", str(conversations), "--json")
    assert done.returncode == 0, done.stderr
    filled: dict[str, Any] = json.loads(done.stdout)
    return filled


def url_of(database: Path | str) -> str:
    """A file's URL; a URL stays as it is."""
    return database if isinstance(database, str) else f"sqlite:///{database}"


@dataclass
class ServerProcess:
    process: trio.Process
    url: str
    lines: list[str]

    @property
    def cable_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/cable"

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; returns the exit status."""
        self.process.send_signal(how)
        with trio.fail_after(STOP_TIMEOUT):
            return await self.process.wait()


@asynccontextmanager
async def serving(
    database: Path | str, *, port: int = 0, settings: Mapping[str, str] | None = None, arguments: tuple[str, ...] = ()
) -> AsyncGenerator[ServerProcess]:
    """A server that accepts connections; killed at the end of the block where it still runs."""
    arguments = ("serve", "--bind", f"127.0.0.1:{port}", "--database", url_of(database), *arguments)
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            command(*arguments), env=environment(**(settings or {})), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        lines: list[str] = []
        try:
            with trio.fail_after(START_TIMEOUT):
                url = await _wait_until_ready(process.stdout, lines)
            nursery.start_soon(_drain, process.stdout)
            yield ServerProcess(process, url, lines)
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def _wait_until_ready(output: trio.abc.ReceiveStream, lines: list[str]) -> str:
    text = ""
    async for chunk in output:
        text += bytes(chunk).decode()
        ready = _READY.search(text)
        if ready:
            lines.extend(text.splitlines())
            return ready[1]
    raise AssertionError(f"the server ended before it accepted connections; it said: {text!r}")


async def _drain(output: trio.abc.ReceiveStream) -> None:
    async for _ in output:
        pass
