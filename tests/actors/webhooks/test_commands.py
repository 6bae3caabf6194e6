"""Who may create, change and delete webhooks, what is refused, and what the account's facts say of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock

from tertulia.actors.entities import Principal
from tertulia.actors.jobs.queue import ENGINE
from tertulia.actors.webhooks.commands import (
    CreateWebhook,
    DeleteWebhook,
    PauseWebhook,
    RedeliverWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
)
from tertulia.actors.webhooks.limits import WebhookLimits
from tertulia.actors.webhooks.signing import key_of
from tertulia.actors.webhooks.subscriptions import Subscription
from tertulia.actors.webhooks.upkeep import PruneDeliveries, WakeWebhooks
from tertulia.engine.errors import Conflict, Denied, Invalid, NotFound
from tertulia.storage.records import Job, Webhook
from tertulia.storage.writes import Delete, Unit

from ..kit import ADMINISTRATOR, AGENT, STRANGER, SYSTEM, VIEWER, VISITOR
from .kit import ERROR, URL, Town, open_town

COMMANDS: dict[str, Callable[[Principal, int], Any]] = {
    "create": lambda by, id: CreateWebhook(by, URL),
    "update": lambda by, id: UpdateWebhook(by, id, events=("message.created",)),
    "delete": DeleteWebhook,
    "pause": PauseWebhook,
    "resume": ResumeWebhook,
    "rotate": RotateWebhookSecret,
    "redeliver": lambda by, id: RedeliverWebhook(by, "msg_1"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_only_administrators_and_the_system_have_webhooks(
    town: Town, command: Callable[[Principal, int], Any], autojump_clock: MockClock
) -> None:
    webhook = await town.subscribe()
    for by in (AGENT, VIEWER):
        with pytest.raises(Denied):
            await town.ask_account(command(by, webhook.id))
    for outsider in (VISITOR, STRANGER):
        with pytest.raises(NotFound):
            await town.ask_account(command(outsider, webhook.id))
    assert await town.webhook(webhook.id) == webhook


@pytest.mark.parametrize("name", ["update", "delete", "pause", "resume", "rotate"])
async def test_another_account_s_webhook_is_not_there(town: Town, name: str, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe()
    with pytest.raises(NotFound):
        await town.ask_account(COMMANDS[name](STRANGER, webhook.id), account=2)
    assert await town.webhook(webhook.id) == webhook


async def test_a_new_webhook_is_stored_with_a_secret_of_its_own(town: Town, autojump_clock: MockClock) -> None:
    one = await town.subscribe(events=("message.created", "message.created"), inbox_id=1, include_private=True)
    two = await town.ask_account(CreateWebhook(SYSTEM, URL))
    assert (one.url, one.events, one.inbox_id, one.include_private) == (URL, ["message.created"], 1, True)
    assert (two.events, two.inbox_id, two.include_private) == ([], None, False)
    assert key_of(one.secret) != key_of(two.secret)
    assert [await town.webhook(each.id) for each in (one, two)] == [one, two]


@pytest.mark.parametrize(
    ("wishes", "field"),
    [
        ({"url": "http://example.org"}, "url"),
        ({"url": "https://" + "a" * 2_048}, "url"),
        ({"events": ("message.created", "message.lost")}, "events"),
        ({"events": ("conversation.typing_on",)}, "events"),
        ({"events": ("presence.changed",)}, "events"),
        ({"inbox_id": 3}, "inbox_id"),  # the other account's
    ],
)
async def test_what_cannot_be_sent_is_refused(
    town: Town, wishes: dict[str, Any], field: str, autojump_clock: MockClock
) -> None:
    with pytest.raises(Invalid) as refusal:
        await town.subscribe(**wishes)
    assert list(refusal.value.fields) == [field]
    webhook = await town.subscribe()
    with pytest.raises(Invalid) as refusal:
        await town.ask_account(UpdateWebhook(ADMINISTRATOR, webhook.id, **wishes))
    assert list(refusal.value.fields) == [field]


async def test_an_account_has_so_many_webhooks_and_no_more(autojump_clock: MockClock) -> None:
    async with open_town(autojump_clock, webhook_limits=WebhookLimits(per_account=2)) as town:
        first = await town.subscribe()
        await town.subscribe()
        with pytest.raises(Conflict, match="at most 2"):
            await town.subscribe()
        await town.subscribe(by=STRANGER)
        await town.ask_account(DeleteWebhook(ADMINISTRATOR, first.id))
        await town.subscribe()


async def test_what_is_not_said_in_an_update_stays(town: Town, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe(events=("message.created",), inbox_id=1)
    changed = await town.ask_account(UpdateWebhook(ADMINISTRATOR, webhook.id, inbox_id=None, include_private=True))
    assert (changed.url, changed.events) == (webhook.url, webhook.events)
    assert (changed.inbox_id, changed.include_private) == (None, True)
    assert await town.webhook(webhook.id) == changed


async def test_who_pauses_first_says_why(town: Town, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe()
    paused = await town.ask_account(PauseWebhook(ADMINISTRATOR, webhook.id, "We move."))
    assert await town.ask_account(PauseWebhook(SYSTEM, webhook.id, "It fails.")) == paused
    resumed = await town.ask_account(ResumeWebhook(ADMINISTRATOR, webhook.id))
    assert (resumed.paused_at, resumed.paused_reason) == (None, None)


async def test_the_account_s_facts_hold_its_active_webhooks_without_their_secrets(
    town: Town, autojump_clock: MockClock
) -> None:
    access = await town.collaborators.access.of(1)
    told: list[int] = []
    town.collaborators.access.listeners.append(lambda access: told.append(access.version))
    webhook = await town.subscribe(events=("message.created",), inbox_id=1)
    assert access.webhooks == (Subscription(webhook.id, 1, frozenset({"message.created"}), False),)
    await town.ask_account(UpdateWebhook(ADMINISTRATOR, webhook.id, inbox_id=None, events=()))
    assert access.webhooks == (Subscription(webhook.id, None, frozenset(), False),)
    await town.ask_account(PauseWebhook(ADMINISTRATOR, webhook.id))
    assert not access.webhooks
    await town.ask_account(ResumeWebhook(ADMINISTRATOR, webhook.id))
    assert [each.webhook_id for each in access.webhooks] == [webhook.id]
    await town.ask_account(DeleteWebhook(ADMINISTRATOR, webhook.id))
    assert not access.webhooks
    assert told == [1, 2, 3, 4, 5]
    assert all(access.admits(principal) for principal in (ADMINISTRATOR, AGENT, VISITOR))


async def test_another_node_s_change_is_read_from_the_store(town: Town, autojump_clock: MockClock) -> None:
    access = await town.collaborators.access.of(1)
    webhook = await town.subscribe()
    records = await town.reads.account(1)
    assert records is not None
    assert list(records.webhooks) == [webhook]
    assert not access.load(records)  # nothing new
    access.forget_webhook(webhook.id)
    assert access.load(records)
    assert [each.webhook_id for each in access.webhooks] == [webhook.id]


# What the clock does


async def test_a_delivery_whose_job_is_gone_gets_another(town: Town, autojump_clock: MockClock) -> None:
    town.network.answers = [ERROR]
    webhook = await town.subscribe()
    await town.say("hello")
    await town.settle(1.0)
    journal, jobs = town.collaborators.journal, town.collaborators.jobs
    await journal.write(Unit(1, writes=[Delete(Job, {"account_id": 1, "kind": "deliver_webhook"})]))
    await town.settle(60.0)
    assert [delivery.state for delivery in await town.deliveries(webhook)] == ["waiting"]
    await jobs.enqueue(WakeWebhooks, None, account_id=ENGINE)
    await town.settle(1.0)
    assert [delivery.state for delivery in await town.deliveries(webhook)] == ["delivered"]


async def test_the_log_of_deliveries_is_kept_for_a_time(autojump_clock: MockClock) -> None:
    async with open_town(autojump_clock, webhook_limits=WebhookLimits(keep_deliveries=60.0)) as town:
        webhook = await town.subscribe()
        await town.say("old")
        await town.settle(50.0)
        await town.say("new")
        await town.settle(20.0)
        await town.collaborators.jobs.enqueue(PruneDeliveries, None)
        await town.settle(1.0)
        assert ["new" in delivery.payload for delivery in await town.deliveries(webhook)] == [True]


async def test_what_was_recorded_while_its_webhook_was_deleted_is_removed(
    town: Town, autojump_clock: MockClock
) -> None:
    webhook = await town.subscribe()
    # As on a node that has not heard of it yet.
    await town.collaborators.journal.write(Unit(1, writes=[Delete(Webhook, {"account_id": 1, "id": webhook.id})]))
    await town.say("hello")
    await town.settle(1.0)
    assert (await town.deliveries(webhook), town.network.posts) == ([], [])
