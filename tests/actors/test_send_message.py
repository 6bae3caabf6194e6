"""Sending: what is stored, what is told, what is repeated, and how fast."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.edit_message import DeleteMessage, EditMessage
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.entities import Principal
from tertulia.actors.limits import ChatLimits
from tertulia.engine.errors import Conflict, Denied, Invalid, RateLimited, Unavailable

from .kit import ADMINISTRATOR, AGENT, SYSTEM, VISITOR, Crash, World, kinds, open_world, payload


async def test_a_message_is_told_to_the_conversation_and_to_the_inbox_when_it_is_stored(world: World) -> None:
    heard, dashboard = world.listen(), world.listen("inbox:1")
    world.committer.gate = trio.Event()
    sent = world.post(SendMessage(VISITOR, "hello", "c-1"))
    await wait_all_tasks_blocked()
    assert (heard, sent.done.is_set()) == ([], False)
    world.committer.gate.set()
    row = (await sent.get()).message
    assert heard == dashboard
    assert (row.seq, row.message_type, row.client_id) == (1, "incoming", "c-1")
    assert await world.reads.message(1, 1, 1) == row


async def test_members_write_outgoing_messages_and_private_notes(world: World) -> None:
    heard = world.listen()
    await world.ask(SendMessage(AGENT, "hello"))
    await world.ask(SendMessage(AGENT, "not for her", private=True))
    assert [(payload(event)["message_type"], event.private) for event in heard] == [
        ("outgoing", False), ("outgoing", True),
    ]  # fmt: skip
    with pytest.raises(Denied):
        await world.ask(SendMessage(VISITOR, "nor for him", private=True))


@pytest.mark.parametrize("content", ["", " \n", "x" * 60_001])
async def test_what_is_no_message_is_invalid(world: World, content: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await world.ask(SendMessage(AGENT, content))
    assert list(refusal.value.fields) == ["content"]


# Repeating


async def test_a_repeated_request_gets_the_first_result(world: World) -> None:
    first = await world.ask(SendMessage(AGENT, "hello", "c"))
    heard = world.listen()
    second = await world.ask(SendMessage(AGENT, "hello", "c"))
    assert (second.message, second.repeated) == (first.message, True)
    assert heard == []


async def test_so_does_one_that_is_repeated_after_a_restart(world: World, autojump_clock: MockClock) -> None:
    first = await world.ask(SendMessage(AGENT, "hello", "c"))
    await world.forget_actors(autojump_clock)
    second = await world.ask(SendMessage(AGENT, "hello", "c"))
    assert (second.message, second.repeated) == (first.message, True)


async def test_so_does_one_that_memory_has_forgotten(autojump_clock: MockClock) -> None:
    async with open_world(limits=ChatLimits(remembered_client_ids=1)) as world:
        first = await world.ask(SendMessage(AGENT, "hello", "a"))
        await world.ask(SendMessage(AGENT, "hello", "b"))
        # Others are in the same turn: they are not repeated, and happen once.
        answers = [world.post(SendMessage(AGENT, "hello", id)) for id in ("c", "a", "d")]
        results = [await answer.get() for answer in answers]
        assert [result.repeated for result in results] == [False, True, False]
        assert results[1].message == first.message
        assert [row.client_id for row in await world.reads.messages(1, 1)] == ["a", "b", "c", "d"]


async def test_a_repeated_request_is_not_answered_before_the_first_one_is_stored(world: World) -> None:
    world.committer.gate = trio.Event()
    answers = [world.post(SendMessage(AGENT, "hello", "c"))]
    await wait_all_tasks_blocked()
    answers.append(world.post(SendMessage(AGENT, "hello", "c")))
    await wait_all_tasks_blocked()
    assert [answer.done.is_set() for answer in answers] == [False, False]
    world.committer.gate.set()
    assert [(await answer.get()).repeated for answer in answers] == [False, True]


async def test_a_client_id_belongs_to_its_sender(world: World) -> None:
    await world.ask(SendMessage(AGENT, "hello", "c"))
    with pytest.raises(Conflict):
        await world.ask(SendMessage(VISITOR, "hello", "c"))


# Flood


async def test_a_visitor_writes_twenty_at_once_and_two_a_second_from_then_on(
    world: World, autojump_clock: MockClock
) -> None:
    for _ in range(20):
        await world.ask(SendMessage(VISITOR, "hello"))
    with pytest.raises(RateLimited) as refusal:
        await world.ask(SendMessage(VISITOR, "hello"))
    assert 0 < refusal.value.retry_after <= 0.5
    await trio.sleep(refusal.value.retry_after)
    await world.ask(SendMessage(VISITOR, "hello"))
    with pytest.raises(RateLimited):
        await world.ask(SendMessage(VISITOR, "hello"))


async def test_edits_and_deletions_count_a_repeated_request_and_members_do_not(
    world: World, autojump_clock: MockClock
) -> None:
    for number in range(18):
        await world.ask(SendMessage(VISITOR, "hello", str(number)))
    await world.ask(EditMessage(VISITOR, 1, "changed"))
    await world.ask(DeleteMessage(VISITOR, 2))
    for command in (SendMessage(VISITOR, "hello"), EditMessage(VISITOR, 3, "changed"), DeleteMessage(VISITOR, 3)):
        with pytest.raises(RateLimited):
            await world.ask(command)
    assert (await world.ask(SendMessage(VISITOR, "hello", "1"))).repeated
    for _ in range(200):
        await world.ask(SendMessage(AGENT, "hello"))


async def test_members_are_limited_where_the_account_wants_it(autojump_clock: MockClock) -> None:
    async with open_world(limits=ChatLimits(member_rate=1, member_burst=2)) as world:
        senders: list[Principal] = [AGENT, ADMINISTRATOR]
        for by in senders:
            await world.ask(SendMessage(by, "hello"))
        with pytest.raises(RateLimited):
            await world.ask(SendMessage(AGENT, "hello"))
        await world.ask(SendMessage(SYSTEM, "the engine itself is never too fast"))


# What fails


async def test_a_poisonous_command_takes_nobody_with_it(world: World, autojump_clock: MockClock) -> None:
    heard = world.listen()
    before, poison, after = (
        world.post(command) for command in (SendMessage(AGENT, "one", "1"), Crash(), SendMessage(AGENT, "two", "2"))
    )
    with pytest.raises(ZeroDivisionError):
        await poison.get()
    assert [(await answer.get()).message.seq for answer in (before, after)] == [1, 2]
    assert [event.seq for event in heard] == [1, 2]
    assert (await world.ask(SendMessage(AGENT, "one", "1"))).repeated


async def test_a_store_that_is_away_for_a_moment_delays_and_loses_nothing(
    world: World, autojump_clock: MockClock
) -> None:
    heard = world.listen()
    world.committer.faults.extend(["fail", "lose", "fail"])
    answers = [world.post(SendMessage(AGENT, "hello", str(number))) for number in range(3)]
    assert [(await answer.get()).message.seq for answer in answers] == [1, 2, 3]
    assert [event.seq for event in heard] == [1, 2, 3]


async def test_what_could_not_be_stored_is_not_told_and_its_number_is_given_again(
    world: World, autojump_clock: MockClock
) -> None:
    heard = world.listen()
    world.committer.faults.extend(["fail"] * 1000)
    lost = world.post(SendMessage(AGENT, "lost"))
    with pytest.raises(Unavailable):
        await lost.get()
    world.committer.faults.clear()
    assert (await world.ask(SendMessage(AGENT, "kept"))).message.seq == 1
    assert [payload(event)["content"] for event in heard] == ["kept"]


async def test_what_was_stored_although_the_answer_was_lost_is_told_before_anything_else(
    world: World, autojump_clock: MockClock
) -> None:
    heard = world.listen()
    world.committer.faults.extend(["lose"] * 1000)
    lost = world.post(SendMessage(AGENT, "stored", "c"))
    with pytest.raises(Unavailable):
        await lost.get()
    world.committer.faults.clear()
    assert (await world.ask(SendMessage(AGENT, "stored", "c"))).repeated
    await world.ask(SendMessage(AGENT, "next"))
    assert [(event.seq, payload(event)["content"]) for event in heard] == [(1, "stored"), (2, "next")]
    assert kinds(heard) == kinds(await world.log())
