"""What can be asked of an account about its webhooks. Administrators and the system may.

Each answers with the `Webhook` record, secret and all, unless it says otherwise. Who shows it leaves the secrets out.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from ..entities import Principal


@dataclass(frozen=True, slots=True)
class CreateWebhook:
    """Send what happens from now on to a URL. Conflict where the account has as many webhooks as it may have."""

    by: Principal
    url: str
    events: tuple[str, ...] = ()  # types; none: all
    inbox_id: int | None = None  # None: the events of all inboxes, and the account's own
    include_private: bool = False  # private notes, and what else of a conversation its visitor does not see


@dataclass(frozen=True, slots=True)
class UpdateWebhook:
    """What is UNSET stays as it is. What waits to be tried again goes to a new URL at once."""

    by: Principal
    webhook_id: int
    url: str | UnsetType = UNSET
    events: tuple[str, ...] | UnsetType = UNSET
    inbox_id: int | UnsetType | None = UNSET
    include_private: bool | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class DeleteWebhook:
    """Its deliveries go with it, also those that were not sent. Answer: None."""

    by: Principal
    webhook_id: int


@dataclass(frozen=True, slots=True)
class PauseWebhook:
    """Record and send nothing any more; what was recorded waits. One that is paused keeps its first reason."""

    by: Principal
    webhook_id: int
    reason: str = "Paused by hand."


@dataclass(frozen=True, slots=True)
class ResumeWebhook:
    """Send at once what waits, in its order, and record what happens from now on."""

    by: Principal
    webhook_id: int


@dataclass(frozen=True, slots=True)
class RotateWebhookSecret:
    """Sign with a new secret, and for `WebhookLimits.old_secret` seconds with the one before as well.

    The one before that is not valid any more.
    """

    by: Principal
    webhook_id: int


@dataclass(frozen=True, slots=True)
class RedeliverWebhook:
    """Send a delivery again that has ended, before all that waits, with its payload and `webhook-id` of then.

    It has all its attempts again; those before stay in its log. Answer: the `WebhookDelivery`. Conflict where it waits
    already, or its webhook is paused.
    """

    by: Principal
    delivery_id: str
