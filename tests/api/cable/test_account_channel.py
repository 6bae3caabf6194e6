"""A dashboard's channel: the events of every inbox that the member may see, live and by history, each once."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.account import CreateContact, SetInboxMembers
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import DeleteConversation
from tertulia.actors.entities import Member, System
from tertulia.actors.limits import ChatLimits
from tertulia.api.engine import Engine
from tertulia.api.settings import Settings
from tertulia.api.testing import ANYCABLE, ANYCABLE_MSGPACK, EPOCH, RAILS, Cable, CableClient, Push, Subscription

from .seams import Paused, as_reads
from .stage import ANA, BO, open_stage

NOW = EPOCH // 1000
SYSTEM = System(1)


async def say(engine: Engine, conversation: int, *contents: str, private: bool = False, account: int = 1) -> None:
    by = System(account)
    for content in contents:
        await engine.conversation(account, conversation).ask(SendMessage(by, content, private=private))


async def follow(cable: Cable, token: str, offers: tuple[str, ...] = ANYCABLE, **history: Any) -> Subscription:
    client = await cable.connect(token, offers)
    subscription = await client.subscribe("AccountChannel", history=history or None)
    if history:
        await client.expect("confirm_history")
    return subscription


def contents(subscription: Subscription) -> list[str]:
    return [push.data["content"] for push in subscription.pushes() if push.type == "message.created"]


def positions(pushes: list[Push]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for push in pushes:
        if push.stream_id is not None and push.offset is not None:
            found.setdefault(push.stream_id, []).append(push.offset)
    return found


def streams(engine: Engine, **offsets: int) -> dict[str, Any]:
    return {name.replace("_", ":"): {"epoch": engine.epoch, "offset": offset} for name, offset in offsets.items()}


@pytest.mark.parametrize(
    ("token", "heard"),
    [
        ("ana", ["one", "two", "three"]),
        ("bo", ["one", "two", "three"]),
        ("cy", ["one", "three"]),
        ("vi", ["one", "two", "three"]),
    ],
)
@pytest.mark.parametrize("offers", [RAILS, ANYCABLE, ANYCABLE_MSGPACK])
async def test_a_member_hears_the_inboxes_that_policy_shows_and_no_others(
    token: str, heard: list[str], offers: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with open_stage() as (engine, cable):
        subscription = await follow(cable, token, offers)
        await say(engine, 1, "one")
        await say(engine, 2, "two")
        await say(engine, 3, "three", private=True)
        await say(engine, 4, "of another account", account=2)
        await wait_all_tasks_blocked()
        assert contents(subscription) == heard


async def test_an_event_carries_the_position_in_its_conversation(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        subscription = await follow(cable, "bo")
        await say(engine, 1, "one", "two")
        await say(engine, 2, "one")
        await wait_all_tasks_blocked()
        assert positions(subscription.pushes()) == {"conversation:1": [1, 2], "conversation:2": [1]}
        assert {push.epoch for push in subscription.pushes() if push.offset} == {engine.epoch}


async def test_contacts_and_presence_are_the_accounts_own_events(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        subscription = await follow(cable, "cy")
        await engine.account(1).ask(CreateContact(ANA, "Dora"))
        created = await subscription.assert_push("contact.created")
        assert (created.stream_id, created.offset) == ("account:1", 1)
        visitor = await cable.connect("visitor 1")
        online = await subscription.assert_push("presence.changed", contact_id=1)
        assert (online.data["status"], online.offset) == ("online", None)
        visitor.drop()
        await subscription.assert_push("presence.changed", contact_id=1, status="offline", within=60)


async def test_a_dashboard_begins_with_who_is_present(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        await cable.connect("visitor 1")
        subscription = await follow(cable, "cy", RAILS)
        await subscription.assert_push("presence.changed", contact_id=1, status="online")


async def test_a_dashboard_has_no_actions(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        subscription = await follow(cable, "ana", RAILS)
        subscription.perform("send_message", content="Hello, everybody!", client_id="7")
        assert (await subscription.assert_push("command.failed", client_id="7")).data["code"] == "invalid"


# History.


async def test_positions_and_since_together_bring_every_missed_event_once_and_in_order(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, 1, "1.1", "1.2")
        await say(engine, 2, "2.1")
        await engine.account(1).ask(CreateContact(ANA, "Dora"))
        await trio.sleep(10)
        await say(engine, 1, "1.3")
        await say(engine, 3, "3.1", "3.2")
        await engine.account(1).ask(CreateContact(ANA, "Edda"))
        subscription = await follow(cable, "bo", since=NOW + 10, streams=streams(engine, conversation_1=1))
        assert positions(subscription.pushes()) == {
            "conversation:1": [2, 3],
            "conversation:3": [1, 2],
            "account:1": [2],
        }
        await say(engine, 3, "3.3")
        await subscription.assert_push("message.created", content="3.3")
        assert positions(subscription.pushes())["conversation:3"] == [1, 2, 3]


async def test_a_position_in_the_accounts_own_stream_takes_precedence_over_since(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        for name in ("Dora", "Edda", "Frida"):
            await engine.account(1).ask(CreateContact(ANA, name))
        subscription = await follow(cable, "bo", since=1, streams=streams(engine, account_1=1))
        assert positions(subscription.pushes()) == {"account:1": [2, 3]}


async def test_history_is_held_to_policy(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, 1, "1.1", "1.2")
        await say(engine, 2, "2.1", "2.2")
        both = streams(engine, conversation_1=1, conversation_2=1)
        for token, heard in (("cy", ["1.2"]), ("bo", ["1.2", "2.2"])):
            assert contents(await follow(cable, token, since=NOW, streams=both)) == heard
        assert contents(await follow(cable, "cy", since=NOW, streams={})) == ["1.1", "1.2"]


async def test_a_deleted_conversation_is_told_by_its_tombstone(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, 1, "1.1", "1.2")
        await engine.conversation(1, 1).ask(DeleteConversation(ANA))
        for since, known in ((NOW, {}), (None, streams(engine, conversation_1=1))):
            subscription = await follow(cable, "bo", since=since, streams=known)
            assert [push.type for push in subscription.pushes() if push.offset] == ["conversation.deleted"]


@pytest.mark.parametrize(
    "positions",
    [
        {"conversation:1": {"epoch": "another", "offset": 1}},
        {"conversation:1": {"epoch": None, "offset": 3}},
        {"account:1": {"epoch": None, "offset": 1}},
        {"account:2": {"epoch": None, "offset": 0}},
        {"conversation:4": {"epoch": None, "offset": 1}},
        {"conversation:x": {"epoch": None, "offset": 1}},
        {"conversation:" + "9" * 30: {"epoch": None, "offset": 1}},
        {"chat:1": {"epoch": None, "offset": 1}},
    ],
    ids=str,
)
async def test_a_position_that_is_not_known_here_rejects_the_whole_history(
    positions: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, 1, "1.1", "1.2")
        await say(engine, 4, "4.1", account=2)
        client = await cable.connect("bo", ANYCABLE)
        known = {
            stream: {**position, "epoch": position["epoch"] or engine.epoch} for stream, position in positions.items()
        }
        known |= streams(engine, conversation_3=0)
        subscription = await client.subscribe("AccountChannel", history={"since": NOW, "streams": known})
        await client.expect("reject_history")
        await subscription.refute_push("message.created")
        await say(engine, 1, "1.3")
        await subscription.assert_push("message.created", content="1.3")


async def test_more_rows_than_one_resume_may_need_reject_the_history(autojump_clock: MockClock) -> None:
    async with open_stage(settings=Settings(chat=ChatLimits(history_page=2, history_rows=3))) as (engine, cable):
        await say(engine, 1, "1.1", "1.2")
        await say(engine, 3, "3.1", "3.2")
        client = await cable.connect("bo", ANYCABLE)
        await client.subscribe("AccountChannel", history={"since": NOW, "streams": {}})
        await client.expect("reject_history")


async def test_more_conversations_than_one_resume_may_need_reject_the_history(autojump_clock: MockClock) -> None:
    async with open_stage(settings=Settings(chat=ChatLimits(history_rows=1))) as (engine, cable):
        await say(engine, 1, "1.1")
        await say(engine, 3, "3.1")
        client = await cable.connect("bo", ANYCABLE)
        await client.subscribe("AccountChannel", history={"since": NOW, "streams": {}})
        await client.expect("reject_history")


async def test_a_live_dashboard_that_asks_for_history_is_told_to_subscribe_again(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        subscription = await follow(cable, "bo")
        await say(engine, 1, "1.1")
        subscription.client.send("history", subscription.identifier, history={"since": NOW, "streams": {}})
        await subscription.client.expect("reject_history")
        await wait_all_tasks_blocked()
        assert contents(subscription) == ["1.1"]


async def start_paused(engine: Engine, cable: Cable, token: str) -> tuple[Paused, CableClient, Subscription]:
    client = await cable.connect(token, ANYCABLE)
    paused = Paused(engine.world.reads)
    cable.gateway.reads = as_reads(paused)
    subscription = await client.subscribe(
        "AccountChannel", history={"since": NOW, "streams": streams(engine, conversation_1=0)}
    )
    return paused, client, subscription


async def test_what_happens_while_history_is_read_is_told_once_and_in_order(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, 1, "1.1")
        paused, client, subscription = await start_paused(engine, cable, "bo")
        await say(engine, 1, "1.2")
        await say(engine, 3, "3.1")
        paused.before.set()
        await wait_all_tasks_blocked()
        await say(engine, 1, "1.3")
        await say(engine, 2, "2.1")
        paused.after.set()
        await client.expect("confirm_history")
        await say(engine, 1, "1.4")
        await wait_all_tasks_blocked()
        assert positions(subscription.pushes()) == {
            "conversation:1": [1, 2, 3, 4],
            "conversation:2": [1],
            "conversation:3": [1],
        }


# Rights that change.


async def set_members(engine: Engine, inbox_id: int, *members: Member) -> None:
    await engine.account(1).ask(SetInboxMembers(ANA, inbox_id, tuple(member.user_id for member in members)))


async def test_an_inbox_that_opens_to_a_member_is_joined_at_once(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        subscription = await follow(cable, "cy")
        await say(engine, 2, "before")
        await set_members(engine, 2)
        await say(engine, 2, "after")
        await wait_all_tasks_blocked()
        assert contents(subscription) == ["after"]


async def test_an_inbox_that_closes_to_a_member_is_left_at_once(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        subscription = await follow(cable, "cy")
        await set_members(engine, 1, BO)
        await say(engine, 1, "after")
        await wait_all_tasks_blocked()
        assert contents(subscription) == []
        assert not subscription.client.closed


async def test_an_inbox_that_closes_while_its_history_is_read_is_not_told(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, 1, "1.1")
        paused, client, subscription = await start_paused(engine, cable, "cy")
        await say(engine, 1, "1.2")
        paused.before.set()
        await wait_all_tasks_blocked()
        await set_members(engine, 1, BO)
        paused.after.set()
        await client.expect("confirm_history")
        await say(engine, 1, "1.3")
        await wait_all_tasks_blocked()
        assert contents(subscription) == []
        client.drop()
        assert engine.world.hub.statistics().topics == 0


async def test_leaving_leaves_nothing_in_the_hub(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        first, second = await follow(cable, "bo"), await follow(cable, "ana")
        first.unsubscribe()
        second.client.drop()
        await wait_all_tasks_blocked()
        assert engine.world.hub.statistics().topics == 0
