"""The jobs that a worker has, from the claim until their end is durable. In: `dispatcher`, `pool`. Read: `leases`."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import trio

from ...engine.mailbox import Envelope
from ...storage.records import Job


class Stop(Enum):
    """Why a job was stopped before its time."""

    LOST = "lost"  # it is somebody else's now, or cancelled: nothing is written of it
    DRAIN = "drain"  # the engine stops: it is given back


class Run:
    """One attempt of one job on this worker."""

    __slots__ = ("ended", "envelope", "job", "lease_until", "scope", "stop")

    def __init__(self, job: Job, lease_until: int) -> None:
        self.job = job
        self.lease_until = lease_until  # milliseconds
        self.scope: trio.CancelScope | None = None  # while it is performed in the pool
        self.envelope: Envelope | None = None  # while it is with an actor
        self.stop: Stop | None = None
        self.ended = False  # its end is decided, and perhaps not written yet


class Runs:
    """All of them, by the id of the job."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._empty: trio.Event | None = None

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self._runs.values()))

    def get(self, job_id: str) -> Run | None:
        return self._runs.get(job_id)

    def add(self, run: Run) -> None:
        self._runs[run.job.id] = run

    def remove(self, run: Run) -> None:
        """Its end is durable, or none of this worker's business."""
        if self._runs.get(run.job.id) is run:  # it may have been claimed again meanwhile
            del self._runs[run.job.id]
        if not self._runs and self._empty is not None:
            self._empty.set()

    async def empty(self) -> None:
        """Wait until there are none."""
        while self._runs:
            self._empty = self._empty if self._empty is not None and not self._empty.is_set() else trio.Event()
            await self._empty.wait()
