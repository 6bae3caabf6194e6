"""How far somebody has read."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tertulia.actors.commands.mark_read import MarkRead
from tertulia.actors.commands.send_message import SendMessage
from tertulia.engine.errors import Invalid, NotFound

from .kit import AGENT, OTHER_VISITOR, STRANGER, SYSTEM, VIEWER, VISITOR, World, kinds, payload


async def send(world: World, count: int) -> None:
    for number in range(count):
        await world.ask(SendMessage(AGENT, f"message {number}"))


async def cursors(world: World) -> dict[tuple[str, int], int]:
    records = await world.reads.conversation(1, 1)
    assert records is not None
    return {(cursor.reader_type, cursor.reader_id): cursor.seq for cursor in records.cursors}


async def test_reading_is_an_event_and_a_cursor(world: World) -> None:
    await send(world, 2)
    heard = world.listen()
    assert await world.ask(MarkRead(VISITOR, 2)) == 2
    assert kinds(heard) == ["conversation.read"]
    data = payload(heard[0])
    assert (data["reader"], data["read_seq"], data["seq"]) == ({"type": "contact", "id": 1, "name": "Ana"}, 2, 3)
    assert await cursors(world) == {("contact", 1): 2}


async def test_a_cursor_never_goes_back(world: World) -> None:
    await send(world, 3)
    await world.ask(MarkRead(AGENT, 3))
    heard = world.listen()
    assert await world.ask(MarkRead(AGENT, 1)) == 3
    assert await world.ask(MarkRead(AGENT, 3)) == 3
    assert heard == []


async def test_nor_beyond_the_last_message(world: World) -> None:
    await send(world, 2)
    assert await world.ask(MarkRead(AGENT, 10_000)) == 2
    assert await cursors(world) == {("user", 2): 2}


async def test_reading_what_one_is_told_about_reading_comes_to_an_end(world: World) -> None:
    """Two clients that acknowledge every event do not keep each other busy."""
    await send(world, 1)
    heard = world.listen()
    for _ in range(5):
        seq = (await world.record()).last_seq
        await world.ask(MarkRead(AGENT, seq))
        await world.ask(MarkRead(VISITOR, seq))
    assert len(heard) == 2


async def test_cursors_survive_a_restart(world: World, autojump_clock: MockClock) -> None:
    await send(world, 2)
    await world.ask(MarkRead(AGENT, 2))
    await world.forget_actors(autojump_clock)
    heard = world.listen()
    assert await world.ask(MarkRead(AGENT, 1)) == 2
    assert heard == []


async def test_viewers_read_too_strangers_and_the_system_do_not(world: World) -> None:
    await send(world, 1)
    assert await world.ask(MarkRead(VIEWER, 1)) == 1
    for by in (STRANGER, OTHER_VISITOR):
        with pytest.raises(NotFound):
            await world.ask(MarkRead(by, 1))
    with pytest.raises(Invalid):
        await world.ask(MarkRead(SYSTEM, 1))
