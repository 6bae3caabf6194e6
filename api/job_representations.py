"""What answers about jobs hold. Times are RFC 3339; which worker has a job is the engine's business."""

from __future__ import annotations

import msgspec

from ..actors.times import optional_rfc3339, rfc3339
from ..storage.records import Job
from .representations import Struct


class JobErrorData(Struct, frozen=True, kw_only=True):
    """Why an attempt failed."""

    attempt: int
    at: str
    error: str


class JobData(Struct, frozen=True, kw_only=True):
    """A job. `args` is what it was enqueued with; `duration_ms` is that of the last attempt."""

    id: str
    kind: str
    queue: str
    key: str | None
    state: str
    priority: int
    attempt: int
    max_attempts: int
    args: msgspec.Raw
    run_at: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    duration_ms: int | None
    errors: list[JobErrorData]


def job_data(job: Job) -> JobData:
    return JobData(
        id=job.id,
        kind=job.kind,
        queue=job.queue,
        key=job.key,
        state=job.state,
        priority=job.priority,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        args=msgspec.Raw(job.args.encode()),
        run_at=rfc3339(job.run_at),
        created_at=rfc3339(job.created_at),
        started_at=optional_rfc3339(job.started_at),
        finished_at=optional_rfc3339(job.finished_at),
        duration_ms=job.duration,
        errors=[
            JobErrorData(attempt=entry["attempt"], at=rfc3339(entry["at"]), error=entry["error"])
            for entry in job.errors
        ],
    )
