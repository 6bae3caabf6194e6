"""How `tertulia serve --workers N` treats its workers."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """When a worker is given up, and when another one takes its place. Times in seconds."""

    min_backoff: float = 0.1  # before a worker that died is followed by another
    max_backoff: float = 10.0  # the same, after it doubled with each that died young
    steady: float = 30.0  # a worker that lived for this long did not die young
    start_timeout: float = 660.0  # until a worker accepts connections; it may have to wait for migrations
    stop_timeout: float = 60.0  # longer than a drain takes; a worker that hangs is then killed

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) <= 0:
                raise ValueError(f"WorkerLimits.{item.name} must be greater than zero.")
