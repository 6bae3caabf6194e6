"""What every store decides alike about jobs: how many a queue's rate allows, and what is said of a lost one."""

from __future__ import annotations

from typing import Any

from .records import JobQueueRow

#: What a sum of fractions may lack to the whole that it is.
_ROUNDING = 1e-9


def tokens_now(queue: JobQueueRow, now: int) -> float | None:
    """What a queue's bucket holds now (milliseconds), of which each job that starts takes 1; None: no limit."""
    if queue.rate is None:
        return None
    elapsed = max(0, now - queue.refilled_at) / 1000
    return min(queue.burst, queue.tokens + elapsed * queue.rate)


def whole_tokens(tokens: float) -> int:
    return int(tokens + _ROUNDING)


def lost_too_often(attempt: int, losses: int, now: int) -> dict[str, Any]:
    """The last error of a job that is discarded because its workers went away without a word so many times."""
    error = f"Its worker went away {losses} times before the job had ended; it is not given to another one."
    return {"attempt": attempt, "at": now, "error": error}
