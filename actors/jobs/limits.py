"""The limits of background jobs, with their units and reasons."""

from __future__ import annotations

from dataclasses import dataclass, fields

#: Fields that may be zero.
_MAY_BE_ZERO = frozenset({"max_losses"})


@dataclass(frozen=True, slots=True)
class JobLimits:
    """How many jobs run, how long they may take, and how long they are kept."""

    run: bool = True  # whether this process runs jobs; it may always enqueue them
    queues: tuple[str, ...] = ()  # only these; empty: all
    in_lane: float = 10.0  # seconds that an actor waits for a job in its lane; less than the engine's `turn_limit`
    pool: int = 100  # jobs that run at once on a node
    per_account: int = 10  # of them, jobs of one account: a slow one must not hold up the others
    batch: int = 200  # jobs that are claimed at once, of each queue
    poll: float = 1.0  # seconds; how late a job may be noticed that another node enqueued
    lease: float = 30.0  # seconds after which a worker that says nothing has lost its jobs
    heartbeat: float = 10.0  # seconds between renewals of leases
    rescue: float = 5.0  # seconds between looks for lost jobs
    max_losses: int = 5  # workers that a job may lose before it is discarded
    drain: float = 10.0  # seconds that running jobs get to finish when the engine stops; then they are given back
    quantum: float = 0.005  # seconds for which jobs that never wait are run before other tasks have their turn
    give_back: float = 1.0  # seconds after which a job is tried again that its actor, or this worker, could not take
    pace: float = 0.01  # seconds; a queue with a rate is not looked at more often
    min_backoff: float = 0.1  # seconds between attempts to reach a store that is away
    max_backoff: float = 5.0
    max_errors: int = 3  # unexpected ones, within `error_period` seconds; the next one stops the engine
    error_period: float = 5.0
    longest_retry: float = 86_400.0  # seconds; a job's own back-off is cut to this
    args: int = 65_536  # bytes of JSON
    error: int = 2_000  # characters of an error that are kept
    errors: int = 10  # errors of a job that are kept
    keep_completed: float = 86_400.0  # seconds; completed and cancelled jobs
    keep_discarded: float = 30 * 86_400.0  # seconds
    sweep_page: int = 500  # conversations that a look for idle and waiting ones takes together
    prune_batch: int = 1_000  # rows removed in one transaction
    count_every: float = 10.0  # seconds between counts of all queues, for the metrics
    missed_tick: float = 60.0  # seconds after which a tick of cron that nobody saw is left out

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, tuple | bool):
                continue
            if value < 0 or (value == 0 and item.name not in _MAY_BE_ZERO):
                raise ValueError(f"JobLimits.{item.name} must be greater than zero.")
        if self.heartbeat * 2 > self.lease:
            raise ValueError("JobLimits.lease must be at least twice the heartbeat, or one late renewal loses jobs.")
