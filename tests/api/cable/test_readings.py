"""Many who ask for the same at once: it is read once, and each gets what it would have got alone."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.edit_message import DeleteMessage
from tertulia.api.cable_limits import CableLimits
from tertulia.api.engine import Engine
from tertulia.api.testing import ANYCABLE, ANYCABLE_MSGPACK, Cable

from .seams import Counted, Paused, as_reads
from .stage import ANA, open_stage
from .test_history import ONE, position, resume, say, told


async def warm(engine: Engine, cable: Cable, offset: int = 0) -> None:
    """Let two clients ask, so that there is a reading for the next one."""
    for _ in range(2):
        await resume(cable, position(engine, offset))


async def test_who_asks_for_the_same_a_moment_later_costs_the_store_nothing(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two", "three")
        await warm(engine, cable, 1)
        counted = Counted(engine.world.reads)
        cable.gateway.reads = as_reads(counted)
        for offers in (ANYCABLE, ANYCABLE_MSGPACK):
            for offset in (1, 2, 3):
                heard, _ = await resume(cable, position(engine, offset), offers=offers)
                assert heard == [*["one", "two", "three"][offset:], "confirm_history"]
        assert counted.rows == 0


async def test_all_who_ask_while_it_is_read_wait_for_the_same_reading(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two")
        await resume(cable, position(engine, 0))
        counted = Counted(engine.world.reads)
        paused = Paused(counted)
        cable.gateway.reads = as_reads(paused)
        clients = [await cable.connect("ana", ANYCABLE) for _ in range(5)]
        for client in clients:
            client.send("subscribe", ONE, history=position(engine, 1))
        await wait_all_tasks_blocked()
        paused.before.set()
        paused.after.set()
        for client in clients:
            await client.expect("confirm_history")
            assert told(client.messages[2:]) == ["two", "confirm_history"]
        assert counted.rows == 2  # the row that proves the position, and the one that follows


async def test_what_is_said_after_it_was_read_is_there_once_for_everybody(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one")
        await warm(engine, cable)
        _, first = await resume(cable, position(engine, 0))
        await say(engine, "two")
        heard, second = await resume(cable, position(engine, 0))
        assert heard == ["one", "two", "confirm_history"]
        await say(engine, "three")
        for subscription in (first, second):
            await subscription.assert_push("message.created", content="three")
            assert [push.offset for push in subscription.pushes()] == [1, 2, 3]


async def test_a_message_that_was_deleted_is_not_in_what_is_read_for_all(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "secret")
        await warm(engine, cable)
        await engine.conversation(1, 1).ask(DeleteMessage(ANA, 1))
        client = await cable.connect("bo", ANYCABLE)
        client.send("subscribe", ONE, history=position(engine, 0))
        await client.expect("confirm_history")
        assert "secret" not in str(client.messages)


async def test_a_visitor_never_gets_what_was_read_for_members(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "hello")
        await say(engine, "a note", private=True)
        await warm(engine, cable)
        assert (await resume(cable, position(engine, 0), "visitor 1"))[0] == ["hello", "confirm_history"]
        assert (await resume(cable, position(engine, 0)))[0] == ["hello", "a note", "confirm_history"]


async def test_who_may_not_see_a_conversation_is_refused_although_it_was_read_for_others(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "hello")
        await warm(engine, cable)
        stranger = await cable.connect("visitor 2", ANYCABLE)
        stranger.send("subscribe", ONE, history=position(engine, 0))
        await stranger.expect("reject_subscription")
        assert "hello" not in str(stranger.messages)


async def test_a_position_before_what_was_read_is_read_again_and_one_ahead_of_it_is_rejected(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two", "three")
        await warm(engine, cable, 2)
        assert (await resume(cable, position(engine, 1)))[0] == ["two", "three", "confirm_history"]
        assert (await resume(cable, position(engine, 9)))[0] == ["reject_history"]
        assert (await resume(cable, position(engine, 1, epoch="another")))[0] == ["reject_history"]


async def test_nothing_is_kept_for_longer_than_its_time(autojump_clock: MockClock) -> None:
    limits = CableLimits()
    async with open_stage(limits) as (engine, cable):
        await say(engine, "one")
        before = engine.world.hub.statistics().topics
        await warm(engine, cable)
        for session in list(cable.gateway.sessions):
            session.disconnect("remote", reconnect=False)
        await trio.sleep(limits.reading_seconds * 2)
        assert engine.world.hub.statistics().topics == before


async def test_where_there_is_no_room_everybody_is_answered_all_the_same(autojump_clock: MockClock) -> None:
    async with open_stage(CableLimits(reading_bytes=1, readings=1)) as (engine, cable):
        await say(engine, "one", "two")
        for _ in range(4):
            assert (await resume(cable, position(engine, 0)))[0] == ["one", "two", "confirm_history"]


async def test_a_store_that_is_slow_for_all_is_asked_by_each(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one")
        await resume(cable, position(engine, 0))
        paused = Paused(engine.world.reads)
        cable.gateway.reads = as_reads(paused)
        client = await cable.connect("ana", ANYCABLE)
        client.send("subscribe", ONE, history=position(engine, 0))
        await trio.sleep(cable.gateway.limits.reading_patience)
        await client.expect("confirm_subscription")
        paused.before.set()
        paused.after.set()
        await client.expect("confirm_history")
