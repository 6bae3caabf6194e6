"""Jobs, webhooks and deliveries to store, with the least that each needs, and what a worker does with jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tertulia.storage.contracts import Store
from tertulia.storage.job_contract import Claim, Claimed, JobFilter
from tertulia.storage.records import Job, JobState, Webhook, WebhookDelivery
from tertulia.storage.writes import Enqueue, Update

from .sample import OURS, T, commit_all, writing

LEASE = 30_000  # milliseconds


def job(id: str, **values: Any) -> Job:
    defaults: dict[str, Any] = {
        "account_id": OURS,
        "queue": "default",
        "kind": "Greet",
        "args": "{}",
        "run_at": T,
        "created_at": T,
    }
    return Job(id=id, **{**defaults, **values})


def scheduled(id: str, run_at: int, **values: Any) -> Job:
    return job(id, state=JobState.SCHEDULED, run_at=run_at, **values)


def webhook(id: int, account_id: int = OURS, **values: Any) -> Webhook:
    return Webhook(
        id=id, account_id=account_id, url="https://example.com/", secret="s", created_at=T, updated_at=T, **values
    )


def delivery(id: str, webhook_id: int = 1, account_id: int = OURS, **values: Any) -> WebhookDelivery:
    defaults: dict[str, Any] = {"event_type": "message.created", "payload": "{}", "created_at": T}
    return WebhookDelivery(id=id, account_id=account_id, webhook_id=webhook_id, **{**defaults, **values})


async def enqueue(store: Store, *jobs: Job) -> None:
    await commit_all(store, writing(*map(Enqueue, jobs)))


async def claim(
    store: Store,
    queues: Mapping[str, int] | None = None,
    *,
    worker: str = "worker-1",
    now: int = T,
    busy_accounts: Collection[int] = (),
    busy_keys: Collection[str] = (),
) -> Claimed:
    return await store.claim_jobs(
        Claim(worker, now, now + LEASE, queues or {"default": 10}, busy_accounts, busy_keys),
    )


async def claimed_ids(store: Store, queues: Mapping[str, int] | None = None, **options: Any) -> list[str]:
    return [job.id for job in (await claim(store, queues, **options)).jobs]


async def finish(store: Store, job: Job, state: str = JobState.COMPLETED, now: int = T) -> None:
    """What a worker writes at the end of an attempt."""
    where = {"account_id": job.account_id, "id": job.id, "worker": job.worker, "attempt": job.attempt}
    values = {"state": state, "worker": None, "lease_until": None, "finished_at": now, "duration": 7}
    await commit_all(store, writing(Update(Job, where, values)))


async def finished(store: Store, id: str, state: str, now: int, **values: Any) -> None:
    """A job that was enqueued, run and ended."""
    await enqueue(store, job(id, **values))
    await finish(store, await running(store, id), state, now)


async def running(store: Store, id: str) -> Job:
    """Claim what is there; returns the one of these jobs."""
    return next(job for job in (await claim(store)).jobs if job.id == id)


async def found(store: Store, id: str, account_id: int = OURS) -> Job:
    job = await store.job(account_id, id)
    assert job is not None
    return job


async def all_ids(store: Store, account_id: int = OURS, **which: Any) -> list[str]:
    """In the order in which they were made."""
    return [job.id for job in await store.jobs(account_id, JobFilter(**which), limit=1000)][::-1]
