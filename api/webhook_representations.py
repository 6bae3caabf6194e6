"""What answers about webhooks and their deliveries hold. Times are RFC 3339.

A secret is shown when it is new, and never again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..actors.times import optional_rfc3339, rfc3339
from ..storage.records import Webhook, WebhookDelivery
from .representations import Struct


class WebhookData(Struct, frozen=True, kw_only=True):
    """Where events are sent. `events` is empty where all are; `paused_at` is null where it is active."""

    id: int
    url: str
    events: list[str]
    inbox_id: int | None
    include_private: bool
    paused_at: str | None
    paused_reason: str | None
    #: Until when the secret before the last rotation signs as well.
    old_secret_until: str | None
    created_at: str
    updated_at: str


class WebhookSecretData(WebhookData, frozen=True, kw_only=True):
    """A webhook with its new secret, which is shown here and never again."""

    secret: str


class DeliveryAttemptData(Struct, frozen=True, kw_only=True):
    """One request, and what came of it. No `status`: there was no answer, for this `reason`."""

    at: str
    status: int | None
    duration_ms: int
    reason: str | None
    answer: str


class DeliveryData(Struct, frozen=True, kw_only=True):
    """One event on its way to one webhook. `id` is its `webhook-id`."""

    id: str
    webhook_id: int
    event_type: str
    state: str
    created_at: str
    next_attempt_at: str | None
    finished_at: str | None
    attempts: list[DeliveryAttemptData]


class DeliveryWithPayloadData(DeliveryData, frozen=True, kw_only=True):
    """With what is sent."""

    payload: msgspec.Raw


def webhook_data(webhook: Webhook) -> WebhookData:
    return WebhookData(**_webhook(webhook))


def webhook_secret_data(webhook: Webhook) -> WebhookSecretData:
    return WebhookSecretData(secret=webhook.secret, **_webhook(webhook))


def _webhook(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": webhook.events,
        "inbox_id": webhook.inbox_id,
        "include_private": webhook.include_private,
        "paused_at": optional_rfc3339(webhook.paused_at),
        "paused_reason": webhook.paused_reason,
        "old_secret_until": optional_rfc3339(webhook.old_secret_until),
        "created_at": rfc3339(webhook.created_at),
        "updated_at": rfc3339(webhook.updated_at),
    }


def delivery_data(delivery: WebhookDelivery) -> DeliveryData:
    return DeliveryData(**_delivery(delivery))


def delivery_with_payload_data(delivery: WebhookDelivery) -> DeliveryWithPayloadData:
    return DeliveryWithPayloadData(payload=msgspec.Raw(delivery.payload.encode()), **_delivery(delivery))


def _delivery(delivery: WebhookDelivery) -> dict[str, Any]:
    waits = delivery.state == "waiting"
    return {
        "id": delivery.id,
        "webhook_id": delivery.webhook_id,
        "event_type": delivery.event_type,
        "state": delivery.state,
        "created_at": rfc3339(delivery.created_at),
        "next_attempt_at": rfc3339(delivery.next_attempt_at) if waits else None,
        "finished_at": optional_rfc3339(delivery.finished_at),
        "attempts": [
            DeliveryAttemptData(
                at=rfc3339(attempt["at"]),
                status=attempt["status"],
                duration_ms=attempt["duration"],
                reason=attempt["reason"],
                answer=attempt["answer"],
            )
            for attempt in delivery.attempts
        ],
    }
