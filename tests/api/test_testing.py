"""The test kit itself: what it asserts, it can also refuse."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tertulia.api.testing import EPOCH, Rejected, Subscription, virtual_wall_clock

from .cable.stage import open_stage


async def test_assert_push_waits_for_the_event_that_is_meant_and_leaves_the_others(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        bo = await (await cable.connect("bo")).subscribe("ConversationChannel", id=1)
        for content in ("one", "two"):
            bo.perform("send_message", content=content)
        assert (await bo.assert_push("message.created", content="two")).data["seq"] == 2
        assert (await bo.assert_push("message.created")).data["seq"] == 1
        assert [push.data["content"] for push in bo.pushes()] == ["one", "two"]


async def test_assert_push_fails_and_says_what_came_instead(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        bo = await (await cable.connect("bo")).subscribe("ConversationChannel", id=1)
        bo.perform("send_message", content="another")
        with pytest.raises(AssertionError, match="another"):
            await bo.assert_push("message.created", content="this", within=3)
        assert trio.current_time() == pytest.approx(3)


async def test_refute_push_fails_where_the_event_comes(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        bo = await (await cable.connect("bo")).subscribe("ConversationChannel", id=1)
        bo.perform("send_message", content="Hello")
        with pytest.raises(AssertionError, match="Hello"):
            await bo.refute_push("message.created", content="Hello")
        await bo.refute_push("message.created", content="Good-bye")
        await bo.refute_push("message.deleted")


async def test_a_subscription_sees_its_own_events_only(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("bo")
        first = await client.subscribe("ConversationChannel", id=1)
        third = await client.subscribe("ConversationChannel", id=3)
        first.perform("send_message", content="Hello")
        await first.assert_push("message.created")
        await third.refute_push()


async def test_a_rejected_subscription_raises(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("cy")
        with pytest.raises(Rejected):
            await client.subscribe("ConversationChannel", id=2)


async def test_connect_fails_for_who_is_not_welcomed(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        with pytest.raises(AssertionError, match="unauthorized"):
            await cable.connect("nobody")


async def test_a_connection_that_stays_open_fails_a_wait_for_its_end(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("bo")
        with pytest.raises(AssertionError, match="not closed"):
            await client.wait_closed(within=1)


async def test_after_a_drop_nothing_arrives_on_either_side(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        client = await cable.connect("bo")
        bo = await client.subscribe("ConversationChannel", id=1)
        client.drop()
        bo.perform("send_message", content="Hello?")
        ana = await (await cable.connect("ana")).subscribe("ConversationChannel", id=1)
        await ana.refute_push()
        assert Subscription(client, bo.identifier).pushes() == []
        assert engine.world.hub.statistics().subscriptions == 1


async def test_the_virtual_time_of_day_goes_with_trios_clock(autojump_clock: MockClock) -> None:
    assert virtual_wall_clock() == EPOCH
    await trio.sleep(90)
    assert virtual_wall_clock() == EPOCH + 90_000
