"""What every store promises about jobs. SQLite, PostgreSQL and memory pass the same tests of it (`tests/storage`).

A job is written by `writes.Enqueue`, in the transaction of what causes it, and finished by `writes.Update`, where the
worker and the attempt are still the ones that were given. In between it belongs to a worker, by a lease that the worker
renews for as long as it lives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from .records import Job, JobQueueRow, Webhook, WebhookDelivery


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker asks for. Times are milliseconds."""

    worker: str
    now: int
    lease_until: int
    queues: Mapping[str, int]  # how many at most, of each queue
    busy_accounts: Collection[int] = ()  # whose jobs are left where they are
    busy_keys: Collection[str] = ()  # likewise, beyond those of running jobs


@dataclass(frozen=True, slots=True)
class Claimed:
    jobs: Sequence[Job]  # running now, `attempt` counted; by queue, then priority, then `run_at`, then id
    next_at: int | None  # when the next scheduled job of any queue is due; None where there is none


@dataclass(frozen=True, slots=True)
class QueueCount:
    """One queue, now."""

    queue: str
    state: str
    jobs: int
    oldest: int  # the earliest `run_at` among them, in milliseconds


@dataclass(frozen=True, slots=True)
class JobFilter:
    state: str | None = None
    queue: str | None = None
    kind: str | None = None
    key: str | None = None


class JobStore(Protocol):
    """Raises (each method) Unavailable: the store cannot be reached now."""

    async def claim_jobs(self, claim: Claim) -> Claimed:
        """Make scheduled jobs available whose time has come (of all queues), and give a worker the first of each queue.

        Paused queues give nothing; queues with a rate give what their bucket holds, and are charged for it. Of all jobs
        with one key at most one is running, on all nodes together; the first of them in the queue's order is given.
        A job that is given has `state` running, `attempt` one higher, `worker`, `lease_until`, `started_at` (now), and
        no `unique_key` any more where it is `unique_while_waiting`.
        """
        ...

    async def renew_leases(self, worker: str, job_ids: Collection[str], lease_until: int) -> Collection[str]:
        """Keep these jobs for longer. Returns those that are still this worker's."""
        ...

    async def release_jobs(self, worker: str, job_ids: Collection[str]) -> None:
        """Give jobs back that were not started: available as they were before, the attempt not counted."""
        ...

    async def rescue_jobs(self, now: int, max_losses: int) -> int:
        """Take back jobs whose lease has ended: available again, one loss more, the attempt not counted; a job that
        has been lost more than `max_losses` times is discarded, with an error that says so. Returns how many.
        """
        ...

    async def prune_jobs(self, *, completed_before: int, discarded_before: int, limit: int) -> int:
        """Remove up to `limit` jobs that were completed or cancelled, or discarded, before then. Returns how many.

        A job whose `unique_key` was in force then is kept: it is what keeps another one from being enqueued.
        """
        ...

    async def queue_counts(self) -> Sequence[QueueCount]:
        """How many jobs of each queue are scheduled, available, running and discarded."""
        ...

    async def queues(self) -> Sequence[JobQueueRow]:
        """What was said of queues, by name."""
        ...

    async def waiting_queues(self) -> Sequence[str]:
        """The names of queues that have jobs which are available or scheduled."""
        ...

    async def jobs(
        self, account_id: int, which: JobFilter, *, before: str | None = None, limit: int = 25
    ) -> Sequence[Job]:
        """The latest first; `before` is the id of the last one of the page before."""
        ...

    async def job(self, account_id: int, job_id: str) -> Job | None: ...

    def job_wakeups(self, heard: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Call `heard` during a block when another node may have enqueued jobs that are due. It must not raise.

        A hint: it may come for nothing, and may not come although there are jobs. Nothing is raised while the store is
        away; `heard` is called when it is back.
        """
        ...

    # Webhooks.

    async def webhooks(self, account_id: int) -> Sequence[Webhook]: ...

    async def webhook(self, account_id: int, webhook_id: int) -> Webhook | None: ...

    async def waiting_deliveries(self, account_id: int, webhook_id: int, *, limit: int) -> Sequence[WebhookDelivery]:
        """Those that wait, in the order of their ids."""
        ...

    async def deliveries(
        self,
        account_id: int,
        webhook_id: int,
        *,
        state: str | None = None,
        before: str | None = None,
        limit: int = 25,
    ) -> Sequence[WebhookDelivery]:
        """The delivery log, the latest first; `before` is the id of the last one of the page before."""
        ...

    async def delivery(self, account_id: int, delivery_id: str) -> WebhookDelivery | None: ...

    async def count_waiting_deliveries(self, account_id: int, webhook_id: int, *, limit: int) -> int:
        """How many wait, counted up to `limit`."""
        ...

    async def waiting_webhooks(self) -> Sequence[tuple[int, int]]:
        """(account id, id) of every webhook that is not paused and has deliveries that wait."""
        ...

    async def prune_deliveries(self, *, finished_before: int, limit: int) -> int:
        """Remove up to `limit` deliveries that ended (delivered or failed) before then. Returns how many."""
        ...

    # Timers.

    async def idle_conversations(
        self, account_id: int, *, inactive_since: int, after: tuple[int, int] = (0, 0), limit: int
    ) -> Sequence[tuple[int, int]]:
        """(last_activity_at, id) of open conversations without activity since then, ascending, after such a pair."""
        ...

    async def waiting_conversations(
        self, account_id: int, *, waiting_since: int, after: tuple[int, int] = (0, 0), limit: int
    ) -> Sequence[tuple[int, int]]:
        """(waiting_since, id) of open conversations whose visitor waits for an answer since then or longer, and of
        which nobody was reminded, ascending, after such a pair.
        """
        ...

    async def accounts_with_setting(self, name: str) -> Sequence[int]:
        """The active accounts in whose settings this name has a value other than null."""
        ...
