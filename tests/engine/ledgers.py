"""Actors whose answers wait for a disk that commits when the test says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from tertulia.engine.actor import Actor, Context
from tertulia.engine.directory import Address, Directory, open_directory
from tertulia.engine.mailbox import Envelope

from .scripted import Recorder, config


class Disk:
    """Commits when the test says so, in the order of submission. `log` is what is durable."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Ledger, list[Envelope]]] = []
        self.log: list[Any] = []
        self.broken = False  # nothing can be read
        self.activated: list[float] = []
        self.incarnations: list[tuple[int, list[Any]]] = []  # how many commits were under way, and what was read

    def commit(self) -> None:
        """The oldest batch becomes durable."""
        ledger, batch = self.waiting.pop(0)
        alive = [envelope for envelope in batch if envelope.message != "refuse"]
        self.log += [envelope.message for envelope in alive]
        for envelope in alive:
            envelope.resolve(envelope.message)
        ledger.context.settle()

    def reject(self) -> None:
        """The oldest batch met a stale state."""
        ledger, _ = self.waiting.pop(0)
        ledger.context.run_again()

    def lose(self, error: Exception) -> None:
        """The oldest batch could not be written."""
        ledger, batch = self.waiting.pop(0)
        for envelope in batch:
            envelope.refuse(error)
        ledger.context.fail(error)
        ledger.context.settle()

    @property
    def under_way(self) -> list[list[Any]]:
        return [[envelope.message for envelope in batch] for _, batch in self.waiting]


class Ledger(Actor[str]):
    """Submits each turn's batch, and takes the next turn."""

    def __init__(self, context: Context[str], disk: Disk) -> None:
        super().__init__(context)
        self.disk = disk

    async def activate(self) -> None:
        if self.disk.broken:
            raise OSError
        self.disk.activated.append(trio.current_time())
        self.disk.incarnations.append((len(self.disk.waiting), list(self.disk.log)))

    async def handle(self, batch: list[Envelope]) -> None:
        messages = [envelope.message for envelope in batch]
        if "crash" in messages or ("crash once" in messages and len(self.disk.incarnations) == 1):
            raise ValueError("crash")
        for envelope in batch:
            if envelope.message == "refuse":
                envelope.refuse(KeyError("no"))
        self.disk.waiting.append((self, batch))
        self.context.defer(batch)
        if any(envelope.message == "crash later" for envelope in batch):
            raise ValueError("crash after the batch was handed over")


@asynccontextmanager
async def ledgers(disk: Disk, **limits: Any) -> AsyncGenerator[Directory, None]:
    """Actors with up to eight turns under way, unless told otherwise."""
    limits.setdefault("turns_in_flight", 8)
    async with open_directory(config(**limits), {Ledger: lambda context: Ledger(context, disk)}) as directory:
        yield directory
    assert directory.queued == 0


async def commit_all(disk: Disk) -> None:
    """Commit until nothing is under way any more."""
    while True:
        await wait_all_tasks_blocked()
        if not disk.waiting:
            return
        disk.commit()


async def post(directory: Directory, address: Address, messages: Sequence[Any], timeout: float) -> list[Recorder]:
    """Send these together, and see how far they get before any time has passed."""
    callers = [Recorder() for _ in messages]
    for message, caller in zip(messages, callers, strict=True):
        directory.call(address, message, caller, timeout=timeout)
    await settled()
    return callers


async def settled() -> None:
    """Everybody who can run has run, also where somebody always can."""
    for _ in range(50):
        await trio.lowlevel.checkpoint()
