"""The jobs of `killed_worker`: each writes down that it began, waits, and writes down that it ended.

`tertulia worker --jobs tests.chaos.counted_jobs` knows them. The notes go to the file that COUNTED_JOBS names.
"""

from __future__ import annotations

import os

import trio

from tertulia.actors.jobs.job import BaseJob, JobContext
from tertulia.actors.jobs.registry import JobRegistry

FILE = "COUNTED_JOBS"


class Counted(BaseJob[float]):
    """Takes so many seconds."""

    name = "counted"

    async def perform(self, context: JobContext, args: float) -> None:
        note(f"{context.job.id} began")
        await trio.sleep(args)
        note(f"{context.job.id} ended")


def note(line: str) -> None:
    """Append a line in one write, which the system keeps when the process is killed right after it."""
    file = os.open(os.environ[FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def jobs(registry: JobRegistry) -> None:
    registry.add(Counted)
