"""What PostgreSQL may take, and how long it is waited for. In: settings. Next: `postgres_connections` and its parts."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class PostgresLimits:
    """Times are in seconds."""

    connections: int = 8  # of one node, for reads
    write_connections: int = 2
    job_connections: int = 2  # for workers, who are not to wait for those who write, nor these for them
    connect_timeout: float = 5.0  # TLS and sign-in included
    acquire_timeout: float = 5.0  # for a connection that is free, or a new one
    statement_timeout: float = 5.0  # the server stops what takes longer
    answer_timeout: float = 7.0  # a server that is silent for longer is away; more than `statement_timeout`
    idle_transaction_timeout: float = 5.0  # a node that stops in a transaction loses it, and the locks
    migration_timeout: float = 600.0  # for all migrations, and for another node that applies them
    min_backoff: float = 0.05  # between two tries to connect
    max_backoff: float = 1.0
    closing_timeout: float = 1.0  # to sign off
    wake_up_check: float = 15.0  # a connection that only listens is asked whether it is alive so often
    prepared_statements: int = 256  # of one connection

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) <= 0:
                raise ValueError(f"PostgresLimits.{item.name} must be greater than zero.")
        if self.min_backoff > self.max_backoff:
            raise ValueError("PostgresLimits.min_backoff must not be greater than max_backoff.")
        if self.answer_timeout <= self.statement_timeout:
            raise ValueError("PostgresLimits.answer_timeout must be greater than statement_timeout.")
