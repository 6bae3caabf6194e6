"""A webhook is paused because of what its receiver does. In: a reason. Next hop: the account's actor, which does it.

Only the account changes its webhooks, since it tells all nodes of it. So whoever finds a receiver that does not answer
writes, with what it found, a job for the lane of that actor.
"""

from __future__ import annotations

import msgspec

from ...storage.contracts import Journal
from ...storage.job_contract import JobStore
from ...storage.records import Job, Webhook, WebhookDelivery
from ...storage.writes import Delete, Unit
from ..entities import System
from ..jobs.job import BaseJob, Cancel, JobContext, Result
from ..jobs.lane import account_key
from ..jobs.queue import new_job
from .commands import PauseWebhook


class Pausing(msgspec.Struct, frozen=True):
    webhook_id: int
    reason: str


class PauseFailingWebhook(BaseJob[Pausing]):
    """Pause a webhook, as the system."""

    queue = "webhooks"
    priority = 1
    max_attempts = 20

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def perform(self, context: JobContext, args: Pausing) -> Result:
        if await self._store.webhook(context.account_id, args.webhook_id) is None:
            return Cancel("The webhook was deleted.")
        context.then(PauseWebhook(System(context.account_id), args.webhook_id, args.reason))
        return None


def pausing(webhook: Webhook, reason: str, now: int) -> Job:
    """The job that pauses a webhook. `now` is in milliseconds."""
    args = Pausing(webhook.id, reason)
    key = account_key(webhook.account_id)
    return new_job(PauseFailingWebhook, args, now=now, account_id=webhook.account_id, key=key)


class Paused(msgspec.Struct, frozen=True):
    webhook_id: int
    paused_at: int  # milliseconds


class DropWaitingDeliveries(BaseJob[Paused]):
    """Remove what waits for a webhook that has been paused too long.

    What somebody wrote and erased since is in those payloads, too; they must not be kept for ever. In the lane of the
    account's actor, so that nobody resumes the webhook at the same time.
    """

    queue = "webhooks"
    max_attempts = 20

    def __init__(self, store: JobStore, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    async def perform(self, context: JobContext, args: Paused) -> Result:
        webhook = await self._store.webhook(context.account_id, args.webhook_id)
        if webhook is None or webhook.paused_at != args.paused_at:
            return Cancel("The webhook was deleted, or is not paused any more.")
        where = {"account_id": context.account_id, "webhook_id": webhook.id, "state": "waiting"}
        await self._journal.write(Unit(context.account_id, writes=[Delete(WebhookDelivery, where)]))
        return None


def dropping(account_id: int, webhook_id: int, paused_at: int, seconds: float) -> Job:
    """The job that removes what waits, so many seconds after a webhook was paused (milliseconds)."""
    args = Paused(webhook_id, paused_at)
    due = paused_at + round(seconds * 1000)
    key = account_key(account_id)
    return new_job(DropWaitingDeliveries, args, now=paused_at, account_id=account_id, key=key, run_at=due)
