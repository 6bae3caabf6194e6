"""A conversation over cable: everything that a participant can do, and who hears of it."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.limits import ChatLimits
from tertulia.api.settings import Settings
from tertulia.api.testing import ANYCABLE, ANYCABLE_MSGPACK, RAILS, Cable, Subscription
from tertulia.engine.config import Lifecycle, MailboxLimits

from .stage import open_stage


async def follow(cable: Cable, token: str, offers: tuple[str, ...] = RAILS, id: int = 1) -> Subscription:
    client = await cable.connect(token, offers)
    return await client.subscribe("ConversationChannel", id=id)


def failures(subscription: Subscription) -> list[dict[str, Any]]:
    found = [push.data for push in subscription.pushes() if push.type == "command.failed"]
    return [dict(data) for data in found]


@pytest.mark.parametrize("offers", [RAILS, ANYCABLE, ("actioncable-v1-msgpack",), ANYCABLE_MSGPACK])
async def test_a_message_reaches_everybody_in_the_conversation_its_sender_included(
    offers: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with open_stage() as (_, cable):
        visitor, agent = await follow(cable, "visitor 1", offers), await follow(cable, "bo", offers)
        agent.perform("send_message", content="Hello ☕", client_id="a", content_attributes={"deep": [{"x": None}]})
        for subscription in (visitor, agent):
            push = await subscription.assert_push("message.created", content="Hello ☕", seq=1, client_id="a")
            assert push.data["sender"] == {"type": "user", "id": 2, "name": "Bo"}
            assert push.data["content_attributes"] == {"deep": [{"x": None}]}


@pytest.mark.parametrize("offers", [ANYCABLE, ANYCABLE_MSGPACK])
async def test_on_extended_protocols_an_event_carries_its_position(
    offers: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with open_stage() as (engine, cable):
        agent = await follow(cable, "bo", offers)
        agent.perform("send_message", content="Hello")
        push = await agent.assert_push("message.created")
        assert (push.stream_id, push.epoch, push.offset) == ("conversation:1", engine.epoch, 1)


async def test_subscribers_with_the_same_identifier_share_the_bytes(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        first, second = await follow(cable, "bo"), await follow(cable, "ana")
        frames: list[bytes] = []
        for subscription in (first, second):
            subscription.client.transport.send = frames.append  # type: ignore[method-assign,assignment]
        first.perform("send_message", content="Hello")
        await wait_all_tasks_blocked()
        assert len(frames) == 2
        assert frames[0] is frames[1]


async def test_every_action_is_told_by_its_event(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        ana = await follow(cable, "ana")
        ana.perform("send_message", content="Helo")
        ana.perform("edit_message", seq=1, content="Hello")
        ana.perform("read", seq=1)
        ana.perform("update", priority="urgent", labels=["vip"], assignee_id=2)
        ana.perform("update", status="snoozed", snoozed_until="2030-01-02T03:04:05Z")
        ana.perform("delete_message", seq=1)
        ana.perform("typing", on=True)
        await ana.assert_push("message.updated", content=None, message_seq=1)  # its text has gone with the message
        await ana.assert_push("conversation.read", read_seq=1)
        await ana.assert_push("conversation.updated", priority="urgent")
        await ana.assert_push("conversation.labels_changed", labels=["vip"])
        await ana.assert_push("conversation.assigned")
        await ana.assert_push("conversation.status_changed", snoozed_until="2030-01-02T03:04:05.000Z")
        await ana.assert_push("message.deleted", message_seq=1)
        await ana.assert_push("conversation.typing_on")
        assert failures(ana) == []


async def test_a_visitor_hears_neither_private_notes_nor_of_agents_who_type_them(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        visitor, agent = await follow(cable, "visitor 1", ANYCABLE), await follow(cable, "bo", ANYCABLE)
        agent.perform("typing", on=True, private=True)
        agent.perform("send_message", content="A lie", private=True)
        agent.perform("send_message", content="The truth")
        assert (await agent.assert_push("message.created", content="A lie")).offset == 1
        assert (await visitor.assert_push("message.created", content="The truth")).offset == 2
        await visitor.refute_push()
        assert len(visitor.pushes()) == 1


@pytest.mark.parametrize("offers", [RAILS, ANYCABLE])
async def test_a_repeated_client_id_gives_its_sender_alone_the_first_result(
    offers: tuple[str, ...], autojump_clock: MockClock
) -> None:
    """Without a position: a client that took it for its newest event would ask for all later ones again."""
    async with open_stage() as (_, cable):
        visitor, agent = await follow(cable, "visitor 1", offers), await follow(cable, "bo", offers)
        for content in ("first", "second", "repeated"):
            agent.perform("send_message", content=content, client_id="2" if content == "second" else "1")
        await visitor.assert_push("message.created", content="first")
        await visitor.assert_push("message.created", content="second")
        await visitor.refute_push()
        first, _, repeated = [push for push in agent.pushes() if push.type == "message.created"]
        assert repeated.data == first.data
        assert (repeated.stream_id, repeated.epoch, repeated.offset) == (None, None, None)


async def test_a_refused_command_answers_its_sender_and_nobody_else(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        visitor, agent = await follow(cable, "visitor 1"), await follow(cable, "bo")
        visitor.perform("send_message", content="psst", private=True, client_id="7")
        failure = await visitor.assert_push("command.failed")
        assert failure.data == {
            "client_id": "7",
            "code": "forbidden",
            "detail": "You may not do this.",
            "retryable": False,
        }
        await agent.refute_push()


async def test_a_viewer_reads_and_does_not_write(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        viewer, agent = await follow(cable, "vi"), await follow(cable, "bo")
        agent.perform("send_message", content="Hello")
        await viewer.assert_push("message.created")
        viewer.perform("send_message", content="Hello too", client_id="7")
        assert (await viewer.assert_push("command.failed")).data["code"] == "forbidden"


@pytest.mark.parametrize(
    ("data", "client_id", "code"),
    [
        ('{"action":"send_message","content":"","client_id":"7"}', "7", "invalid"),
        ('{"action":"send_message","client_id":"7"}', "7", "invalid"),
        ('{"action":"fly","client_id":"7"}', "7", "invalid"),
        ('{"action":"edit_message","seq":5,"content":"x","client_id":"7"}', "7", "not_found"),
        ("Hello", None, "malformed"),
        (7, None, "malformed"),
        (None, None, "malformed"),
    ],
)
async def test_a_command_that_is_wrong_fails_with_its_client_id_and_a_code(
    data: object, client_id: str | None, code: str, autojump_clock: MockClock
) -> None:
    async with open_stage() as (_, cable):
        agent = await follow(cable, "bo")
        agent.client.send("message", agent.identifier, data=data)
        failure = await agent.assert_push("command.failed")
        assert (failure.data["client_id"], failure.data["code"]) == (client_id, code)
        agent.perform("send_message", content="still here")
        await agent.assert_push("message.created")


async def test_a_value_over_its_limit_is_named(autojump_clock: MockClock) -> None:
    async with open_stage(settings=Settings(chat=ChatLimits(content=5))) as (_, cable):
        agent = await follow(cable, "bo")
        agent.perform("send_message", content="x" * 6, client_id="7")
        failure = await agent.assert_push("command.failed", client_id="7")
        assert failure.data["fields"] == {"content": "Must be at most 5 characters long."}


async def test_a_message_to_a_channel_that_is_not_subscribed_fails(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("bo")
        nowhere = Subscription(client, '{"channel":"ConversationChannel","id":1}')
        nowhere.perform("send_message", content="Hello?")
        assert (await nowhere.assert_push("command.failed")).data["code"] == "malformed"


async def test_a_full_mailbox_is_a_failure_that_can_be_tried_again(autojump_clock: MockClock) -> None:
    async with open_stage(settings=Settings(mailbox=MailboxLimits(commands=2))) as (_, cable):
        agent = await follow(cable, "bo")
        for number in range(4):
            agent.perform("send_message", content="Hello", client_id=str(number))
        await wait_all_tasks_blocked()
        refused = failures(agent)
        assert [failure["client_id"] for failure in refused] == ["2", "3"]
        assert all(failure["code"] == "overloaded" and failure["retryable"] is True for failure in refused)
        assert all(failure["retry_after"] > 0 for failure in refused)
        agent.perform("send_message", content="Hello", client_id="2")
        await agent.assert_push("message.created", client_id="2")


async def test_a_conversation_that_rests_after_crashes_is_a_failure_that_can_be_tried_again(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        agent = await follow(cable, "bo")
        address = engine.conversation(1, 1).address
        engine.directory.quarantined[address] = float("inf")
        agent.perform("send_message", content="Hello", client_id="7")
        failure = await agent.assert_push("command.failed")
        assert {**failure.data, "detail": ""} == {
            "client_id": "7",
            "code": "unavailable",
            "detail": "",
            "retryable": True,
            "retry_after": 1.0,
        }


async def test_a_command_that_gets_no_answer_in_time_fails_and_may_be_repeated(autojump_clock: MockClock) -> None:
    settings = Settings(lifecycle=Lifecycle(sweep_interval=0.1))
    async with open_stage(settings=settings) as (engine, cable):
        agent = await follow(cable, "bo")
        with Frozen(engine.world.journal):
            agent.perform("send_message", content="Hello", client_id="7")
            failure = await agent.assert_push("command.failed", within=6)
        assert (failure.data["code"], failure.data["retryable"]) == ("unavailable", True)
        agent.perform("send_message", content="Hello", client_id="7")
        await wait_all_tasks_blocked()
        # The event, and the first result once more for who asked again: one message all the same.
        assert {push.data["seq"] for push in agent.pushes() if push.type == "message.created"} == {1}


class Frozen:
    """A writer that takes units and writes them when it thaws."""

    def __init__(self, journal: Any) -> None:
        self.journal = journal
        self.units: list[Any] = []

    def __enter__(self) -> None:
        self.submit = self.journal.submit
        self.journal.submit = self.units.append

    def __exit__(self, *_: object) -> None:
        self.journal.submit = self.submit
        for unit in self.units:
            self.submit(unit)
