"""Editing and deleting messages."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.edit_message import DeleteMessage, EditMessage
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.entities import Principal
from tertulia.engine.errors import Conflict, Denied, Invalid, NotFound
from tertulia.storage.records import MessageRow

from .kit import ADMINISTRATOR, AGENT, SYSTEM, VIEWER, VISITOR, World, kinds, payload


async def send(world: World, by: Principal = AGENT, content: str = "hello", **options: Any) -> int:
    sent = await world.ask(SendMessage(by, content, **options))
    seq: int = sent.message.seq
    return seq


async def stored(world: World, seq: int) -> MessageRow:
    row = await world.reads.message(1, 1, seq)
    assert row is not None
    return row


async def test_an_edit_changes_the_message_and_is_an_event_of_its_own(world: World) -> None:
    seq = await send(world)
    heard = world.listen()
    row = await world.ask(EditMessage(AGENT, seq, "hello, world"))
    assert (await stored(world, seq)) == row
    assert (row.content, row.edited_at is not None) == ("hello, world", True)
    assert kinds(heard) == ["message.updated"]


async def test_message_updated_carries_the_whole_message_and_its_own_position(world: World) -> None:
    seq = await send(world, content_attributes='{"a":1}', client_id="c")
    heard = world.listen()
    await world.ask(EditMessage(AGENT, seq, "changed"))
    data = payload(heard[0])
    assert (data["message_seq"], data["seq"], data["content"]) == (seq, seq + 1, "changed")
    assert data["content_attributes"] == {"a": 1}
    assert data["sender"] == {"type": "user", "id": 2, "name": "Ben"}
    assert data["client_id"] == "c"


async def test_an_old_message_is_found_after_a_restart(world: World, autojump_clock: MockClock) -> None:
    seq = await send(world)
    await world.forget_actors(autojump_clock)
    row = await world.ask(EditMessage(AGENT, seq, "later"))
    assert row.content == "later"


async def test_the_same_text_again_writes_nothing(world: World) -> None:
    seq = await send(world)
    before = await world.record()
    await world.ask(EditMessage(AGENT, seq, "hello"))
    assert await world.record() == before


@pytest.mark.parametrize("content", ["", "  ", "x" * 60_001])
async def test_what_could_not_be_sent_cannot_be_edited_in(world: World, content: str) -> None:
    seq = await send(world)
    with pytest.raises(Invalid) as refusal:
        await world.ask(EditMessage(AGENT, seq, content))
    assert list(refusal.value.fields) == ["content"]


async def test_only_the_sender_edits(world: World) -> None:
    seq = await send(world, AGENT)
    others: list[Principal] = [ADMINISTRATOR, VISITOR, VIEWER, SYSTEM]
    for by in others:
        with pytest.raises(Denied):
            await world.ask(EditMessage(by, seq, "mine now"))


async def test_a_message_that_is_not_there_is_not_found(world: World) -> None:
    await send(world)
    for seq in (0, 7, -1):
        with pytest.raises(NotFound):
            await world.ask(EditMessage(AGENT, seq, "ghost"))


async def test_the_number_of_an_event_is_no_message(world: World) -> None:
    seq = await send(world)
    await world.ask(EditMessage(AGENT, seq, "changed"))
    with pytest.raises(NotFound):
        await world.ask(EditMessage(AGENT, seq + 1, "changed again"))


async def test_a_private_note_does_not_exist_for_the_visitor(world: World) -> None:
    seq = await send(world, AGENT, private=True)
    with pytest.raises(NotFound):
        await world.ask(EditMessage(VISITOR, seq, "seen"))
    heard = world.listen()
    await world.ask(EditMessage(AGENT, seq, "changed"))
    await world.ask(DeleteMessage(AGENT, seq))
    assert [event.private for event in heard] == [True, True]


async def test_a_deleted_message_keeps_its_place_and_loses_its_text_everywhere(world: World) -> None:
    seq = await send(world, content="the secret", content_attributes='{"secret":true}', client_id="c")
    await world.ask(EditMessage(AGENT, seq, "the other secret"))
    row = await world.ask(DeleteMessage(AGENT, seq))
    assert (row.content, row.content_attributes) == (None, None)
    assert (await stored(world, seq)) == row
    assert "secret" not in repr(await world.reads.log(1, 1, after=0, limit=100))


async def test_message_deleted_carries_no_content(world: World) -> None:
    seq = await send(world, content="the secret")
    heard = world.listen()
    await world.ask(DeleteMessage(AGENT, seq))
    assert kinds(heard) == ["message.deleted"]
    data = payload(heard[0])
    assert data["message_seq"] == seq
    assert "content" not in data


async def test_a_second_deletion_writes_nothing_and_an_edit_is_refused(world: World) -> None:
    seq = await send(world)
    await world.ask(DeleteMessage(AGENT, seq))
    before = await world.record()
    row = await world.ask(DeleteMessage(AGENT, seq))
    assert row.deleted_at is not None
    with pytest.raises(Conflict):
        await world.ask(EditMessage(AGENT, seq, "back"))
    assert await world.record() == before


async def test_an_administrator_deletes_what_others_wrote_an_agent_does_not(world: World) -> None:
    seq = await send(world, VISITOR)
    with pytest.raises(Denied):
        await world.ask(DeleteMessage(AGENT, seq))
    await world.ask(DeleteMessage(ADMINISTRATOR, seq))
    assert (await stored(world, seq)).deleted_at is not None


async def test_a_repeated_send_gets_the_message_as_it_is_now(world: World) -> None:
    seq = await send(world, content="the secret", client_id="c")
    await world.ask(DeleteMessage(AGENT, seq))
    sent = await world.ask(SendMessage(AGENT, "the secret", "c"))
    assert (sent.repeated, sent.message.content) == (True, None)


async def test_a_whole_life_in_one_turn_leaves_what_one_step_at_a_time_leaves(world: World) -> None:
    """The store writes one unit for all of it; nothing may be amended before it is there."""
    heard = world.listen()
    answers = [
        world.post(command)
        for command in (
            SendMessage(AGENT, "the secret", "a"),
            EditMessage(AGENT, 1, "the other secret"),
            SendMessage(AGENT, "draft", "b"),
            EditMessage(AGENT, 3, "final"),
            DeleteMessage(AGENT, 1),
            EditMessage(AGENT, 3, "really final"),
        )
    ]
    for answer in answers:
        await answer.get()
    assert kinds(heard) == [
        "message.created", "message.updated", "message.created", "message.updated", "message.deleted",
        "message.updated",
    ]  # fmt: skip
    assert [event.seq for event in heard] == [1, 2, 3, 4, 5, 6]
    log = await world.log()
    assert [payload(event) for event in log] == [payload(event) for event in heard]
    assert "secret" not in repr([payload(event) for event in log])
    assert (await stored(world, 3)).content == "really final"


async def test_an_edit_waits_for_a_message_that_is_on_its_way_to_the_disk(world: World) -> None:
    await send(world)
    world.committer.gate = trio.Event()
    world.post(SendMessage(AGENT, "the secret", "a"))
    await wait_all_tasks_blocked()
    edited = world.post(EditMessage(AGENT, 2, "changed"))
    await wait_all_tasks_blocked()
    assert not edited.done.is_set()
    world.committer.gate.set()
    await edited.get()
    assert (await stored(world, 2)).content == "changed"
