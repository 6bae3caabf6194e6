"""Create, change, pause and delete webhooks, and send a delivery again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from ...engine.errors import Conflict, Invalid, NotFound
from ...storage.contracts import Reads
from ...storage.job_contract import JobStore
from ...storage.records import Webhook, WebhookDelivery
from ...storage.writes import Delete, Insert, Update
from ..account_state import AccountChange, AccountState
from ..entities import Principal
from ..policies.account import AccountPolicy
from ..policies.base import authorize
from ..policies.webhook import WebhookPolicy
from ..webhooks.commands import (
    CreateWebhook,
    DeleteWebhook,
    PauseWebhook,
    RedeliverWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
)
from ..webhooks.delivery import WAITING, delivering
from ..webhooks.limits import WebhookLimits
from ..webhooks.pausing import dropping
from ..webhooks.port import WebhookSender
from ..webhooks.signing import new_secret
from ..webhooks.subscriptions import WEBHOOK_EVENTS


class CreateWebhookHandler:
    def __init__(self, reads: Reads, store: JobStore, sender: WebhookSender, limits: WebhookLimits) -> None:
        self._reads = reads
        self._store = store
        self._sender = sender
        self._limits = limits

    async def __call__(self, account: AccountState, command: CreateWebhook) -> Webhook:
        _authorize(account, command.by)
        _check(account, self._sender, self._limits, command.url, command.events, command.inbox_id)
        if len(await self._store.webhooks(account.id)) >= self._limits.per_account:
            raise Conflict(f"An account has at most {self._limits.per_account} webhooks; delete one first.")
        change = account.change(command.by)
        webhook = Webhook(
            id=(await self._reads.reserve(Webhook))[0],
            account_id=account.id,
            url=command.url,
            secret=new_secret(),
            created_at=change.now,
            updated_at=change.now,
            inbox_id=command.inbox_id,
            events=list(dict.fromkeys(command.events)),
            include_private=command.include_private,
        )
        change.writes = [Insert(webhook)]
        return await _commit(account, change, webhook)


class UpdateWebhookHandler:
    def __init__(self, store: JobStore, sender: WebhookSender, limits: WebhookLimits) -> None:
        self._store = store
        self._sender = sender
        self._limits = limits

    async def __call__(self, account: AccountState, command: UpdateWebhook) -> Webhook:
        webhook = await _find(account, self._store, command.by, command.webhook_id)
        _check(account, self._sender, self._limits, command.url, command.events, command.inbox_id)
        names = ("url", "events", "inbox_id", "include_private")
        asked = {name: value for name in names if (value := getattr(command, name)) is not UNSET}
        if "events" in asked:
            asked["events"] = list(dict.fromkeys(asked["events"]))
        values = {name: value for name, value in asked.items() if getattr(webhook, name) != value}
        if not values:
            return webhook
        change = account.change(command.by)
        if "url" in values and webhook.paused_at is None:
            _send_at_once(change, webhook)
        return await _update(account, change, webhook, values)


class DeleteWebhookHandler:
    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def __call__(self, account: AccountState, command: DeleteWebhook) -> None:
        webhook = await _find(account, self._store, command.by, command.webhook_id)
        change = account.change(command.by)
        change.writes = [
            Delete(WebhookDelivery, {"account_id": account.id, "webhook_id": webhook.id}),
            Delete(Webhook, {"account_id": account.id, "id": webhook.id}),
        ]
        await account.commit(change)
        account.access.forget_webhook(webhook.id)
        account.rights_changed()


class PauseWebhookHandler:
    def __init__(self, store: JobStore, limits: WebhookLimits) -> None:
        self._store = store
        self._limits = limits

    async def __call__(self, account: AccountState, command: PauseWebhook) -> Webhook:
        webhook = await _find(account, self._store, command.by, command.webhook_id)
        if webhook.paused_at is not None:
            return webhook
        change = account.change(command.by)
        change.jobs.append(dropping(account.id, webhook.id, change.now, self._limits.keep_deliveries))
        values = {"paused_at": change.now, "paused_reason": command.reason[: self._limits.reason]}
        return await _update(account, change, webhook, values)


class ResumeWebhookHandler:
    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def __call__(self, account: AccountState, command: ResumeWebhook) -> Webhook:
        webhook = await _find(account, self._store, command.by, command.webhook_id)
        if webhook.paused_at is None:
            return webhook
        change = account.change(command.by)
        _send_at_once(change, webhook)
        return await _update(account, change, webhook, {"paused_at": None, "paused_reason": None})


class RotateWebhookSecretHandler:
    def __init__(self, store: JobStore, limits: WebhookLimits) -> None:
        self._store = store
        self._limits = limits

    async def __call__(self, account: AccountState, command: RotateWebhookSecret) -> Webhook:
        webhook = await _find(account, self._store, command.by, command.webhook_id)
        change = account.change(command.by)
        values = {
            "secret": new_secret(),
            "old_secret": webhook.secret,
            "old_secret_until": change.now + round(self._limits.old_secret * 1000),
        }
        return await _update(account, change, webhook, values)


class RedeliverWebhookHandler:
    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def __call__(self, account: AccountState, command: RedeliverWebhook) -> WebhookDelivery:
        _authorize(account, command.by)
        delivery = await self._store.delivery(account.id, command.delivery_id)
        webhook = None if delivery is None else await self._store.webhook(account.id, delivery.webhook_id)
        if delivery is None or webhook is None:
            raise NotFound("There is no such delivery.")
        if webhook.paused_at is not None:
            raise Conflict("The webhook is paused; resume it first.")
        if delivery.state == WAITING:
            raise Conflict("The delivery waits to be sent already.")
        change = account.change(command.by)
        values: dict[str, Any] = {"state": WAITING, "finished_at": None, "next_attempt_at": change.now}
        if delivery.attempts:
            values["attempts"] = [*delivery.attempts[:-1], {**delivery.attempts[-1], "redelivered_at": change.now}]
        where = {"account_id": account.id, "id": delivery.id, "state": delivery.state}
        change.writes = [Update(WebhookDelivery, where, values)]
        change.jobs.append(delivering(account.id, webhook.id, change.now, at_once=True))
        await account.commit(change)
        return msgspec.structs.replace(delivery, **values)


def _authorize(account: AccountState, by: Principal) -> None:
    visible = AccountPolicy(account.access, by).can_show()
    authorize(WebhookPolicy(account.access, by).can_manage(), visible=visible)


async def _find(account: AccountState, store: JobStore, by: Principal, webhook_id: int) -> Webhook:
    _authorize(account, by)
    webhook = await store.webhook(account.id, webhook_id)
    if webhook is None:
        raise NotFound("There is no such webhook.")
    return webhook


def _check(
    account: AccountState,
    sender: WebhookSender,
    limits: WebhookLimits,
    url: str | UnsetType,
    events: Sequence[str] | UnsetType,
    inbox_id: int | UnsetType | None,
) -> None:
    """Raises Invalid."""
    fields: dict[str, str] = {}
    if url is not UNSET:
        if len(url) > limits.url:
            fields["url"] = f"Must have at most {limits.url} characters."
        else:
            try:
                sender.check(url)
            except Invalid as refusal:
                fields |= refusal.fields or {"url": refusal.detail}
    unknown = [] if events is UNSET else sorted(set(events) - set(WEBHOOK_EVENTS))
    if unknown:
        fields["events"] = f"Not sent to webhooks: {', '.join(unknown)}. Those that are: {', '.join(WEBHOOK_EVENTS)}."
    if inbox_id is not UNSET and inbox_id is not None and inbox_id not in account.access.inboxes:
        fields["inbox_id"] = "There is no such inbox."
    if fields:
        raise Invalid(fields=fields)


def _send_at_once(change: AccountChange, webhook: Webhook) -> None:
    """What waits does not wait for its next attempt any more."""
    where = {"account_id": webhook.account_id, "webhook_id": webhook.id, "state": WAITING}
    change.writes.append(Update(WebhookDelivery, where, {"next_attempt_at": change.now}))
    change.jobs.append(delivering(webhook.account_id, webhook.id, change.now, at_once=True))


async def _update(account: AccountState, change: AccountChange, webhook: Webhook, values: dict[str, Any]) -> Webhook:
    values = {**values, "updated_at": change.now}
    change.writes.append(Update(Webhook, {"account_id": account.id, "id": webhook.id}, values))
    return await _commit(account, change, msgspec.structs.replace(webhook, **values))


async def _commit(account: AccountState, change: AccountChange, webhook: Webhook) -> Webhook:
    await account.commit(change)
    account.access.set_webhook(webhook)
    account.rights_changed()
    return webhook
