"""A reading on PostgreSQL: as on the store in memory, over connections that see commits at different times."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio

from tertulia.actors.commands.edit_message import DeleteMessage, EditMessage
from tertulia.actors.commands.update_conversation import DeleteConversation
from tertulia.api.cable_limits import CableLimits
from tertulia.api.engine import Engine, open_engine
from tertulia.api.job_testing import jobs_by_hand
from tertulia.api.testing import ANYCABLE, Cable, open_cable, virtual_wall_clock

from .seams import Counted, as_reads
from .stage import ANA, BO, fill
from .test_history import ONE, position, resume, say


@pytest.fixture
async def scene(postgres_url: str) -> AsyncGenerator[tuple[Engine, Cable]]:
    """Nothing is dropped because of its age, which is real time here."""
    async with open_engine(postgres_url, jobs_by_hand(), wall_clock=virtual_wall_clock) as engine:
        await fill(engine)
        async with open_cable(engine, CableLimits(reading_seconds=60, reading_patience=60)) as cable:
            yield engine, cable


async def history_of(cable: Cable, engine: Engine) -> str:
    """All that somebody is told who comes back at the beginning."""
    client = await cable.connect("ana", ANYCABLE)
    client.send("subscribe", ONE, history=position(engine, 0))
    await client.expect("confirm_history")
    return str(client.messages)


async def seqs_of(cable: Cable, engine: Engine, messages: int) -> list[int | None]:
    """What somebody hears who comes back at the beginning while others speak."""
    client = await cable.connect("ana", ANYCABLE)
    client.send("subscribe", ONE, history=position(engine, 0))
    await client.expect("confirm_history")
    await client.take(lambda message: message.get("offset") == messages, 5, "the last message")
    return [message["offset"] for message in client.messages if "offset" in message]


async def test_what_was_read_for_all_is_true_until_something_is_said_changed_or_erased(
    scene: tuple[Engine, Cable],
) -> None:
    engine, cable = scene
    await say(engine, "first", "second")
    for _ in range(2):
        await resume(cable, position(engine, 0))
    counted = Counted(engine.world.reads)
    cable.gateway.reads = as_reads(counted)
    assert (await resume(cable, position(engine, 1)))[0] == ["second", "confirm_history"]
    assert counted.rows == 0

    for change in (EditMessage(BO, 1, "better"), DeleteMessage(ANA, 2)):
        await engine.conversation(1, 1).ask(change)
        for _ in range(2):  # the first one reads again, for both
            heard = await history_of(cable, engine)
            assert ("first" in heard, "better" in heard) == (False, True)
    assert "second" not in await history_of(cable, engine)

    await engine.conversation(1, 1).ask(DeleteConversation(ANA))
    client = await cable.connect("ana", ANYCABLE)
    client.send("subscribe", ONE, history=position(engine, 0))
    await client.expect("reject_subscription")
    assert "better" not in str(client.messages)


async def test_whoever_comes_back_while_others_speak_hears_everything_once(scene: tuple[Engine, Cable]) -> None:
    engine, cable = scene
    messages, heard = 60, list[list[int | None]]()

    async def come_back() -> None:
        heard.append(await seqs_of(cable, engine, messages))

    async with trio.open_nursery() as nursery:
        for number in range(messages):
            if number % 3 == 0:
                nursery.start_soon(come_back)
                nursery.start_soon(come_back)
            await say(engine, f"message {number}")
    assert heard == [list(range(1, messages + 1))] * len(heard)
    assert len(heard) == 40
