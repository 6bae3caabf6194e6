"""What becomes of a job after an attempt: from what `perform` answered or raised to the columns of its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...engine.errors import Invalid, TertuliaError
from ...storage.records import Job, JobState
from ...storage.writes import Update
from .job import BaseJob, Cancel, Discard, Result, Snooze
from .limits import JobLimits


@dataclass(frozen=True, slots=True)
class Ending:
    """One attempt is over. `state` is the job's new state; `scheduled` means: again, at `run_at` (milliseconds)."""

    state: str
    run_at: int | None = None
    counted: bool = True  # the attempt
    error: str | None = None


def ending_of(result: Result, now: int) -> Ending:
    match result:
        case None:
            return Ending(JobState.COMPLETED)
        case Snooze(seconds):
            return Ending(JobState.SCHEDULED, now + max(0, round(seconds * 1000)), counted=False)
        case Cancel(reason):
            return Ending(JobState.CANCELLED, error=reason)
        case Discard(reason):
            return Ending(JobState.DISCARDED, error=reason)


def ending_of_error(error: Exception, job: Job, performer: BaseJob[Any], now: int, limits: JobLimits) -> Ending:
    """A failure: again after the job's back-off, or discarded where that was the last attempt."""
    text = error.detail if isinstance(error, TertuliaError) else f"{type(error).__name__}: {error}"
    if isinstance(error, Invalid):
        text = " ".join([text, *(f"{path}: {reason}" for path, reason in error.fields.items())])
    text = text[: limits.error]
    if job.attempt >= job.max_attempts:
        return Ending(JobState.DISCARDED, error=text)
    delay = min(max(performer.backoff(job.attempt), 0.0), limits.longest_retry)
    return Ending(JobState.SCHEDULED, now + round(delay * 1000), error=text)


def write_of(job: Job, ending: Ending, now: int, duration: float, limits: JobLimits) -> Update:
    """The end of an attempt as a change of the job's row: nothing, where the lease is somebody else's by now.

    Args:
        job: as it was claimed.
        duration: seconds.
    """
    values: dict[str, Any] = {
        "state": ending.state,
        "worker": None,
        "lease_until": None,
        "duration": round(duration * 1000),
        "finished_at": None if ending.state == JobState.SCHEDULED else now,
    }
    if ending.run_at is not None:
        values["run_at"] = ending.run_at
    if not ending.counted:
        values["attempt"] = job.attempt - 1
    if ending.error is not None:
        values["errors"] = [*job.errors, {"attempt": job.attempt, "at": now, "error": ending.error}][-limits.errors :]
    where = {"account_id": job.account_id, "id": job.id, "worker": job.worker, "attempt": job.attempt}
    return Update(Job, where, values)
