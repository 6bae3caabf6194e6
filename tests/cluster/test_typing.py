"""Typing over nodes: told to all, ended by its node, and ended without it when that is gone."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.mark_read import SetTyping
from tertulia.actors.entities import Principal
from tertulia.actors.events import TYPING_OFF, TYPING_ON, Event
from tertulia.actors.wire_events import encode_events

from ..actors.kit import AGENT, VISITOR
from .nodes import Node, open_nodes

BOTH = [TYPING_ON, TYPING_OFF]


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


async def type_on(node: Node, by: Principal = AGENT, *, on: bool = True, private: bool = False) -> None:
    await node.engine.conversation(1, 1).ask(SetTyping(by, on=on, private=private))


async def test_typing_is_told_on_all_nodes_once(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        here, there, inbox = await home.listen(), await other.listen(), await other.listen("inbox:1")
        await type_on(other)
        await trio.sleep(25)
        assert types(here) == types(there) == types(inbox) == [TYPING_ON]
        await type_on(other, on=False)
        await wait_all_tasks_blocked()
        assert types(here) == types(there) == types(inbox) == BOTH


async def test_who_types_when_the_home_dies_stops_typing_after_a_while(autojump_clock: MockClock) -> None:
    async with open_nodes(typing_silence=15.0) as nodes:
        home, other = await nodes.start_two()
        there, inbox = await other.listen(), await other.listen("inbox:1")
        await type_on(other, VISITOR)
        await trio.sleep(12)
        home.bus.die()
        await trio.sleep(8)
        assert types(there) == [TYPING_ON]
        await trio.sleep(14)
        assert types(there) == types(inbox) == BOTH
        assert there[1].stream == "conversation:1"
        assert bytes(there[1].data) == bytes(there[0].data)
        assert there[1].private is there[0].private is False


async def test_a_note_that_is_typed_ends_as_privately_as_it_began(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        there = await other.listen()
        await type_on(other, private=True)
        await wait_all_tasks_blocked()
        home.bus.die()
        await trio.sleep(60)
        assert types(there) == BOTH
        assert there[0].private
        assert there[1].private


async def test_who_types_for_long_does_not_flicker_on_other_nodes(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        here, there = await home.listen(), await other.listen()
        for _ in range(20):
            await type_on(home)
            await trio.sleep(9)
        assert types(here) == types(there) == [TYPING_ON]


async def test_who_goes_on_typing_on_the_next_home_is_not_ended_by_the_first_ones_death(
    autojump_clock: MockClock,
) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        there = await other.listen()
        await type_on(other)
        await wait_all_tasks_blocked()
        home.bus.die()
        for _ in range(6):
            await trio.sleep(9)
            await type_on(other)
        assert TYPING_OFF not in types(there)


async def test_an_end_that_the_bus_lost_comes_after_a_while(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        there = await other.listen()
        await type_on(home)
        await wait_all_tasks_blocked()
        nodes.lose("topic:")
        await type_on(home, on=False)
        nodes.lose_nothing()
        await trio.sleep(30)
        assert types(there) == BOTH


async def test_a_beginning_that_the_bus_lost_comes_a_little_later(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        there = await other.listen()
        nodes.lose("topic:")
        await type_on(home)
        nodes.lose_nothing()
        await trio.sleep(10)
        assert types(there) == [TYPING_ON]


async def test_what_is_remembered_of_typists_is_bounded(autojump_clock: MockClock) -> None:
    async with open_nodes(remembered_typists=2) as nodes:
        _, other = await nodes.start_two()
        there = await other.listen()
        for id in range(5):
            data = {"by": {"type": "user", "id": id, "name": "x"}, "private": False}
            typing = Event(TYPING_ON, "conversation:1", None, 0, data)
            other.hub.receive("conversation:1", b"x\0" + encode_events([typing], ephemeral=True))
        # Three had to go, and with them their typing ended; the others end in time.
        assert types(there).count(TYPING_ON) == 5
        assert types(there).count(TYPING_OFF) == 3
        await trio.sleep(60)
        assert types(there).count(TYPING_OFF) == 5
