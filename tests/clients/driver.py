"""The other end of `lines.mjs`: starts a real client under Node, gives it orders and waits for its reports."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

HERE = Path(__file__).parent
NODE = shutil.which("node")
WITHIN = 20.0  # seconds that a report may take

Report = dict[str, Any]


def why_not() -> str | None:
    """Why the clients cannot run here."""
    if NODE is None:
        return "node is not installed"
    if not (HERE / "node_modules").is_dir():
        return "the JavaScript clients are not installed: run 'make clients'"
    return None


needs_node = [
    pytest.mark.node,
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


class Client:
    """A client in a process of its own."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._news = trio.Event()
        self.reports: list[Report] = []
        self.unread: list[Report] = []

    async def order(self, order: str, **details: Any) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"order": order, **details}).encode() + b"\n")

    async def perform(self, name: str, action: str, **data: Any) -> None:
        await self.order("perform", name=name, action=action, data=data)

    async def expect(self, event: str, **fields: Any) -> Report:
        """Wait for a report, whatever came before it, and take it out."""
        return await self._take(
            f"{event} {fields}", lambda found: found["event"] == event and fields.items() <= found.items()
        )

    async def expect_message(self, name: str, content: str) -> Report:
        """Wait for `message.created` with this content, whatever came before it, and take it out."""
        return await self._take(
            f"the message {content!r} on {name}",
            lambda found: (
                found["event"] == "received"
                and found["name"] == name
                and found["message"]["data"].get("content") == content
            ),
        )

    async def _take(self, wanted: str, matches: Callable[[Report], bool]) -> Report:
        with trio.move_on_after(WITHIN):
            while True:
                for index, found in enumerate(self.unread):
                    if matches(found):
                        return self.unread.pop(index)
                await self._news.wait()
        raise AssertionError(f"The client did not report {wanted}. Unread: {self.unread}")

    def contents(self, name: str) -> list[str]:
        """The messages that a subscription was given, from the beginning."""
        return [
            found["message"]["data"]["content"]
            for found in self.reports
            if found["event"] == "received" and found["name"] == name and found["message"]["type"] == "message.created"
        ]

    def logged(self, level: str) -> list[Report]:
        """What the client itself complained about."""
        return [found for found in self.reports if found["event"] == "log" and found["level"] == level]

    async def listen(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                found: Report = json.loads(line)
                self.reports.append(found)
                self.unread.append(found)
            news, self._news = self._news, trio.Event()
            news.set()


@asynccontextmanager
async def client(script: str, *arguments: str) -> AsyncGenerator[Client, None]:
    """A client that takes orders; ended with the block."""
    assert NODE is not None
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            [NODE, str(HERE / script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started = Client(process)
        nursery.start_soon(started.listen)
        try:
            await started.expect("ready")
            yield started
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()
