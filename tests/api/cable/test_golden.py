"""Conversations that were recorded from the real clients, line by line: what they send, and what they need to hear.

`tests/clients` runs the clients themselves; these show what is on the wire, in virtual time.
"""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.api.testing import ANYCABLE, EPOCH, RAILS, CableClient, Subscription

from .stage import open_stage

RAILS_ID = '{"channel":"ConversationChannel","id":1}'
ANYCABLE_ID = '{"channel":"ConversationChannel","id":1}'  # sorted keys, which here are in the same order
NOW = EPOCH // 1000


def heard(client: CableClient) -> list[dict[str, Any]]:
    """What came since the last look, with long data cut down to its content."""
    unread, client.unread = client.unread, []
    for message in unread:
        if "type" not in message:
            data: dict[str, Any] = message["message"]["data"]
            message["message"] = data.get("content", message["message"]["type"])
    return unread


async def test_rails_subscribes_speaks_and_leaves(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", RAILS)
        assert client.messages == [{"type": "welcome"}]
        client.send("subscribe", RAILS_ID)
        await wait_all_tasks_blocked()
        assert heard(client) == [{"identifier": RAILS_ID, "type": "confirm_subscription"}]
        client.send("message", RAILS_ID, data='{"content":"hi","action":"send_message"}')
        await wait_all_tasks_blocked()
        assert heard(client) == [{"identifier": RAILS_ID, "message": "hi"}]
        client.send("unsubscribe", RAILS_ID)
        client.drop()
        await wait_all_tasks_blocked()
        assert heard(client) == []
        assert not cable.gateway.sessions


async def test_rails_subscribes_when_the_socket_opens_and_again_when_it_is_welcomed(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = cable.dial("ana", RAILS)
        client.send("subscribe", RAILS_ID)
        await client.expect("welcome")
        client.send("subscribe", RAILS_ID)
        await wait_all_tasks_blocked()
        assert heard(client) == [{"identifier": RAILS_ID, "type": "confirm_subscription"}]


async def test_the_guarantor_of_rails_is_answered_whenever_it_asks_for_a_second_subscription(
    autojump_clock: MockClock,
) -> None:
    """Two `create()` with one identifier: it would ask twice a second for ever."""
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", RAILS)
        for _ in range(4):
            client.send("subscribe", RAILS_ID)
            await trio.sleep(0.5)
        assert heard(client) == [{"identifier": RAILS_ID, "type": "confirm_subscription"}] * 4


async def test_anycable_hears_its_history_between_the_confirmations(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        ana = await (await cable.connect("ana")).subscribe("ConversationChannel", id=1)
        ana.perform("send_message", content="one")
        await ana.assert_push("message.created")
        client = await cable.connect(None, (*ANYCABLE, "anycable-token.bo"))
        client.send("subscribe", ANYCABLE_ID, history={"since": NOW, "streams": {}})
        await wait_all_tasks_blocked()
        position = {"stream_id": "conversation:1", "epoch": engine.epoch}
        assert heard(client) == [
            {"identifier": ANYCABLE_ID, "type": "confirm_subscription"},
            {"identifier": ANYCABLE_ID, "message": "one", **position, "offset": 1},
            {"identifier": ANYCABLE_ID, "type": "confirm_history"},
        ]
        client.send("whisper", ANYCABLE_ID, data={"event": "typing"})
        client.send("join", ANYCABLE_ID, presence={"id": "42", "info": {"name": "Al"}})
        client.send("presence", ANYCABLE_ID, data={})
        client.send("leave", ANYCABLE_ID)
        client.send("pong")
        await wait_all_tasks_blocked()
        assert heard(client) == [
            {"type": "presence", "identifier": ANYCABLE_ID, "message": {"type": "error", "total": 0}}
        ]


async def test_anycable_comes_back_after_a_drop_with_its_session_id_and_positions(autojump_clock: MockClock) -> None:
    """A plain welcome makes it subscribe again; were it told `restored`, it would only ask for history."""
    async with open_stage() as (engine, cable):
        ana = await (await cable.connect("ana")).subscribe("ConversationChannel", id=1)
        client = await cable.connect("bo", ANYCABLE)
        sid = client.messages[0]["sid"]
        client.send("subscribe", ANYCABLE_ID, history={"since": NOW, "streams": {}})
        await client.expect("confirm_history")
        ana.perform("send_message", content="one")
        await Subscription(client, ANYCABLE_ID).assert_push("message.created")
        client.drop()
        ana.perform("send_message", content="two")
        await ana.assert_push("message.created", content="two")
        again = await cable.connect("bo", ANYCABLE, sid=sid)
        assert again.messages[0].keys() == {"type", "sid"}
        position = {"epoch": engine.epoch, "offset": 1}
        again.send("subscribe", ANYCABLE_ID, history={"since": NOW, "streams": {"conversation:1": position}})
        await wait_all_tasks_blocked()
        assert [message.get("message", message.get("type")) for message in heard(again)] == [
            "confirm_subscription",
            "two",
            "confirm_history",
        ]


async def test_anycable_comes_back_after_a_restart_with_an_empty_session_id(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        client = await cable.connect("bo", ANYCABLE, sid="")
        position = {"epoch": engine.epoch, "offset": 0}
        client.send("subscribe", ANYCABLE_ID, history={"since": NOW, "streams": {"conversation:1": position}})
        await wait_all_tasks_blocked()
        assert [message["type"] for message in heard(client)] == ["confirm_subscription", "confirm_history"]


async def test_anycable_that_retries_a_subscribe_after_five_seconds_is_confirmed_once(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("bo", ANYCABLE)
        client.send("subscribe", ANYCABLE_ID, history={"since": NOW, "streams": {}})
        await trio.sleep(5)
        client.send("subscribe", ANYCABLE_ID, history={"since": NOW + 5, "streams": {}})
        await wait_all_tasks_blocked()
        assert [message["type"] for message in heard(client)] == ["confirm_subscription", "confirm_history"]


async def test_public_and_signed_streams_of_anycable_are_rejected(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("bo", ANYCABLE)
        for identifier in (
            '{"channel":"$pubsub","stream_name":"chat/1"}',
            '{"channel":"$pubsub","signed_stream_name":"SGN--sig"}',
        ):
            client.send("subscribe", identifier)
            await wait_all_tasks_blocked()
            assert heard(client) == [{"identifier": identifier, "type": "reject_subscription"}]


async def test_no_message_of_ours_is_one_that_anycable_drops(autojump_clock: MockClock) -> None:
    """It drops 0, "", false and null."""
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", ANYCABLE)
        subscription = await client.subscribe("ConversationChannel", id=1)
        for action, data in (("send_message", {"content": "0"}), ("typing", {"on": False}), ("fly", {})):
            subscription.perform(action, **data)
        await wait_all_tasks_blocked()
        assert all(message["message"] for message in client.messages if "message" in message)
