"""Webhooks: where an account's events are sent, and what came of each of them. For administrators."""

from __future__ import annotations

from msgspec import UnsetType

from ...actors.policies.base import authorize
from ...actors.policies.webhook import WebhookPolicy
from ...actors.webhooks.commands import (
    CreateWebhook,
    DeleteWebhook,
    PauseWebhook,
    RedeliverWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
)
from ...engine.errors import NotFound
from ...storage.job_contract import JobStore
from ...storage.records import Webhook, WebhookDelivery
from ..answers import Page
from ..calls import AccountCall, with_auth
from ..cursors import cursor_of_id, id_of
from ..routing import Area
from ..schemas import DeliveryQuery, NewWebhook, WebhookPause, WebhookUpdate
from ..webhook_representations import (
    DeliveryData,
    DeliveryWithPayloadData,
    WebhookData,
    WebhookSecretData,
    delivery_data,
    delivery_with_payload_data,
    webhook_data,
    webhook_secret_data,
)

area = Area("webhooks")


def store_for(call: AccountCall) -> JobStore:
    """What webhooks are read from. Raises Denied where they are not for this caller."""
    authorize(WebhookPolicy(call.access, call.principal).can_manage())
    return call.world.jobs.store


async def webhook_of(call: AccountCall, webhook_id: int) -> Webhook:
    """Raises Denied, or NotFound where the account has no such webhook."""
    webhook = await store_for(call).webhook(call.account_id, webhook_id)
    if webhook is None:
        raise NotFound
    return webhook


async def delivery_of(call: AccountCall, webhook_id: int, delivery_id: str) -> WebhookDelivery:
    """Raises Denied, or NotFound where the webhook has no such delivery."""
    delivery = await store_for(call).delivery(call.account_id, delivery_id)
    if delivery is None or delivery.webhook_id != webhook_id:
        raise NotFound
    return delivery


@area.get("/webhooks", WebhookData, listed=True)
@with_auth
async def list_webhooks(call: AccountCall) -> Page:
    """The account's webhooks."""
    return Page([webhook_data(webhook) for webhook in await store_for(call).webhooks(call.account_id)])


@area.post("/webhooks", WebhookSecretData)
@with_auth
async def create_webhook(call: AccountCall, body: NewWebhook) -> WebhookSecretData:
    """Send events to a URL. The answer has the secret that signs them, which is not shown again."""
    store_for(call)
    command = CreateWebhook(call.principal, body.url, tuple(body.events), body.inbox_id, body.include_private)
    return webhook_secret_data(await call.account.ask(command))


@area.get("/webhooks/<id:webhook_id>", WebhookData)
@with_auth
async def show_webhook(call: AccountCall, webhook_id: int) -> WebhookData:
    """One webhook."""
    return webhook_data(await webhook_of(call, webhook_id))


@area.patch("/webhooks/<id:webhook_id>", WebhookData)
@with_auth
async def update_webhook(call: AccountCall, webhook_id: int, body: WebhookUpdate) -> WebhookData:
    """Change where events are sent, and which."""
    store_for(call)
    events = body.events if isinstance(body.events, UnsetType) else tuple(body.events)
    command = UpdateWebhook(call.principal, webhook_id, body.url, events, body.inbox_id, body.include_private)
    return webhook_data(await call.account.ask(command))


@area.delete("/webhooks/<id:webhook_id>")
@with_auth
async def delete_webhook(call: AccountCall, webhook_id: int) -> None:
    """Send nothing any more, and forget the deliveries."""
    store_for(call)
    await call.account.ask(DeleteWebhook(call.principal, webhook_id))


@area.post("/webhooks/<id:webhook_id>/pause", WebhookData, status=200)
@with_auth
async def pause_webhook(call: AccountCall, webhook_id: int, body: WebhookPause) -> WebhookData:
    """Record and send nothing until it is resumed; what was recorded waits."""
    store_for(call)
    return webhook_data(await call.account.ask(PauseWebhook(call.principal, webhook_id, body.reason)))


@area.post("/webhooks/<id:webhook_id>/resume", WebhookData, status=200)
@with_auth
async def resume_webhook(call: AccountCall, webhook_id: int) -> WebhookData:
    """Send what waits, in its order, and what happens from now on."""
    store_for(call)
    return webhook_data(await call.account.ask(ResumeWebhook(call.principal, webhook_id)))


@area.post("/webhooks/<id:webhook_id>/rotate_secret", WebhookSecretData, status=200)
@with_auth
async def rotate_webhook_secret(call: AccountCall, webhook_id: int) -> WebhookSecretData:
    """Sign with a new secret, which is not shown again; for a while, with the old one as well."""
    store_for(call)
    return webhook_secret_data(await call.account.ask(RotateWebhookSecret(call.principal, webhook_id)))


@area.get("/webhooks/<id:webhook_id>/deliveries", DeliveryData, listed=True)
@with_auth
async def list_deliveries(call: AccountCall, webhook_id: int, query: DeliveryQuery) -> Page:
    """The delivery log, the latest first."""
    webhook = await webhook_of(call, webhook_id)
    before = id_of(query.cursor) if query.cursor is not None else None
    found = await store_for(call).deliveries(
        call.account_id, webhook.id, state=query.state, before=before, limit=query.limit + 1
    )
    page = found[: query.limit]
    cursor = cursor_of_id(page[-1].id) if len(found) > len(page) else None
    return Page([delivery_data(delivery) for delivery in page], cursor)


@area.get("/webhooks/<id:webhook_id>/deliveries/<key:delivery_id>", DeliveryWithPayloadData)
@with_auth
async def show_delivery(call: AccountCall, webhook_id: int, delivery_id: str) -> DeliveryWithPayloadData:
    """One delivery, with what is sent."""
    return delivery_with_payload_data(await delivery_of(call, webhook_id, delivery_id))


@area.post("/webhooks/<id:webhook_id>/deliveries/<key:delivery_id>/redeliver", DeliveryData, status=200)
@with_auth
async def redeliver(call: AccountCall, webhook_id: int, delivery_id: str) -> DeliveryData:
    """Send a delivery again that has ended, under the same `webhook-id`."""
    delivery = await delivery_of(call, webhook_id, delivery_id)
    return delivery_data(await call.account.ask(RedeliverWebhook(call.principal, delivery.id)))
