"""What a webhook is sent is decided, and frozen, in the transaction of the event."""

from __future__ import annotations

import msgspec
import pytest
from trio.testing import MockClock

from tertulia.actors.commands.account import CreateContact, CreateConversation
from tertulia.actors.commands.edit_message import DeleteMessage, EditMessage
from tertulia.actors.commands.mark_read import SetTyping
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import UpdateConversation
from tertulia.actors.entities import Status
from tertulia.actors.times import rfc3339
from tertulia.actors.webhooks.commands import PauseWebhook
from tertulia.actors.webhooks.limits import WebhookLimits
from tertulia.engine.errors import Unavailable
from tertulia.storage.records import Conversation, Webhook
from tertulia.storage.writes import Unit, Update

from ..kit import ADMINISTRATOR, AGENT, STRANGER, VISITOR, payload
from .kit import ERROR, LIMITS, Town, open_town


async def types(town: Town, webhook: Webhook) -> list[str]:
    return [delivery.event_type for delivery in await town.deliveries(webhook)]


async def texts(town: Town, webhook: Webhook) -> list[str]:
    payloads = [msgspec.json.decode(delivery.payload) for delivery in await town.deliveries(webhook)]
    return [each["data"]["content"] for each in payloads if each["type"] == "message.created"]


async def test_a_payload_is_the_event_as_a_member_sees_it(town: Town, autojump_clock: MockClock) -> None:
    heard = town.listen()
    webhook = await town.subscribe(events=("message.created",))
    await town.say("hello")
    [delivery] = await town.deliveries(webhook)
    [event] = heard
    assert msgspec.json.decode(delivery.payload) == {
        "id": delivery.id,
        "type": "message.created",
        "timestamp": rfc3339(event.at),
        "account_id": 1,
        "data": payload(event),
    }


