"""Typing: told once, ended once, by whatever comes first."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.mark_read import SetTyping
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.conversation import ConversationActor
from tertulia.actors.draft import Draft
from tertulia.actors.entities import Principal
from tertulia.actors.limits import ChatLimits
from tertulia.actors.typists import start_typing, stop_typing
from tertulia.engine.config import EngineConfig, Lifecycle
from tertulia.engine.errors import Denied, RateLimited
from tertulia.engine.mailbox import Lane

from .kit import AGENT, VIEWER, VISITOR, Crash, World, kinds, open_world, payload


async def typing(world: World, by: Principal = AGENT, *, on: bool = True, private: bool = False) -> None:
    await world.ask(SetTyping(by, on, private))


async def test_typing_is_told_to_the_conversation_and_the_inbox_and_stored_nowhere(world: World) -> None:
    heard, dashboard = world.listen(), world.listen("inbox:1")
    await typing(world)
    assert kinds(heard) == kinds(dashboard) == ["conversation.typing_on"]
    assert (heard[0].seq, payload(heard[0])["by"]["name"]) == (None, "Ben")
    assert (await world.record()).last_seq == 0


async def test_whoever_goes_on_typing_is_told_once(world: World) -> None:
    heard = world.listen()
    for _ in range(5):
        await typing(world)
    assert kinds(heard) == ["conversation.typing_on"]


async def test_it_ends_on_the_server_once(world: World, autojump_clock: MockClock) -> None:
    heard = world.listen()
    await typing(world)
    await trio.sleep(29)
    assert kinds(heard) == ["conversation.typing_on"]
    await trio.sleep(2)
    assert kinds(heard) == ["conversation.typing_on", "conversation.typing_off"]
    await trio.sleep(100)
    assert len(heard) == 2


async def test_going_on_moves_the_end(world: World, autojump_clock: MockClock) -> None:
    heard = world.listen()
    await typing(world)
    await trio.sleep(20)
    await typing(world)
    await trio.sleep(25)
    assert kinds(heard) == ["conversation.typing_on"]
    await trio.sleep(6)
    assert kinds(heard) == ["conversation.typing_on", "conversation.typing_off"]


async def test_a_message_of_the_typist_ends_it_after_the_message(world: World, autojump_clock: MockClock) -> None:
    heard = world.listen()
    await typing(world)
    await world.ask(SendMessage(VISITOR, "I do not type"))
    await world.ask(SendMessage(AGENT, "there"))
    assert kinds(heard) == [
        "conversation.typing_on", "message.created", "message.created", "conversation.typing_off",
    ]  # fmt: skip
    await trio.sleep(60)
    assert len(heard) == 4


async def test_saying_so_ends_it_and_saying_it_twice_is_harmless(world: World) -> None:
    heard = world.listen()
    await typing(world)
    await typing(world, on=False)
    await typing(world, on=False)
    assert kinds(heard) == ["conversation.typing_on", "conversation.typing_off"]


async def test_a_visitor_that_begins_and_stops_all_the_time_is_slowed_down(
    world: World, autojump_clock: MockClock
) -> None:
    """Every change is told to everybody who listens: it costs others more than the typist."""
    heard = world.listen()
    burst = int(world.collaborators.limits.visitor_burst)
    for _ in range(burst):
        await typing(world, VISITOR)
        await typing(world, VISITOR, on=False)
    with pytest.raises(RateLimited) as refused:
        await typing(world, VISITOR)
    assert len(heard) == 2 * burst
    await world.ask(SendMessage(VISITOR, "Messages have a limit of their own"))
    await trio.sleep(refused.value.retry_after)
    await typing(world, VISITOR)


async def test_a_visitor_that_goes_on_typing_is_not_slowed_down(world: World, autojump_clock: MockClock) -> None:
    for _ in range(2 * int(world.collaborators.limits.visitor_burst)):
        await typing(world, VISITOR)


async def test_typing_that_begins_after_a_message_is_told_after_it(world: World, autojump_clock: MockClock) -> None:
    """The message is still on its way to the disk when the typing begins."""
    heard = world.listen()
    world.committer.gate = trio.Event()
    sent = world.post(SendMessage(AGENT, "first"))
    await wait_all_tasks_blocked()
    world.post(SetTyping(AGENT, on=True))
    await wait_all_tasks_blocked()
    assert heard == []
    world.committer.gate.set()
    await sent.get()
    await trio.sleep(ChatLimits().pace)
    await wait_all_tasks_blocked()
    assert kinds(heard) == ["message.created", "conversation.typing_on"]


async def test_typing_a_private_note_is_for_members(world: World) -> None:
    heard = world.listen()
    await typing(world, private=True)
    await typing(world, private=False)
    assert [(event.type.rpartition("_")[2], event.private) for event in heard] == [
        ("on", True), ("off", True), ("on", False),
    ]  # fmt: skip


async def test_viewers_do_not_type_and_visitors_not_privately(world: World) -> None:
    with pytest.raises(Denied):
        await typing(world, VIEWER)
    with pytest.raises(Denied):
        await typing(world, VISITOR, private=True)


async def test_a_crash_leaves_nobody_typing(world: World, autojump_clock: MockClock) -> None:
    heard = world.listen()
    await typing(world)
    with pytest.raises(ZeroDivisionError):
        await world.ask(Crash())
    await world.ask(SendMessage(VISITOR, "still here"))
    assert kinds(heard) == ["conversation.typing_on", "conversation.typing_off", "message.created"]


async def test_so_does_passivation(autojump_clock: MockClock) -> None:
    config = EngineConfig(lifecycle=Lifecycle(idle=5))
    async with open_world(config=config) as world:
        heard = world.listen()
        await typing(world)
        await world.forget_actors(autojump_clock)
        assert kinds(heard) == ["conversation.typing_on", "conversation.typing_off"]


async def test_a_typist_has_one_timer_however_often_it_begins_and_stops(world: World) -> None:
    await typing(world, VISITOR)
    actor = world.directory.peek(ConversationActor, (1, 1))
    assert actor is not None
    draft = Draft(actor.state, [], 0)
    for _ in range(100):
        start_typing(actor.state, AGENT, draft, private=False, seconds=30)
        stop_typing(actor.state, AGENT, draft)
    assert len(draft.timers or ()) == 1


async def test_beginning_again_is_ended_by_the_server_too(world: World, autojump_clock: MockClock) -> None:
    heard = world.listen()
    await typing(world)
    await typing(world, on=False)
    await trio.sleep(20)
    await typing(world)
    await trio.sleep(20)
    assert kinds(heard)[2:] == ["conversation.typing_on"]
    await trio.sleep(11)
    assert kinds(heard)[2:] == ["conversation.typing_on", "conversation.typing_off"]


async def test_a_flood_of_typing_does_not_drop_the_end(world: World, autojump_clock: MockClock) -> None:
    heard = world.listen()
    await typing(world)
    await trio.sleep(29.5)
    for _ in range(500):
        world.tell(SetTyping(VISITOR, on=True), lane=Lane.BROADCASTS)
    await trio.sleep(1)
    assert kinds(heard).count("conversation.typing_off") == 1
