"""Deliveries leave. In: what waits for one webhook, in order. Out: one request after the other, and the log of them.

Of one webhook one job runs at a time, on all nodes together (its key), and it goes on only when a delivery has ended: a
receiver that fails holds up what is behind, so that it never sees events in another order. Every attempt is written
down before the next one is made. A worker that dies in between has sent something that it could not write down: the
next one sends it again, with the same `webhook-id`. Delivery is at least once, and in order.

A job that has to wait does not keep its place: it ends, and in the transaction of its last attempt it enqueues the next
one. That one holds the unique key as long as it waits, so that thousands of events meanwhile add no job to it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import trio

from ...storage.contracts import Journal
from ...storage.job_contract import JobStore
from ...storage.records import Job, Webhook, WebhookDelivery
from ...storage.writes import Delete, Enqueue, Unit, Update, Write
from ..jobs.job import BaseJob, JobContext
from ..jobs.queue import JobQueue, new_job
from . import signing
from .limits import WebhookLimits
from .pausing import pausing
from .port import Answer, WebhookSender

WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"

GONE = 410  # RFC 9110, section 15.5.11: the receiver wants no more of this


class WebhookRef(msgspec.Struct, frozen=True):
    """The arguments of jobs about one webhook; whose it is, the job says."""

    webhook_id: int


class DeliverWebhook(BaseJob[WebhookRef]):
    """Send what waits for one webhook."""

    queue = "webhooks"
    max_attempts = 1_000  # failures here are the store's; those of receivers are counted by delivery
    timeout = 120.0
    unique_for = 86_400.0
    unique_while_waiting = True

    def __init__(
        self, store: JobStore, journal: Journal, jobs: JobQueue, sender: WebhookSender, limits: WebhookLimits
    ) -> None:
        self._store = store
        self._journal = journal
        self._jobs = jobs
        self._sender = sender
        self._limits = limits

    def backoff(self, attempt: int) -> float:
        return min(super().backoff(min(attempt, 10)), 300.0)

    async def perform(self, context: JobContext, args: WebhookRef) -> None:
        account_id, webhook_id = context.account_id, args.webhook_id
        until = trio.current_time() + self._limits.run
        counted = False
        while True:
            webhook = await self._store.webhook(account_id, webhook_id)
            if webhook is None:
                await self._forget(account_id, webhook_id)
                return
            if webhook.paused_at is not None:
                return
            page = await self._waiting(account_id, webhook_id)
            if not page:
                return
            if len(page) == self._limits.page and not counted:
                counted = True
                if await self._is_too_far_behind(webhook, context.now()):
                    return
            for delivery in page:
                now = context.now()
                if delivery.next_attempt_at > now or trio.current_time() >= until:
                    await self._write(account_id, [], [self._next(webhook, delivery.next_attempt_at, now)])
                    return
                if not await self._attempt(context, webhook, delivery):
                    return

    async def _waiting(self, account_id: int, webhook_id: int) -> Sequence[WebhookDelivery]:
        page = await self._store.waiting_deliveries(account_id, webhook_id, limit=self._limits.page)
        if not page:
            # A transaction that has not ended may hold a delivery, and no job, because this one was still waiting.
            await self._journal.published()
            page = await self._store.waiting_deliveries(account_id, webhook_id, limit=self._limits.page)
        return page

    async def _attempt(self, context: JobContext, webhook: Webhook, delivery: WebhookDelivery) -> bool:
        """Send it once, and write down what came of it; whether the next one may be sent."""
        began = context.now()
        body = delivery.payload.encode()
        signed = signing.headers(delivery.id, began // 1000, body, secrets_of(webhook, began))
        answer = await self._sender.post(webhook.url, {"Content-Type": "application/json", **signed}, body)
        now = context.now()
        number = next_number(delivery)
        entry = {
            "number": number,
            "at": began,
            "status": answer.status,
            "duration": round(answer.duration * 1000),
            "reason": answer.reason,
            "answer": answer.body,
        }
        values: dict[str, Any] = {"attempts": [*delivery.attempts, entry][-self._limits.kept_attempts :]}
        jobs: list[Job] = []
        if answer.ok:
            values |= {"state": DELIVERED, "finished_at": now}
        elif number > len(self._limits.delays):
            values |= {"state": FAILED, "finished_at": now}
            jobs.append(pausing(webhook, f"{number} attempts of one delivery failed. {answer.reason}", now))
        else:
            values["next_attempt_at"] = due = now + round(self._delay(number, answer) * 1000)
            if answer.status == GONE:
                jobs.append(pausing(webhook, "The receiver answered 410 (Gone): it wants no more deliveries.", now))
            else:
                jobs.append(self._next(webhook, due, now))
        where = {"account_id": delivery.account_id, "id": delivery.id, "state": WAITING}
        await self._write(webhook.account_id, [Update(WebhookDelivery, where, values)], jobs)
        return answer.ok

    def _delay(self, number: int, answer: Answer) -> float:
        """Seconds after an attempt that failed until the next one."""
        delay = self._limits.delays[number - 1] * random.uniform(0.9, 1.1)
        return max(delay, min(answer.retry_after or 0.0, self._limits.longest_retry_after))

    def _next(self, webhook: Webhook, due: int, now: int) -> Job:
        """The job that goes on; it comes early where that is far away, to see how much waits by then."""
        look = now + round(self._limits.look * 1000)
        return delivering(webhook.account_id, webhook.id, now, run_at=min(due, look))

    async def _is_too_far_behind(self, webhook: Webhook, now: int) -> bool:
        most = self._limits.waiting
        waiting = await self._store.count_waiting_deliveries(webhook.account_id, webhook.id, limit=most + 1)
        if waiting <= most:
            return False
        reason = f"More than {most} deliveries wait: the receiver is too slow, or does not answer."
        await self._write(webhook.account_id, [], [pausing(webhook, reason, now)])
        return True

    async def _forget(self, account_id: int, webhook_id: int) -> None:
        """What was recorded while somebody deleted the webhook."""
        where = {"account_id": account_id, "webhook_id": webhook_id}
        await self._write(account_id, [Delete(WebhookDelivery, where)], [])

    async def _write(self, account_id: int, writes: list[Write], jobs: list[Job]) -> None:
        await self._journal.write(Unit(account_id, writes=[*writes, *map(Enqueue, jobs)]))
        self._jobs.committed(jobs)


def delivering(account_id: int, webhook_id: int, now: int, *, run_at: int | None = None, at_once: bool = False) -> Job:
    """The job that sends what waits for a webhook. Where one waits already, this one is not written.

    Args:
        run_at: milliseconds; None: now.
        at_once: also where one waits for its time already.
    """
    unique_key = f"{DeliverWebhook.name}:{webhook_id}"
    return new_job(
        DeliverWebhook,
        WebhookRef(webhook_id),
        now=now,
        account_id=account_id,
        key=f"webhook:{webhook_id}",
        run_at=run_at,
        unique_key=f"{unique_key}:now" if at_once else unique_key,
    )


def secrets_of(webhook: Webhook, now: int) -> list[str]:
    """The secrets that sign, the newest first. `now` is in milliseconds."""
    old, until = webhook.old_secret, webhook.old_secret_until
    return [webhook.secret, old] if old is not None and until is not None and now < until else [webhook.secret]


def next_number(delivery: WebhookDelivery) -> int:
    """Which attempt the next one is: they are counted from 1, and from 1 again after a redelivery by hand."""
    last = delivery.attempts[-1] if delivery.attempts else None
    return 1 if last is None or "redelivered_at" in last else int(last["number"]) + 1