async def test_deliveries_are_in_the_order_of_the_log(town: Town, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe(include_private=True)
    answers = [town.post(SendMessage(AGENT, str(number))) for number in range(50)]
    answers.append(town.post(UpdateConversation(ADMINISTRATOR, status=Status.RESOLVED)))
    for answer in answers:
        await answer.get()
    seqs = [msgspec.json.decode(each.payload)["data"]["seq"] for each in await town.deliveries(webhook)]
    assert seqs == [event.seq for event in await town.log()]
    assert len(seqs) > 51


async def test_a_webhook_hears_of_its_inbox_and_its_types_only(town: Town, autojump_clock: MockClock) -> None:
    everything = await town.subscribe()
    one_inbox = await town.subscribe(inbox_id=1)
    one_type = await town.subscribe(events=("contact.created",))
    await town.say("one")
    await town.say("two", by=ADMINISTRATOR, conversation=2)
    await town.ask_account(CreateContact(ADMINISTRATOR, "Zoe"))
    await town.ask_account(CreateConversation(ADMINISTRATOR, 2, 2))
    created = ["message.created", "message.created", "contact.created", "conversation.created"]
    assert await types(town, everything) == created
    assert await types(town, one_inbox) == ["message.created"]
    assert await types(town, one_type) == ["contact.created"]


async def test_private_notes_are_for_webhooks_that_ask_for_them(town: Town, autojump_clock: MockClock) -> None:
    public = await town.subscribe()
    private = await town.subscribe(include_private=True)
    await town.say("a note", private=True)
    await town.ask(EditMessage(AGENT, 1, "another note"))
    await town.say("hello")
    await town.ask(UpdateConversation(ADMINISTRATOR, labels=("vip",)))
    assert await texts(town, public) == ["hello"]
    assert await types(town, public) == ["message.created"]
    assert await texts(town, private) == ["a note", "hello"]
    assert "conversation.labels_changed" in await types(town, private)


async def test_what_has_no_place_in_the_log_is_not_sent(town: Town, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe(include_private=True)
    await town.ask(SetTyping(VISITOR, on=True))
    assert await types(town, webhook) == []


async def test_no_account_hears_of_another(town: Town, autojump_clock: MockClock) -> None:
    ours = await town.subscribe()
    theirs = await town.subscribe(by=STRANGER)
    await town.say("ours")
    await town.say("theirs", by=STRANGER, conversation=3)
    assert (await texts(town, ours), await texts(town, theirs)) == (["ours"], ["theirs"])
    store = town.collaborators.jobs.store
    assert not await store.deliveries(2, ours.id)
    assert await store.webhook(2, ours.id) is None


async def test_a_message_edited_or_deleted_later_leaves_the_delivery_as_it_was(
    town: Town, autojump_clock: MockClock
) -> None:
    town.network.answers = [ERROR]
    await town.subscribe(events=("message.created", "message.updated", "message.deleted"))
    await town.say("first")
    await town.ask(EditMessage(AGENT, 1, "second"))
    await town.ask(DeleteMessage(AGENT, 1))
    await town.settle(60.0)
    sent = [(post.payload["type"], post.payload["data"].get("content")) for post in town.network.posts]
    assert sent == [
        ("message.created", "first"),
        ("message.created", "first"),
        ("message.updated", "second"),
        ("message.deleted", None),
    ]


async def test_a_unit_that_is_not_written_records_nothing(town: Town, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe()
    town.committer.faults.extend(["fail"] * 50)
    with pytest.raises(Unavailable):
        await town.ask(SendMessage(AGENT, "lost"), timeout=100)
    town.committer.faults.clear()
    await town.settle(60.0)
    assert (await town.log(), await types(town, webhook), town.network.posts) == ([], [], [])


async def test_a_stale_unit_records_nothing_and_its_repetition_once(town: Town, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe(events=("message.created",))
    await town.say("one")
    where = {"account_id": 1, "id": 1}
    await town.collaborators.journal.write(Unit(1, writes=[Update(Conversation, where, {"last_seq": 7})]))
    await town.say("two")  # its first unit is refused; the actor starts again from the store
    await town.settle()
    assert await texts(town, webhook) == ["one", "two"]
    assert [post.payload["data"]["seq"] for post in town.network.posts] == [1, 8]


async def test_what_is_broadcast_again_is_not_recorded_again(town: Town, autojump_clock: MockClock) -> None:
    """The answer of the store was lost: the next incarnation broadcasts what is in the store."""
    webhook = await town.subscribe(events=("message.created",))
    heard = town.listen()
    town.committer.faults.extend(["lose", *["fail"] * 50])
    with pytest.raises(Unavailable):
        await town.ask(SendMessage(AGENT, "hello", "c1"), timeout=100)
    town.committer.faults.clear()
    await town.settle(60.0)
    await town.ask(SendMessage(AGENT, "hello", "c1"))
    await town.settle(LIMITS.poll)  # nobody was told of the job
    assert [event.type for event in heard] == ["message.created"]
    assert await texts(town, webhook) == ["hello"]
    assert town.network.contents == ["hello"]


async def test_while_paused_nothing_is_recorded(town: Town, autojump_clock: MockClock) -> None:
    webhook = await town.subscribe()
    await town.ask_account(PauseWebhook(ADMINISTRATOR, webhook.id))
    await town.say("unheard")
    assert await types(town, webhook) == []


async def test_what_waits_for_a_webhook_that_stays_paused_is_not_kept_for_ever(autojump_clock: MockClock) -> None:
    async with open_town(autojump_clock, webhook_limits=WebhookLimits(keep_deliveries=100.0)) as town:
        town.network.answers = [ERROR]
        webhook = await town.subscribe()
        await town.say("secret")
        await town.settle(1.0)
        await town.ask_account(PauseWebhook(ADMINISTRATOR, webhook.id))
        await town.settle(99.0)
        assert await types(town, webhook) == ["message.created"]
        await town.settle(2.0)
        assert await types(town, webhook) == []
