"""What is read once for all costs no more than its bounds, whoever asks and however."""

from __future__ import annotations

import gc

from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.api.cable.protocol import EventFormat
from tertulia.api.cable_limits import CableLimits
from tertulia.api.engine import Engine
from tertulia.api.testing import ANYCABLE, Cable

from .seams import Counted, SlowConversations, Stuck, as_reads
from .stage import open_stage
from .test_history import ONE, position, resume, say, told


async def warm(engine: Engine, cable: Cable) -> None:
    """Let two clients ask, so that there is a reading for the next one, where there may be."""
    for _ in range(2):
        await resume(cable, position(engine, 0))


async def test_many_short_messages_are_not_taken_for_next_to_nothing(autojump_clock: MockClock) -> None:
    async with open_stage(CableLimits(reading_bytes=5000)) as (engine, cable):
        await say(engine, *"a" * 20)
        await warm(engine, cable)
        counted = Counted(engine.world.reads)
        cable.gateway.reads = as_reads(counted)
        assert (await resume(cable, position(engine, 0)))[0] == [*"a" * 20, "confirm_history"]
        assert counted.rows > 0


async def test_one_conversation_under_a_thousand_spellings_is_not_kept_a_thousand_times(
    autojump_clock: MockClock,
) -> None:
    async with open_stage(CableLimits(reading_bytes=50_000)) as (engine, cable):
        await say(engine, "one")
        await warm(engine, cable)
        client = await cable.connect("ana", ANYCABLE)
        for spaces in range(300):
            identifier = ONE[:-1] + " " * spaces + "}"
            client.send("subscribe", identifier, history=position(engine, 1))
            await client.expect("confirm_history", identifier=identifier)
            client.send("unsubscribe", identifier)
        kept = sum(isinstance(thing, EventFormat) for thing in gc.get_objects())
        assert kept < 100


async def test_nobody_has_a_history_read_that_it_may_not_see(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "hello")
        counted = Counted(engine.world.reads)
        cable.gateway.reads = as_reads(counted)
        for _ in range(3):
            stranger = await cable.connect("visitor 2", ANYCABLE)
            stranger.send("subscribe", ONE, history=position(engine, 0))
            await stranger.expect("reject_subscription")
        assert counted.rows == 0
        assert (await resume(cable, position(engine, 0)))[0] == ["hello", "confirm_history"]


async def test_a_client_with_bytes_on_their_way_gets_its_next_history_as_fast_as_it_reads(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one", "two")
        await warm(engine, cable)
        client = await cable.connect("ana", ANYCABLE)
        client.transport.waiting = cable.gateway.limits.history_chunk
        client.send("subscribe", ONE, history=position(engine, 0))
        at_once = told(client.messages[1:])
        await client.expect("confirm_history")
        assert at_once == []
        assert told(client.messages[1:]) == ["confirm_subscription", "one", "two", "confirm_history"]


async def test_a_store_that_is_stuck_keeps_nobody_waiting_for_longer_because_others_ask_too(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (_, cable):
        cable.gateway.reads = as_reads(Stuck())
        clients = [await cable.connect("ana", ANYCABLE) for _ in range(3)]
        for client in clients:
            client.send("subscribe", ONE)
        for client in clients:
            await client.wait_closed(within=cable.gateway.limits.subscribe_timeout + 0.1)


async def test_a_reading_that_is_ready_when_the_gateway_has_gone_is_not_kept(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await say(engine, "one")
        await resume(cable, position(engine, 0))
        slow = SlowConversations(engine.world.reads)
        cable.gateway.reads = as_reads(slow)
        client = await cable.connect("ana", ANYCABLE)
        client.send("subscribe", ONE, history=position(engine, 0))
        await wait_all_tasks_blocked()
        await cable.gateway.drain(0)
        slow.go_on.set()
        await wait_all_tasks_blocked()
        assert engine.world.hub.statistics().topics == 0
