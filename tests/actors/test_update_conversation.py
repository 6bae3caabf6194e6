"""Status, assignee, priority, labels, attributes; and the end of a conversation."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.edit_message import DeleteMessage, EditMessage
from tertulia.actors.commands.mark_read import MarkRead, SetTyping
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import DeleteConversation, UpdateConversation
from tertulia.actors.entities import Priority, Status
from tertulia.actors.times import rfc3339
from tertulia.engine.errors import Denied, Invalid, NotFound
from tertulia.storage.records import EventRow, MessageRow

from .kit import ADMINISTRATOR, AGENT, BASE, OUTSIDER, SYSTEM, VISITOR, World, kinds, payload

LATER = BASE + 10**12


async def texts(world: World) -> list[str | None]:
    rows = await world.reads.messages(1, 1)
    return [row.content for row in rows if row.message_type == "activity"]


# Status


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (Status.RESOLVED, "Conversation was marked resolved by Ada"),
        (Status.PENDING, "Conversation was marked as pending by Ada"),
        (Status.SNOOZED, "Conversation was snoozed by Ada"),
    ],
)
async def test_a_status_change_is_an_event_and_an_activity_message_in_one_unit(
    world: World, status: Status, text: str
) -> None:
    heard = world.listen()
    record = await world.ask(UpdateConversation(ADMINISTRATOR, status=status))
    assert kinds(heard) == ["conversation.status_changed", "message.created"]
    assert payload(heard[0])["previous_status"] == "open"
    assert payload(heard[1])["content"] == text
    assert (record.status, record.last_seq) == (status, 2)
    assert record == await world.record()


async def test_reopening_says_so(world: World) -> None:
    await world.ask(UpdateConversation(ADMINISTRATOR, status=Status.RESOLVED))
    await world.ask(UpdateConversation(SYSTEM, status=Status.OPEN))
    assert await texts(world) == ["Conversation was marked resolved by Ada", "Conversation was reopened by system"]


async def test_a_snooze_has_an_end_which_goes_with_the_status(world: World) -> None:
    heard = world.listen()
    record = await world.ask(UpdateConversation(ADMINISTRATOR, status=Status.SNOOZED, snoozed_until=LATER))
    assert record.snoozed_until == LATER
    assert payload(heard[0])["snoozed_until"] == rfc3339(LATER)
    record = await world.ask(UpdateConversation(ADMINISTRATOR, status=Status.OPEN))
    assert record.snoozed_until is None


async def test_another_end_of_a_snooze_is_an_event_without_an_activity_message(world: World) -> None:
    await world.ask(UpdateConversation(ADMINISTRATOR, status=Status.SNOOZED, snoozed_until=LATER))
    heard = world.listen()
    await world.ask(UpdateConversation(ADMINISTRATOR, snoozed_until=LATER + 1000))
    assert kinds(heard) == ["conversation.status_changed"]


@pytest.mark.parametrize(
    "change", [{"snoozed_until": LATER}, {"status": Status.OPEN, "snoozed_until": LATER},
               {"status": Status.SNOOZED, "snoozed_until": 1}],
)  # fmt: skip
async def test_an_end_without_a_snooze_or_in_the_past_is_invalid(world: World, change: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refusal:
        await world.ask(UpdateConversation(ADMINISTRATOR, **change))
    assert list(refusal.value.fields) == ["snoozed_until"]


@pytest.mark.parametrize("status", [Status.RESOLVED, Status.SNOOZED])
async def test_a_visitor_s_message_reopens_after_it_in_order(world: World, status: Status) -> None:
    await world.ask(UpdateConversation(ADMINISTRATOR, status=status))
    heard = world.listen()
    await world.ask(SendMessage(VISITOR, "one more thing"))
    assert kinds(heard) == ["message.created", "conversation.status_changed", "message.created"]
    assert payload(heard[0])["content"] == "one more thing"
    assert payload(heard[1])["status"] == "open"
    assert (await world.record()).status == "open"


async def test_a_member_s_message_reopens_nothing_and_pending_stays_pending(world: World) -> None:
    await world.ask(UpdateConversation(ADMINISTRATOR, status=Status.RESOLVED))
    await world.ask(SendMessage(AGENT, "by the way"))
    assert (await world.record()).status == "resolved"
    await world.ask(UpdateConversation(ADMINISTRATOR, status=Status.PENDING))
    await world.ask(SendMessage(VISITOR, "hello?"))
    assert (await world.record()).status == "pending"


async def test_a_visitor_ends_its_own_conversation_and_changes_nothing_else(world: World) -> None:
    record = await world.ask(UpdateConversation(VISITOR, status=Status.RESOLVED))
    assert record.status == "resolved"
    changes: list[dict[str, Any]] = [
        {"status": Status.OPEN}, {"priority": Priority.HIGH}, {"labels": ("a",)}, {"assignee_id": 2},
        {"custom_attributes": {}}, {"status": Status.RESOLVED, "labels": ("a",)}, {"status": Status.SNOOZED},
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(Denied):
            await world.ask(UpdateConversation(VISITOR, **change))


# Assignment


async def test_an_agent_claims_a_conversation_that_nobody_has(world: World) -> None:
    heard = world.listen()
    record = await world.ask(UpdateConversation(AGENT, assignee_id=2))
    assert record.assignee_id == 2
    assert kinds(heard) == ["conversation.assigned", "message.created"]
    assert payload(heard[0])["assignee"] == {"id": 2, "name": "Ben"}
    assert await texts(world) == ["Ben self-assigned this conversation"]


async def test_whoever_claims_may_change_it_in_the_same_breath(world: World) -> None:
    record = await world.ask(UpdateConversation(AGENT, assignee_id=2, status=Status.RESOLVED, labels=("done",)))
    assert (record.assignee_id, record.status, record.labels) == (2, "resolved", ["done"])


async def test_of_two_agents_that_claim_at_once_one_gets_it(world: World) -> None:
    first = world.post(UpdateConversation(AGENT, assignee_id=2), conversation=2)
    second = world.post(UpdateConversation(OUTSIDER, assignee_id=3), conversation=2)
    assert (await first.get()).assignee_id == 2
    with pytest.raises(Denied):
        await second.get()
    assert (await world.record(2)).assignee_id == 2


async def test_only_who_may_answer_is_assigned(world: World) -> None:
    for user_id in (3, 4, 9, 77):  # not in the inbox, viewer, another account's, nobody
        with pytest.raises(Invalid) as refusal:
            await world.ask(UpdateConversation(ADMINISTRATOR, assignee_id=user_id))
        assert list(refusal.value.fields) == ["assignee_id"]


async def test_assigning_and_unassigning_say_who_did_it(world: World) -> None:
    await world.ask(UpdateConversation(ADMINISTRATOR, assignee_id=2))
    await world.ask(UpdateConversation(AGENT, assignee_id=None))
    assert await texts(world) == ["Assigned to Ben by Ada", "Conversation unassigned by Ben"]


# Priority, labels, attributes


async def test_labels_are_an_event_that_tells_the_difference(world: World) -> None:
    await world.ask(UpdateConversation(ADMINISTRATOR, labels=("a", "b")))
    heard = world.listen()
    record = await world.ask(UpdateConversation(ADMINISTRATOR, labels=("b", "c", "c")))
    assert record.labels == ["b", "c"]
    data = payload(heard[0])
    assert (heard[0].type, data["labels"], data["added"], data["removed"]) == (
        "conversation.labels_changed", ["b", "c"], ["c"], ["a"],
    )  # fmt: skip


async def test_priority_and_attributes_are_updates(world: World) -> None:
    heard = world.listen()
    record = await world.ask(
        UpdateConversation(ADMINISTRATOR, priority=Priority.HIGH, custom_attributes={"plan": "gold"})
    )
    assert (record.priority, record.custom_attributes) == ("high", {"plan": "gold"})
    assert kinds(heard) == ["conversation.updated", "conversation.updated"]
    record = await world.ask(UpdateConversation(ADMINISTRATOR, priority=None))
    assert record.priority is None


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ("x" * 65,)},
        {"labels": (" ",)},
        {"labels": tuple(map(str, range(51)))},
        {"custom_attributes": {"a": "x" * 40_000}},
    ],
)
async def test_values_out_of_bounds_are_invalid(world: World, change: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refusal:
        await world.ask(UpdateConversation(ADMINISTRATOR, **change))
    assert list(refusal.value.fields) == list(change)


async def test_a_refused_command_leaves_no_trace(world: World) -> None:
    before = await world.record()
    with pytest.raises(Invalid):
        await world.ask(UpdateConversation(ADMINISTRATOR, status=Status.RESOLVED, assignee_id=77))
    assert (await world.ask(UpdateConversation(ADMINISTRATOR))) == before


async def test_everything_at_once_is_one_unit(world: World) -> None:
    world.committer.faults.append("fail")
    heard = world.listen()
    record = await world.ask(
        UpdateConversation(
            ADMINISTRATOR, status=Status.RESOLVED, assignee_id=2, priority=Priority.LOW, labels=("a",),
            custom_attributes={"a": 1},
        )
    )  # fmt: skip
    assert kinds(heard) == [
        "conversation.assigned", "message.created", "conversation.updated", "conversation.labels_changed",
        "conversation.updated", "conversation.status_changed", "message.created",
    ]  # fmt: skip
    assert [payload(event) for event in await world.log()] == [payload(event) for event in heard]
    assert record == await world.record()


async def test_what_is_so_already_writes_nothing(world: World) -> None:
    change: dict[str, Any] = {
        "status": Status.SNOOZED, "assignee_id": 2, "priority": Priority.LOW, "labels": ("a", "b"),
        "custom_attributes": {"a": 1}, "snoozed_until": LATER,
    }  # fmt: skip
    before = await world.ask(UpdateConversation(ADMINISTRATOR, **change))
    heard = world.listen()
    change["labels"] = ("b", "a")
    assert await world.ask(UpdateConversation(ADMINISTRATOR, **change)) == before
    assert heard == []
    assert await world.record() == before


# Deletion


async def test_a_deleted_conversation_leaves_a_tombstone_and_one_event(world: World) -> None:
    await world.ask(SendMessage(AGENT, "the secret", "a"))
    await world.ask(EditMessage(AGENT, 1, "the other secret"))
    await world.ask(MarkRead(VISITOR, 1))
    heard = world.listen()
    await world.ask(DeleteConversation(ADMINISTRATOR))
    assert kinds(heard) == ["conversation.deleted"]
    assert [payload(event) for event in await world.log()] == [payload(heard[0])]
    records = await world.reads.conversation(1, 1)
    assert records is not None
    assert (records.conversation.deleted_at is not None, records.cursors) == (True, [])


async def test_a_conversation_that_is_deleted_in_the_turn_that_wrote_it_leaves_no_text(world: World) -> None:
    world.post(SendMessage(AGENT, "the secret", "a"))
    world.post(EditMessage(AGENT, 1, "the other secret"))
    await world.post(DeleteConversation(ADMINISTRATOR)).get()
    rows = await world.reads.log(1, 1, after=0, limit=10)
    assert [(type(row), row.seq) for row in rows] == [(EventRow, 3)]


async def test_text_on_its_way_to_the_disk_is_erased_as_well(world: World) -> None:
    world.post(SendMessage(AGENT, "the secret", "a"))
    await wait_all_tasks_blocked()
    world.post(SendMessage(AGENT, "the other secret", "b"))
    await world.post(DeleteConversation(ADMINISTRATOR)).get()
    rows = await world.reads.log(1, 1, after=0, limit=10)
    assert not any(isinstance(row, MessageRow) for row in rows)


async def test_after_its_deletion_there_is_nothing_here_before_and_after_a_restart(
    world: World, autojump_clock: MockClock
) -> None:
    await world.ask(SendMessage(AGENT, "hello"))
    await world.ask(DeleteConversation(ADMINISTRATOR))
    for _ in range(2):
        for command in (
            SendMessage(VISITOR, "hello?"),
            EditMessage(AGENT, 1, "?"),
            DeleteMessage(AGENT, 1),
            MarkRead(AGENT, 1),
            SetTyping(AGENT, on=True),
            UpdateConversation(ADMINISTRATOR, status=Status.OPEN),
            DeleteConversation(ADMINISTRATOR),
        ):
            with pytest.raises(NotFound):
                await world.ask(command)
        await world.forget_actors(autojump_clock)
