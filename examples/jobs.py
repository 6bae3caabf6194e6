"""Jobs inside a trio program: `python examples/jobs.py [sqlite:///shop.db]` enqueues two receipts and waits for them.

The same file is a module of jobs for the command line: `tertulia worker --jobs examples.jobs --database URL`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import trio

from tertulia import BaseJob, Discard, JobContext, JobRegistry, Result, open_engine


@dataclass
class Receipt:
    order: int
    to: str


class Outbox:
    """Stands for whatever sends mail."""

    def __init__(self) -> None:
        self.sent: set[int] = set()
        self.both = trio.Event()

    async def send(self, receipt: Receipt) -> None:
        # A job may run twice: its number tells that this was sent already.
        if receipt.order in self.sent:
            return
        print(f"receipt {receipt.order} to {receipt.to}", flush=True)
        self.sent.add(receipt.order)
        if len(self.sent) == 2:
            self.both.set()


class SendReceipt(BaseJob[Receipt]):
    queue = "mail"
    max_attempts = 5

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def perform(self, context: JobContext, args: Receipt) -> Result:
        if "@" not in args.to:
            return Discard(f"{args.to} is no address, and never will be.")
        await self._outbox.send(args)
        return None


outbox = Outbox()


def jobs(registry: JobRegistry) -> None:
    """What `--jobs examples.jobs` looks for."""
    registry.add(SendReceipt, lambda: SendReceipt(outbox))


async def main(database: str) -> None:
    registry = JobRegistry()
    jobs(registry)
    async with open_engine(database, jobs=registry) as engine:
        await engine.jobs.enqueue(SendReceipt, Receipt(1, "ann@example.org"))
        await engine.jobs.enqueue_in(SendReceipt, Receipt(2, "bob@example.org"), seconds=0.5)
        await outbox.both.wait()


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "memory:")
