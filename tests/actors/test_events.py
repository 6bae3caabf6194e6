"""What each audience sees of what happens: the visitor never more than it may."""

from __future__ import annotations

import msgspec
import pytest
from trio.testing import wait_all_tasks_blocked

from tertulia.actors import events
from tertulia.actors.commands.account import CreateContact, CreateConversation, UpdateContact
from tertulia.actors.commands.edit_message import DeleteMessage, EditMessage
from tertulia.actors.commands.mark_read import MarkRead, SetTyping
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import DeleteConversation, UpdateConversation
from tertulia.actors.entities import Priority, Status
from tertulia.actors.events import Event

from .kit import ADMINISTRATOR, AGENT, VISITOR, World, payload, visible_to_visitors

ALL_TYPES = {
    value
    for name, value in vars(events).items()
    if name.isupper() and isinstance(value, str) and not name.startswith("_")
}
SECRET = "members-only"
AUDIENCES: tuple[events.Audience, ...] = ("member", "visitor")
#: What a visitor's client gets of each type; the others never reach it.
FOR_VISITORS = {
    "message.created", "message.updated", "message.deleted", "conversation.created", "conversation.status_changed",
    "conversation.assigned", "conversation.read", "conversation.deleted", "conversation.typing_on",
    "conversation.typing_off",
}  # fmt: skip


async def everything(world: World) -> list[Event]:
    """One conversation in which everything happens that can happen, the secret ones with a secret in them."""
    account = world.listen("account:1")
    conversation = world.listen("conversation:4")
    await world.ask_account(CreateContact(AGENT, SECRET))
    await world.ask_account(UpdateContact(AGENT, 4, identifier=SECRET))
    await world.ask_account(
        CreateConversation(AGENT, 1, 1, labels=(SECRET,), custom_attributes={SECRET: SECRET}, assignee_id=2)
    )
    for command in (
        SendMessage(VISITOR, "hello"),
        SendMessage(AGENT, SECRET, private=True, content_attributes=f'{{"{SECRET}":1}}'),
        EditMessage(VISITOR, 2, "hello again"),
        EditMessage(AGENT, 3, f"{SECRET} again"),
        DeleteMessage(VISITOR, 2),
        SetTyping(AGENT, on=True, private=True),
        SetTyping(AGENT, on=False, private=True),
        SetTyping(AGENT, on=True),
        SetTyping(AGENT, on=False),
        DeleteMessage(AGENT, 3),
        MarkRead(AGENT, 3),
        UpdateConversation(AGENT, labels=(SECRET, "other")),
        UpdateConversation(AGENT, priority=Priority.URGENT),
        UpdateConversation(AGENT, custom_attributes={SECRET: 2}),
        UpdateConversation(AGENT, status=Status.RESOLVED),
        UpdateConversation(AGENT, assignee_id=None),
        DeleteConversation(ADMINISTRATOR),
    ):
        await world.ask(command, conversation=4)
    await wait_all_tasks_blocked()
    return [*account, *conversation]


async def test_what_happens_here_is_all_that_can_happen(world: World) -> None:
    assert {event.type for event in await everything(world)} == ALL_TYPES - {"presence.changed"}


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_no_secret_of_the_members_reaches_a_visitor_in_any_event(world: World, encoding: events.Encoding) -> None:
    happened = await everything(world)
    assert any(SECRET.encode() in event.encoded(encoding, "member") for event in happened)
    for event in visible_to_visitors(happened):
        assert SECRET.encode() not in event.encoded(encoding, "visitor"), event


async def test_only_these_types_reach_a_visitor(world: World) -> None:
    assert {event.type for event in visible_to_visitors(await everything(world))} == FOR_VISITORS


async def test_activity_messages_and_everything_about_private_notes_stay_with_members(world: World) -> None:
    shown = [payload(event, "visitor") for event in visible_to_visitors(await everything(world))]
    assert not [data for data in shown if data.get("message_type") == "activity" or data.get("private")]
    assert not [data for data in shown if data.get("message_seq") == 3]


async def test_every_numbered_event_says_where_and_when_in_the_order_it_belongs(world: World) -> None:
    for event in await everything(world):
        data = payload(event)
        assert data.get("seq") == event.seq
        if event.stream.startswith("conversation:"):
            assert (data["conversation_id"], data["inbox_id"]) == (4, 1)
        else:
            assert data["account_id"] == 1


async def test_both_encodings_say_the_same(world: World) -> None:
    for event in await everything(world):
        for audience in AUDIENCES:
            text = msgspec.json.decode(event.encoded("json", audience))
            assert msgspec.msgpack.decode(event.encoded("msgpack", audience)) == text


async def test_history_shows_what_was_told_live(world: World) -> None:
    heard = world.listen()
    for command in (
        SendMessage(AGENT, "hello"),
        UpdateConversation(ADMINISTRATOR, status=Status.RESOLVED, assignee_id=2, labels=("a",)),
        SendMessage(VISITOR, "again"),
        MarkRead(VISITOR, 1),
    ):
        await world.ask(command)
    log = await world.log()
    assert [event.encoded("json", "member") for event in log] == [event.encoded("json", "member") for event in heard]
    assert [event.private for event in log] == [event.private for event in heard]
