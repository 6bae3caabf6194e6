"""An engine inside a trio program: ask, follow, serve, leave."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.send_message import SendMessage, Sent
from tertulia.actors.entities import Member, System, Visitor
from tertulia.api import demo
from tertulia.api.engine import Engine, open_engine
from tertulia.api.subscription import MAX_WAITING, Lagging
from tertulia.engine.errors import Conflict, Draining, NotFound

SYSTEM = System(1)


@asynccontextmanager
async def open_demo(conversations: int = 2) -> AsyncGenerator[Engine]:
    async with open_engine("memory:") as engine:
        await demo.fill(engine.world.reads, engine.world.journal, 1_700_000_000_000, conversations)
        yield engine


async def say(engine: Engine, content: str, client_id: str | None = None) -> Sent:
    sent: Sent = await engine.conversation(1, 1).ask(SendMessage(SYSTEM, content, client_id))
    return sent


async def test_asking_a_conversation_gives_the_stored_message(autojump_clock: MockClock) -> None:
    async with open_demo() as engine:
        sent = await say(engine, "Hello", "one")
        again = await say(engine, "Hello", "one")
    assert (sent.message.seq, sent.repeated) == (2, False)
    assert (again.message, again.repeated) == (sent.message, True)


async def test_a_follower_gets_what_it_missed_and_then_live_events_each_once(autojump_clock: MockClock) -> None:
    async with open_demo() as engine:
        await say(engine, "one")
        await say(engine, "two")
        async with engine.follow(SYSTEM, 1, after=1) as events:
            await say(engine, "three")
            seen = [(await anext(events)).seq for _ in range(3)]
    assert seen == [2, 3, 4]


async def test_a_follower_without_a_position_begins_with_now(autojump_clock: MockClock) -> None:
    async with open_demo() as engine:
        await say(engine, "before")
        async with engine.follow(SYSTEM, 1) as events:
            await say(engine, "after")
            assert (await anext(events)).seq == 3


async def test_a_visitor_follows_its_own_conversation_without_private_notes(autojump_clock: MockClock) -> None:
    async with open_demo() as engine:
        async with engine.follow(Visitor(1, 1, 1), 1, after=0) as events:
            note = SendMessage(Member(1, 1), "a private note", private=True)
            await engine.conversation(1, 1).ask(note)
            await say(engine, "a public answer")
            assert [(await anext(events)).seq for _ in range(2)] == [1, 3]
        with pytest.raises(NotFound):
            async with engine.follow(Visitor(1, 1, 1), 2):
                pass


async def test_a_position_of_another_database_is_refused(autojump_clock: MockClock) -> None:
    async with open_demo() as engine:
        with pytest.raises(Conflict):
            async with engine.follow(SYSTEM, 1, after=99):
                pass


async def test_a_follower_that_does_not_keep_up_is_told_so(autojump_clock: MockClock) -> None:
    async with open_demo() as engine, engine.follow(SYSTEM, 1) as events:
        sent = await say(engine, "one")
        event = await anext(events)
        events.put([event] * MAX_WAITING)
        events.put([event])
        with pytest.raises(Lagging):
            async for _ in events:
                pass
        assert sent.message.seq == event.seq


async def test_leaving_the_block_finishes_what_was_accepted_and_refuses_the_rest(autojump_clock: MockClock) -> None:
    async with open_demo() as engine:
        for number in range(50):
            engine.conversation(1, 1).tell(SendMessage(SYSTEM, f"message {number}", f"client-{number}"))
        reads = engine.world.reads
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.directory.drain)
            await wait_all_tasks_blocked()
        assert len(await reads.messages(1, 1, after=0, limit=100)) == 50
        with pytest.raises(Draining):
            await say(engine, "too late")


async def test_cancelling_the_program_still_finishes_what_was_accepted(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'chat.db'}"
    async with open_engine(database) as engine:
        await demo.fill(engine.world.reads, engine.world.journal, 1_700_000_000_000, 1)
    with trio.CancelScope() as program:
        async with open_engine(database) as engine:
            for number in range(20):
                engine.conversation(1, 1).tell(SendMessage(SYSTEM, f"message {number}"))
            program.cancel()
            await trio.sleep_forever()
    async with open_engine(database) as engine:
        assert len(await engine.world.reads.messages(1, 1, after=0, limit=100)) == 20


async def test_two_engines_live_in_one_program(autojump_clock: MockClock) -> None:
    async with open_demo() as first, open_demo() as second:
        await say(first, "only here")
        assert (await say(second, "and here")).message.seq == 2
        assert [row.content for row in await first.world.reads.messages(1, 1, after=0)] == ["only here"]
