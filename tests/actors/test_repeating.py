"""A command whose answer was lost may be sent again where the second time changes nothing; and it is known where."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tertulia.actors.commands.account import (
    AddAccountUser,
    CreateContact,
    CreateConversation,
    CreateInbox,
    RemoveAccountUser,
    SetInboxMembers,
    UpdateAccount,
    UpdateAccountUser,
    UpdateContact,
    UpdateInbox,
)
from tertulia.actors.commands.edit_message import DeleteMessage, EditMessage
from tertulia.actors.commands.mark_read import MarkRead, SetTyping
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import DeleteConversation, UpdateConversation
from tertulia.actors.entities import Priority, Role, Status
from tertulia.actors.jobs.lane import RunJob
from tertulia.actors.typists import TypingExpired
from tertulia.actors.webhooks.commands import (
    CreateWebhook,
    DeleteWebhook,
    PauseWebhook,
    RedeliverWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
)
from tertulia.actors.wire import COMMANDS, is_repeatable
from tertulia.engine.errors import NotFound
from tertulia.storage.records import Job, Webhook

from .kit import ADMINISTRATOR, AGENT, SYSTEM, VISITOR, World

#: One of every command; those of a conversation go to the conversation 1, whose first message the visitor has sent.
OF_A_CONVERSATION: list[Any] = [
    SendMessage(VISITOR, "hello again", client_id="c2"),
    EditMessage(VISITOR, 1, "edited"),
    DeleteMessage(VISITOR, 1),
    MarkRead(AGENT, 1),
    SetTyping(AGENT, on=True),
    UpdateConversation(
        ADMINISTRATOR,
        status=Status.PENDING,
        assignee_id=2,
        priority=Priority.HIGH,
        labels=("a", "b"),
        custom_attributes={"a": 1},
    ),
    DeleteConversation(ADMINISTRATOR),
]
OF_AN_ACCOUNT: list[Any] = [
    UpdateAccount(ADMINISTRATOR, name="New", settings={"a": 1}),
    UpdateAccountUser(ADMINISTRATOR, 3, Role.VIEWER),
    RemoveAccountUser(ADMINISTRATOR, 3),
    UpdateInbox(ADMINISTRATOR, 1, "New"),
    SetInboxMembers(ADMINISTRATOR, 1, (3,)),
    UpdateContact(ADMINISTRATOR, 1, name="New", blocked=True),
    UpdateWebhook(ADMINISTRATOR, 1, include_private=True),
    DeleteWebhook(ADMINISTRATOR, 1),
    PauseWebhook(ADMINISTRATOR, 1),
    ResumeWebhook(ADMINISTRATOR, 2),
]
#: The second is paused.
WEBHOOKS = [
    Webhook(id=id, account_id=1, url="https://example.org", secret="", created_at=1, updated_at=1, paused_at=paused)
    for id, paused in ((1, None), (2, 1))
]
CREATING: list[Any] = [
    SendMessage(VISITOR, "without an id"),
    AddAccountUser(SYSTEM, "f@example.org", "Fay", Role.AGENT),
    CreateInbox(ADMINISTRATOR, "New"),
    CreateContact(ADMINISTRATOR, "New"),
    CreateConversation(ADMINISTRATOR, 1, 1),
    CreateWebhook(ADMINISTRATOR, "https://example.org"),
    RotateWebhookSecret(ADMINISTRATOR, 1),
    RedeliverWebhook(ADMINISTRATOR, "msg_1"),
    RunJob(Job(id="1", account_id=1, queue="default", kind="none", args="{}", run_at=1, created_at=1)),
]


def test_it_is_known_of_every_command_whether_it_may_be_repeated() -> None:
    repeatable: set[type] = {type(command) for command in (*OF_A_CONVERSATION, *OF_AN_ACCOUNT)}
    assert {kind for kind, twice in COMMANDS.items() if twice} | {SendMessage} == repeatable
    assert all(is_repeatable(command) for command in (*OF_A_CONVERSATION, *OF_AN_ACCOUNT))
    assert {kind for kind, twice in COMMANDS.items() if not twice} == {type(command) for command in CREATING}
    assert not any(is_repeatable(command) for command in (*CREATING, TypingExpired(("user", 1)), "no command"))


async def everything(world: World) -> Any:
    """All that is durable, and all that was told."""
    reads = world.reads
    return (
        await reads.conversation(1, 1),
        await reads.log(1, 1, after=0, limit=100),
        await reads.account(1),
        await reads.account_log(1, after=0),
        await reads.contact(1, 1),
    )


@pytest.mark.parametrize("command", [*OF_A_CONVERSATION, *OF_AN_ACCOUNT], ids=lambda command: type(command).__name__)
async def test_repeating_a_repeatable_command_changes_and_tells_nothing(
    command: Any, world: World, autojump_clock: MockClock
) -> None:
    await world.write(*WEBHOOKS)
    await world.ask(SendMessage(VISITOR, "hello", client_id="c1"))
    ask = world.ask if command in OF_A_CONVERSATION else world.ask_account
    told = [world.listen(topic) for topic in ("conversation:1", "account:1", "inbox:1")]
    before = await everything(world)
    await ask(command)
    once, told_once = await everything(world), [list(events) for events in told]
    assert (once, told_once) != (before, [[], [], []])  # it does something, the first time
    await trio.sleep(1)
    gone = isinstance(command, (DeleteConversation, RemoveAccountUser, DeleteWebhook))
    with pytest.raises(NotFound) if gone else nullcontext():
        await ask(command)
    assert await everything(world) == once
    assert [list(events) for events in told] == told_once
