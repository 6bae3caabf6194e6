"""Coming back to a conversation: what was missed, once, in order, then live events, once. Or a clear no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.limits import ChatLimits
from tertulia.api.cable_limits import CableLimits
from tertulia.api.engine import Engine
from tertulia.api.settings import Settings
from tertulia.api.testing import ANYCABLE, ANYCABLE_MSGPACK, EPOCH, Cable, CableClient, Subscription, identifier_of
from tertulia.storage.group_commit import Committer

from .seams import Counted, Holed, Lingering, Paused, as_reads
from .stage import BO, open_stage

ONE = identifier_of("ConversationChannel", id=1)
STREAM = "conversation:1"
NOW = EPOCH // 1000


async def say(engine: Engine, *contents: str, private: bool = False, conversation: int = 1) -> None:
    for content in contents:
        await engine.conversation(1, conversation).ask(SendMessage(BO, content, private=private))


def position(engine: Engine, offset: int, epoch: str | None = None, since: object = None) -> dict[str, Any]:
    streams = {STREAM: {"epoch": epoch or engine.epoch, "offset": offset}}
    return {"streams": streams} if since is None else {"since": since, "streams": streams}


async def resume(
    cable: Cable, history: object, token: str = "ana", offers: tuple[str, ...] = ANYCABLE
) -> tuple[list[object], Subscription]:
    """Subscribe with a history request; what came from the confirmation on: kinds of answers, and contents."""
    client = await cable.connect(token, offers)
    client.send("subscribe", ONE, history=history)
    await client.expect("confirm_subscription")
    answer = await client.expect("confirm_history", "reject_history")
    upto = client.messages.index(answer)
    return told(client.messages[2 : upto + 1]), Subscription(client, ONE)


def told(messages: Sequence[dict[str, Any]]) -> list[object]:
    return [message["type"] if "type" in message else message["message"]["data"]["content"] for message in messages]


@pytest.mark.parametrize("offers", [ANYCABLE, ANYCABLE_MSGPACK])
async def test_a_position_brings_what_followed_it_then_the_confirmation_then_live_events(
    offers: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two", "three")
        heard, subscription = await resume(cable, position(engine, 1), offers=offers)
        assert heard == ["two", "three", "confirm_history"]
        await say(engine, "four")
        assert (await subscription.assert_push("message.created", content="four")).offset == 4
        assert [push.offset for push in subscription.pushes()] == [2, 3, 4]


@pytest.mark.parametrize("offset", [0, 3])
async def test_a_position_at_either_end_is_answered_in_full(offset: int, autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two", "three")
        heard, _ = await resume(cable, position(engine, offset))
        assert heard == [*["one", "two", "three"][offset:], "confirm_history"]


async def test_an_empty_conversation_has_an_empty_history(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        assert (await resume(cable, position(engine, 0)))[0] == ["confirm_history"]
        assert (await resume(cable, {"since": NOW, "streams": {}}))[0] == ["confirm_history"]


@pytest.mark.parametrize("since", [NOW + 2, NOW + 2.0, NOW + 1.5])
async def test_since_brings_what_happened_at_and_after_it(since: float, autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        for content in ("at 0", "at 1", "at 2", "at 3"):
            await say(engine, content)
            await trio.sleep(1)
        heard, _ = await resume(cable, {"since": since, "streams": {}})
        assert heard == ["at 2", "at 3", "confirm_history"]


@pytest.mark.parametrize("since", [None, 0, False, True, -5, 1e300])
async def test_a_since_that_names_no_instant_brings_nothing_or_everything_and_breaks_nothing(
    since: object, autojump_clock: MockClock
) -> None:
    """`@anycable/core` sends false where its `historyTimestamp` is off."""
    async with open_stage() as (engine, cable):
        await say(engine, "one")
        heard, _ = await resume(cable, {"since": since, "streams": {}})
        assert heard == (["one", "confirm_history"] if since == -5 else ["confirm_history"])


async def test_a_position_takes_precedence_over_since(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two", "three")
        assert (await resume(cable, position(engine, 2, since=1)))[0] == ["three", "confirm_history"]
        assert (await resume(cable, position(engine, 2, since=False)))[0] == ["three", "confirm_history"]


async def test_without_a_history_request_the_subscription_is_just_confirmed(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one")
        client = await cable.connect("ana", ANYCABLE)
        subscription = await client.subscribe("ConversationChannel", id=1)
        await say(engine, "two")
        await subscription.assert_push("message.created", content="two")
        assert told(client.messages[1:]) == ["confirm_subscription", "two"]


async def test_a_position_of_another_epoch_is_rejected_and_the_channel_is_live_from_now(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two")
        heard, subscription = await resume(cable, position(engine, 1, epoch="another"))
        assert heard == ["reject_history"]
        await say(engine, "three")
        await subscription.assert_push("message.created", content="three")
        assert [push.offset for push in subscription.pushes()] == [3]


async def test_a_client_that_is_ahead_of_the_store_is_told_so(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two")
        heard, _ = await resume(cable, position(engine, 3))
        assert heard == ["reject_history"]


@pytest.mark.parametrize("offset", [-1, 2**60, "1"])
async def test_an_offset_that_is_none_means_rejection(offset: Any, autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        client = await cable.connect("ana", ANYCABLE)
        client.send("subscribe", ONE, history=position(engine, offset))
        await client.expect("reject_subscription")


async def test_the_history_of_a_visitor_has_holes_where_private_events_are(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one")
        await say(engine, "secret", private=True)
        await say(engine, "three")
        heard, subscription = await resume(cable, position(engine, 1), token="visitor 1")
        assert heard == ["three", "confirm_history"]
        assert [push.offset for push in subscription.pushes()] == [3]


async def test_more_rows_than_one_resume_may_need_are_rejected_rather_than_cut(autojump_clock: MockClock) -> None:
    settings = Settings(chat=ChatLimits(history_page=2, history_rows=4))
    async with open_stage(settings=settings) as (engine, cable):
        await say(engine, "one", "two", "three", "four", "five")
        assert (await resume(cable, position(engine, 1)))[0] == ["reject_history"]
        assert (await resume(cable, position(engine, 2)))[0] == ["three", "four", "five", "confirm_history"]
        assert (await resume(cable, {"since": NOW, "streams": {}}))[0] == ["reject_history"]


async def test_more_text_than_one_resume_may_need_are_rejected_rather_than_read(autojump_clock: MockClock) -> None:
    """A visitor can write long messages for hours, and ask for all of them."""
    settings = Settings(chat=ChatLimits(history_page=2, history_characters=5_000))
    async with open_stage(settings=settings) as (engine, cable):
        await say(engine, *("long " * 400 for _ in range(6)))
        assert (await resume(cable, position(engine, 5)))[0][-1:] == ["confirm_history"]
        reads = Counted(engine.world.reads)
        cable.gateway.reads = as_reads(reads)
        assert (await resume(cable, position(engine, 0)))[0] == ["reject_history"]
        assert reads.rows == 2 + 4  # a page that might have done for all who ask, and what it takes to refuse
        assert (await resume(cable, {"since": NOW, "streams": {}}))[0] == ["reject_history"]


async def test_a_log_with_a_hole_is_rejected_rather_than_told(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two", "three")
        cable.gateway.reads = as_reads(Holed(engine.world.reads, 2))
        assert (await resume(cable, position(engine, 1)))[0] == ["reject_history"]


async def start_paused(engine: Engine, cable: Cable, offset: int) -> tuple[Paused, CableClient]:
    client = await cable.connect("ana", ANYCABLE)
    paused = Paused(engine.world.reads)
    cable.gateway.reads = as_reads(paused)
    client.send("subscribe", ONE, history=position(engine, offset))
    await client.expect("confirm_subscription")
    return paused, client


async def test_what_happens_before_while_and_after_history_is_read_is_told_once_and_in_order(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two")
        paused, client = await start_paused(engine, cable, 1)
        await say(engine, "three")
        paused.before.set()
        await wait_all_tasks_blocked()
        await say(engine, "four")
        paused.after.set()
        await client.expect("confirm_history")
        await say(engine, "five")
        await wait_all_tasks_blocked()
        assert told(client.messages[2:]) == ["two", "three", "four", "confirm_history", "five"]


async def test_after_a_rejected_history_what_happened_since_the_subscription_is_not_lost(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one")
        paused, client = await start_paused(engine, cable, 7)
        await say(engine, "two")
        paused.before.set()
        paused.after.set()
        await client.expect("reject_history")
        await say(engine, "three")
        await wait_all_tasks_blocked()
        assert told(client.messages[2:]) == ["reject_history", "two", "three"]


async def test_a_client_whose_history_takes_too_long_is_asked_to_come_back(autojump_clock: MockClock) -> None:
    async with open_stage(CableLimits(history_timeout=2)) as (engine, cable):
        _, client = await start_paused(engine, cable, 0)
        await client.expect("disconnect", within=3)
        assert client.messages[-1] == {"type": "disconnect", "reason": "server_restart", "reconnect": True}


async def test_a_long_history_leaves_as_fast_as_the_socket_takes_it(autojump_clock: MockClock) -> None:
    async with open_stage(CableLimits(history_chunk=500)) as (engine, cable):
        await say(engine, *map(str, range(10)))
        client = await cable.connect("ana", ANYCABLE)
        client.transport.waiting = 1000
        client.send("subscribe", ONE, history=position(engine, 0))
        await trio.sleep(1)
        begun = len(client.messages)
        assert 2 < begun < 12
        await say(engine, "live")
        client.transport.waiting = 0
        await client.expect("confirm_history")
        await wait_all_tasks_blocked()
        assert told(client.messages[2:]) == [*map(str, range(10)), "confirm_history", "live"]


async def test_a_client_that_does_not_swallow_its_history_is_told_to_come_back_for_the_rest(
    autojump_clock: MockClock,
) -> None:
    async with open_stage(CableLimits(history_chunk=500, history_timeout=5)) as (engine, cable):
        await say(engine, *map(str, range(10)))
        client = await cable.connect("ana", ANYCABLE)
        client.transport.waiting = 1000
        client.send("subscribe", ONE, history=position(engine, 0))
        await client.wait_closed()
        assert client.messages[-1] == {"type": "disconnect", "reason": "too_slow", "reconnect": True}


# The `history` command, for a channel that is subscribed already.


async def ask_again(subscription: Subscription, history: object) -> list[object]:
    client = subscription.client
    before = len(client.messages)
    client.send("history", ONE, **({} if history is None else {"history": history}))
    await client.expect("confirm_history", "reject_history")
    await wait_all_tasks_blocked()
    return told(client.messages[before:])


async def test_a_subscription_that_asks_again_gets_only_what_it_was_not_sent_live(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two")
        client = await cable.connect("ana", ANYCABLE)
        subscription = await client.subscribe("ConversationChannel", id=1)
        await say(engine, "three")
        assert await ask_again(subscription, position(engine, 1)) == ["two", "confirm_history"]
        assert await ask_again(subscription, position(engine, 0)) == ["one", "confirm_history"]
        assert await ask_again(subscription, position(engine, 0)) == ["confirm_history"]
        assert await ask_again(subscription, position(engine, 3)) == ["confirm_history"]
        assert await ask_again(subscription, position(engine, 4)) == ["reject_history"]
        assert await ask_again(subscription, None) == ["confirm_history"]
        await say(engine, "four")
        await wait_all_tasks_blocked()
        assert sorted(push.offset or 0 for push in subscription.pushes()) == [1, 2, 3, 4]


async def test_what_is_durable_before_it_is_told_is_told_once(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        journal: Any = engine.world.journal
        lingering = journal._committer = Lingering(cast("Committer", engine.world.reads))
        client = await cable.connect("ana", ANYCABLE)
        engine.conversation(1, 1).tell(SendMessage(BO, "one"))
        await wait_all_tasks_blocked()
        client.send("subscribe", ONE)
        await wait_all_tasks_blocked()
        lingering.go_on.set()
        await client.expect("confirm_subscription")
        subscription = Subscription(client, ONE)
        assert await ask_again(subscription, position(engine, 0)) == ["one", "confirm_history"]
        assert [push.offset for push in subscription.pushes()] == [1]


async def test_a_subscription_that_resumed_has_nothing_more_to_ask_for(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two", "three")
        _, subscription = await resume(cable, position(engine, 1))
        await say(engine, "four")
        assert await ask_again(subscription, position(engine, 1)) == ["confirm_history"]
        assert await ask_again(subscription, position(engine, 3)) == ["confirm_history"]


async def test_history_for_a_channel_that_is_not_subscribed_is_rejected(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        client = await cable.connect("ana", ANYCABLE)
        client.send("history", ONE, history=position(engine, 0))
        await client.expect("reject_history", identifier=ONE)


async def test_what_a_failed_commit_kept_from_being_broadcast_is_told_once(autojump_clock: MockClock) -> None:
    """Such a row is durable, and its actor broadcasts it when it is back: history leaves it to that."""
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two", "three")
        engine.world.behind[(1, 1)] = 2
        heard, _ = await resume(cable, position(engine, 1))
        assert heard == ["two", "confirm_history"]
