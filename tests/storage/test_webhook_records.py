"""Webhooks, the log of their deliveries, and what timers ask about conversations and accounts."""

from __future__ import annotations

from typing import Any

import pytest

from tertulia.storage.contracts import Store
from tertulia.storage.records import Account, Conversation, Webhook
from tertulia.storage.writes import Delete, Insert, Update

from .job_sample import delivery, webhook
from .sample import OURS, THEIRS, T, commit_all, conversation, inserting, log_unit, writing


def ids(deliveries: Any) -> list[str]:
    return [delivery.id for delivery in deliveries]


# Webhooks


async def test_a_webhook_comes_back_as_it_was_written(store: Store) -> None:
    full = webhook(
        2,
        inbox_id=1,
        events=["message.created"],
        include_private=True,
        old_secret="before",
        old_secret_until=T + 9,
        paused_at=T + 5,
        paused_reason="It answered 500 for three days.",
    )
    await commit_all(store, inserting(full, webhook(1), webhook(21, THEIRS)))
    assert await store.webhooks(OURS) == [webhook(1), full]
    assert await store.webhook(OURS, 2) == full
    assert await store.webhook(OURS, 9) is None
    account = await store.account(OURS)
    assert account is not None
    assert account.webhooks == [webhook(1), full]


async def test_a_webhook_s_number_is_not_given_again(store: Store) -> None:
    (first,) = await store.reserve(Webhook)
    await commit_all(store, inserting(webhook(first)))
    await commit_all(store, writing(Delete(Webhook, {"account_id": OURS, "id": first})))
    assert (await store.reserve(Webhook))[0] > first


async def test_a_webhook_s_columns_can_be_changed_and_emptied(store: Store) -> None:
    await commit_all(store, inserting(webhook(1, paused_at=T, paused_reason="Enough.")))
    values = {"paused_at": None, "paused_reason": None, "events": ["a", "b"], "include_private": True}
    await commit_all(store, writing(Update(Webhook, {"account_id": OURS, "id": 1}, values)))
    assert await store.webhook(OURS, 1) == webhook(1, events=["a", "b"], include_private=True)


# Deliveries


async def test_a_delivery_comes_back_as_it_was_written(store: Store) -> None:
    full = delivery(
        "a",
        payload='{"type":"message.created"}',
        state="failed",
        next_attempt_at=T + 5,
        finished_at=T + 9,
        attempts=[{"at": T, "status": 500, "duration": 12, "reason": None}],
    )
    await commit_all(store, inserting(full))
    assert await store.delivery(OURS, "a") == full
    assert await store.delivery(OURS, "b") is None


async def test_an_event_is_written_down_although_its_webhook_was_deleted_a_moment_ago(store: Store) -> None:
    unit = log_unit(0)
    unit.writes = [Insert(delivery("a", webhook_id=404))]
    await commit_all(store, unit)
    assert await store.delivery(OURS, "a") is not None


async def test_what_waits_is_given_in_the_order_of_the_events_whoever_wrote_it_first(store: Store) -> None:
    done = delivery("b", state="delivered", finished_at=T)
    await commit_all(store, inserting(delivery("d"), delivery("a"), done, delivery("c"), delivery("0", webhook_id=2)))
    assert ids(await store.waiting_deliveries(OURS, 1, limit=9)) == ["a", "c", "d"]
    assert ids(await store.waiting_deliveries(OURS, 1, limit=2)) == ["a", "c"]
    assert await store.count_waiting_deliveries(OURS, 1, limit=9) == 3
    assert await store.count_waiting_deliveries(OURS, 1, limit=2) == 2
    assert await store.count_waiting_deliveries(OURS, 9, limit=2) == 0


async def test_the_webhooks_are_named_that_have_something_to_deliver_and_are_not_paused(store: Store) -> None:
    assert list(await store.waiting_webhooks()) == []
    await commit_all(
        store,
        inserting(webhook(1), webhook(2), webhook(3, paused_at=T), webhook(4), webhook(21, THEIRS)),
        inserting(delivery("a", 1), delivery("b", 1), delivery("c", 3), delivery("d", 404)),
        inserting(delivery("e", 21, THEIRS), delivery("f", 4, state="failed", finished_at=T)),
    )
    assert sorted(await store.waiting_webhooks()) == [(OURS, 1), (THEIRS, 21)]


