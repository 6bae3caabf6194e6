"""One subscribe, one answer: the rules that both real clients need."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.api.cable_limits import CableLimits
from tertulia.api.testing import ANYCABLE, ANYCABLE_MSGPACK, RAILS, CableClient, Rejected, identifier_of

from .seams import Away, Stuck, as_reads
from .stage import open_stage

ONE = identifier_of("ConversationChannel", id=1)

COME_BACK = {"type": "disconnect", "reason": "server_restart", "reconnect": True}


def answers(client: CableClient, identifier: str = ONE) -> list[str]:
    return [m["type"] for m in client.messages if m.get("identifier") == identifier and "type" in m]


@pytest.mark.parametrize(
    "identifier",
    [
        '{"channel":"ConversationChannel","id":1}',
        '{"id":1,"channel":"ConversationChannel"}',
        ' { "channel" : "ConversationChannel", "id" : "1", "x" : null } ',
    ],
)
async def test_the_identifier_comes_back_byte_for_byte(identifier: str, autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana")
        client.send("subscribe", identifier)
        await wait_all_tasks_blocked()
        assert client.messages[1:] == [{"type": "confirm_subscription", "identifier": identifier}]


@pytest.mark.parametrize(
    "identifier",
    [
        "not json",
        "[]",
        "{}",
        '{"channel":"ChatChannel"}',
        '{"channel":"$pubsub","stream_name":"conversation:1"}',
        '{"channel":"ConversationChannel"}',
        '{"channel":"ConversationChannel","id":0}',
        '{"channel":"ConversationChannel","id":-1}',
        '{"channel":"ConversationChannel","id":1.5}',
        '{"channel":"ConversationChannel","id":99}',
        '{"channel":"ConversationChannel","id":4}',
        '{"channel":"ConversationChannel","id":9223372036854775807}',
        '{"channel":"ConversationChannel","id":99999999999999999999999999}',
        '{"channel":"ConversationChannel","id":1,"x":' + "[" * 900 + "]" * 900 + "}",
        '{"channel":"ConversationChannel","id":1,"x":"' + "x" * 1024 + '"}',
        "[" * 60_000,
    ],
    ids=lambda identifier: identifier[:60],
)
async def test_what_names_no_channel_of_the_clients_is_rejected_and_the_connection_lives(
    identifier: str, autojump_clock: MockClock
) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana")
        client.send("subscribe", identifier)
        await wait_all_tasks_blocked()
        assert client.messages[1:] == [{"type": "reject_subscription", "identifier": identifier}]
        await client.subscribe("ConversationChannel", id=1)


@pytest.mark.parametrize(
    ("token", "channel", "parameters"),
    [
        ("cy", "ConversationChannel", {"id": 2}),
        ("visitor 1", "ConversationChannel", {"id": 2}),
        ("visitor 1", "ConversationChannel", {"id": 3}),
        ("visitor 1", "AccountChannel", {}),
        ("zoe", "ConversationChannel", {"id": 1}),
    ],
)
async def test_what_policy_denies_does_not_exist(
    token: str, channel: str, parameters: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect(token)
        with pytest.raises(Rejected):
            await client.subscribe(channel, **parameters)


async def test_a_subscribe_whose_history_cannot_be_read_is_rejected(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", ANYCABLE)
        client.send("subscribe", ONE, history={"since": "yesterday"})
        assert answers(client) == ["reject_subscription"]


async def test_a_subscribe_that_is_repeated_while_it_is_pending_is_answered_once(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", RAILS)
        for _ in range(3):
            client.send("subscribe", ONE)
        await wait_all_tasks_blocked()
        assert answers(client) == ["confirm_subscription"]


async def test_a_rails_client_that_repeats_a_subscribe_after_the_confirmation_is_confirmed_again(
    autojump_clock: MockClock,
) -> None:
    """Otherwise its guarantor repeats it twice a second, for ever."""
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", RAILS)
        await client.subscribe("ConversationChannel", id=1)
        client.send("subscribe", ONE)
        await wait_all_tasks_blocked()
        assert answers(client) == ["confirm_subscription"] * 2


async def test_an_anycable_client_is_never_confirmed_twice(autojump_clock: MockClock) -> None:
    """A second confirmation makes it unsubscribe while the application believes that it is subscribed."""
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", ANYCABLE)
        await client.subscribe("ConversationChannel", id=1)
        client.send("subscribe", ONE)
        await wait_all_tasks_blocked()
        assert answers(client) == ["confirm_subscription"]


async def test_unsubscribe_is_not_acknowledged_and_ends_the_events(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        client = await cable.connect("ana")
        other = await (await cable.connect("bo")).subscribe("ConversationChannel", id=1)
        subscription = await client.subscribe("ConversationChannel", id=1)
        subscription.unsubscribe()
        other.perform("send_message", content="Is anybody there?")
        await other.assert_push("message.created")
        await subscription.refute_push()
        assert answers(client) == ["confirm_subscription"]
        assert engine.world.hub.statistics().subscriptions == 1


async def test_commands_run_in_order_whatever_waits_for_the_store(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", RAILS)
        for command in ("subscribe", "unsubscribe", "subscribe", "unsubscribe", "subscribe"):
            client.send(command, ONE)
        client.send("message", ONE, data='{"action":"send_message","content":"last"}')
        await wait_all_tasks_blocked()
        assert answers(client) == ["confirm_subscription"] * 3
        assert client.messages[-1]["message"]["data"]["content"] == "last"


async def test_a_store_that_does_not_answer_in_time_means_come_back(autojump_clock: MockClock) -> None:
    """Within the five seconds after which `@anycable/core` asks again; a rejection would be final for it."""
    async with open_stage(CableLimits(subscribe_timeout=4)) as (engine, cable):
        client = await cable.connect("ana")
        cable.gateway.reads = as_reads(Stuck())
        began = trio.current_time()
        client.send("subscribe", ONE)
        assert await client.wait_closed() == 1001
        assert client.messages[-1] == COME_BACK
        assert trio.current_time() - began == pytest.approx(4)
        assert engine.world.hub.statistics().topics == 0


async def test_a_client_that_subscribes_while_the_store_is_away_is_asked_to_come_back(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana")
        cable.gateway.reads = as_reads(Away())
        client.send("subscribe", ONE)
        assert await client.wait_closed() == 1001
        assert client.messages[-1] == COME_BACK


async def test_a_connection_that_closes_while_it_subscribes_leaves_nothing_in_the_hub(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        client = await cable.connect("ana")
        client.send("subscribe", ONE)
        client.drop()
        await wait_all_tasks_blocked()
        assert engine.world.hub.statistics().topics == 0


async def test_there_is_a_bound_on_subscriptions(autojump_clock: MockClock) -> None:
    async with open_stage(CableLimits(subscriptions=1)) as (_, cable):
        client = await cable.connect("ana")
        first = await client.subscribe("ConversationChannel", id=1)
        with pytest.raises(Rejected):
            await client.subscribe("ConversationChannel", id=3)
        first.unsubscribe()
        await client.subscribe("ConversationChannel", id=3)


@pytest.mark.parametrize("offers", [RAILS, ANYCABLE, ANYCABLE_MSGPACK])
@pytest.mark.parametrize("command", ["whisper", "join", "leave"])
async def test_whisper_join_and_leave_are_taken_and_mean_nothing_here(
    command: str, offers: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", offers)
        subscription = await client.subscribe("ConversationChannel", id=1)
        client.send(command, subscription.identifier, data={"event": "typing"}, presence={"id": "1", "info": {}})
        await subscription.refute_push()
        assert len(client.messages) == 2
        assert not client.closed


async def test_a_client_that_asks_for_presence_gets_an_error_and_does_not_wait_for_ever(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", ANYCABLE)
        subscription = await client.subscribe("ConversationChannel", id=1)
        client.send("presence", subscription.identifier, data={})
        answer = await client.expect("presence")
        assert answer == {
            "type": "presence",
            "identifier": subscription.identifier,
            "message": {"type": "error", "total": 0},
        }


async def test_base_connections_get_no_extended_message(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", RAILS)
        client.send("subscribe", ONE, history={"since": 1, "streams": {}})
        client.send("history", ONE, history={"since": 1, "streams": {}})
        client.send("presence", ONE, data={})
        client.send("message", ONE, data='{"action":"send_message","content":"Hi"}')
        await wait_all_tasks_blocked()
        assert {message.get("type") for message in client.messages} <= {
            "welcome",
            "confirm_subscription",
            "command.failed",
            None,
        }
        assert client.messages[-1].keys() == {"identifier", "message"}