async def test_a_delivery_log_shows_the_latest_first_in_pages(store: Store) -> None:
    records = [delivery(id, state="failed" if id in "be" else "waiting") for id in "abcde"]
    await commit_all(store, inserting(*records, delivery("f", webhook_id=2)))
    assert await store.deliveries(OURS, 1, limit=2) == [records[4], records[3]]
    assert ids(await store.deliveries(OURS, 1, before="d", limit=2)) == ["c", "b"]
    assert ids(await store.deliveries(OURS, 1, state="failed")) == ["e", "b"]
    assert ids(await store.deliveries(OURS, 1, state="waiting", before="d")) == ["c", "a"]


async def test_deliveries_that_ended_long_ago_are_removed_and_those_that_wait_are_kept(store: Store) -> None:
    ended = [
        delivery(f"{n}", state=state, finished_at=T + n)
        for n, state in enumerate(("delivered", "failed", "delivered", "failed"))
    ]
    await commit_all(store, inserting(*ended, delivery("waits")))
    removed = [await store.prune_deliveries(finished_before=T + 3, limit=2) for _ in range(3)]
    assert removed == [2, 1, 0]
    assert ids(await store.deliveries(OURS, 1)) == ["waits", "3"]


# Timers


async def test_open_conversations_without_activity_are_found_in_pages_the_longest_idle_first(store: Store) -> None:
    await commit_all(
        store,
        inserting(
            *(conversation(id, last_activity_at=T - age) for id, age in ((11, 10), (12, 30), (13, 20), (14, 20))),
            conversation(15, last_activity_at=T - 40, status="resolved"),
            conversation(16, last_activity_at=T - 40, deleted_at=T),
            conversation(27, THEIRS, last_activity_at=T - 40),
        ),
    )
    idle = [(T - 30, 12), (T - 20, 13), (T - 20, 14), (T - 10, 11)]
    assert list(await store.idle_conversations(OURS, inactive_since=T - 10, limit=9)) == idle
    assert list(await store.idle_conversations(OURS, inactive_since=T - 11, limit=9)) == idle[:3]
    assert list(await store.idle_conversations(OURS, inactive_since=T - 10, limit=2)) == idle[:2]
    assert list(await store.idle_conversations(OURS, inactive_since=T - 10, after=idle[1], limit=9)) == idle[2:]


async def test_open_conversations_that_wait_for_an_answer_are_found_until_somebody_is_reminded(store: Store) -> None:
    await commit_all(
        store,
        inserting(
            *(conversation(id, waiting_since=T - age) for id, age in ((11, 10), (12, 30), (13, 20), (14, 20))),
            conversation(15, waiting_since=T - 40, status="snoozed"),
            conversation(16, waiting_since=T - 40, deleted_at=T),
            conversation(17, waiting_since=T - 40, reminded_at=T),
            conversation(28, THEIRS, waiting_since=T - 40),
        ),
    )
    waiting = [(T - 30, 12), (T - 20, 13), (T - 20, 14), (T - 10, 11)]
    assert list(await store.waiting_conversations(OURS, waiting_since=T - 10, limit=9)) == waiting
    assert list(await store.waiting_conversations(OURS, waiting_since=T - 11, limit=9)) == waiting[:3]
    assert list(await store.waiting_conversations(OURS, waiting_since=T - 10, limit=2)) == waiting[:2]
    assert list(await store.waiting_conversations(OURS, waiting_since=T - 10, after=waiting[1], limit=9)) == waiting[2:]
    values = {"reminded_at": T}
    await commit_all(store, writing(Update(Conversation, {"account_id": OURS, "id": 12}, values)))
    assert list(await store.waiting_conversations(OURS, waiting_since=T, limit=9)) == waiting[1:]


async def test_a_unit_sets_how_long_its_conversation_waits(store: Store) -> None:
    await commit_all(store, log_unit(0, waiting_since=T + 5, reminded_at=T + 9))
    chat = await store.conversation(OURS, 1)
    assert chat is not None
    assert chat.conversation == conversation(1, waiting_since=T + 5, reminded_at=T + 9)
    await commit_all(store, log_unit(0, waiting_since=None, reminded_at=None))
    chat = await store.conversation(OURS, 1)
    assert chat is not None
    assert chat.conversation == conversation(1)


@pytest.mark.parametrize("name", ["auto_resolve", 'quoted "$. name', "naïve"])
async def test_the_active_accounts_with_a_setting_are_found(store: Store, name: str) -> None:
    settings: list[dict[str, Any]] = [{name: 0}, {name: {"minutes": 5}}, {name: None}, {"other": 1}, {name: False}]
    accounts = [Account(id=id, name="A", created_at=T, settings=value) for id, value in enumerate(settings, start=31)]
    suspended = Account(id=41, name="A", created_at=T, settings={name: 1}, status="suspended")
    await commit_all(store, inserting(*accounts, suspended))
    assert sorted(await store.accounts_with_setting(name)) == [31, 32, 35]
