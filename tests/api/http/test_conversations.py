"""Conversations over HTTP: lists, filters, pages, changes."""

from typing import Any

import pytest
from trio.testing import MockClock

from tertulia.actors.times import rfc3339
from tertulia.storage.records import Conversation

from .town import (
    CLOSED,
    CLOSED_INBOX,
    MINE,
    NORTH,
    OPEN_INBOX,
    START,
    UNASSIGNED,
    USERS,
    VISITOR,
    Client,
    Town,
)


async def ids(client: Client, query: str, by: str = "admin") -> list[int]:
    return [entry["id"] for entry in (await client.get(f"/conversations{query}", by=by)).data]


async def test_a_conversation_is_shown_with_everything_a_member_may_know(client: Client) -> None:
    shown = await client.get(f"/conversations/{MINE}", by="agent")
    assert shown.data == {
        "id": MINE,
        "display_id": 1,
        "inbox_id": OPEN_INBOX,
        "contact_id": VISITOR,
        "status": "open",
        "assignee_id": USERS["agent"],
        "last_seq": 1,
        "last_message_seq": 1,
        "last_activity_at": rfc3339(START + MINE),
        "created_at": rfc3339(START),
        "updated_at": rfc3339(START + MINE),
        "snoozed_until": None,
        "priority": None,
        "labels": [],
        "custom_attributes": {},
        "waiting_since": None,
    }


async def test_a_visitor_does_not_see_priority_labels_and_attributes(client: Client) -> None:
    await client.patch(f"/conversations/{MINE}", {"labels": ["difficult"], "priority": "low"}, by="agent")
    for reply in (
        (await client.get(f"/conversations/{MINE}", by="visitor")).data,
        (await client.get("/conversations", by="visitor")).data[0],
    ):
        assert not {"priority", "labels", "custom_attributes", "waiting_since"} & set(reply)


async def test_the_latest_activity_comes_first(client: Client) -> None:
    assert await ids(client, "") == [CLOSED, UNASSIGNED, MINE]
    await client.post(f"/conversations/{MINE}/messages", {"content": "new"}, by="agent")
    # The town's clock stands still at an instant before all activity: only the order of what happened counts.
    assert set(await ids(client, "")) == {CLOSED, UNASSIGNED, MINE}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=open", {MINE, UNASSIGNED, CLOSED}),
        ("status=resolved", set[int]()),
        (f"inbox_id={OPEN_INBOX}", {MINE, UNASSIGNED}),
        (f"inbox_id={CLOSED_INBOX}", {CLOSED}),
        ("inbox_id=999", set[int]()),
        ("assignee_id=none", {UNASSIGNED, CLOSED}),
        ("assignee_id=me", set[int]()),
        (f"assignee_id={USERS['agent']}", {MINE}),
        (f"updated_since={rfc3339(START + CLOSED)}", {CLOSED}),
        (f"updated_since={rfc3339(START + 999)}", set[int]()),
        (f"status=open&inbox_id={OPEN_INBOX}&assignee_id=none", {UNASSIGNED}),
    ],
)
async def test_filters_choose(client: Client, query: str, expected: set[int]) -> None:
    assert set(await ids(client, f"?{query}")) == expected


async def test_me_is_whoever_asks(client: Client) -> None:
    assert await ids(client, "?assignee_id=me", by="agent") == [MINE]


async def test_of_several_labels_all_are_needed(client: Client) -> None:
    await client.patch(f"/conversations/{MINE}", {"labels": ["vip", "late"]}, by="admin")
    await client.patch(f"/conversations/{UNASSIGNED}", {"labels": ["vip"]}, by="admin")
    assert set(await ids(client, "?labels=vip")) == {MINE, UNASSIGNED}
    assert await ids(client, "?labels=vip&labels=late") == [MINE]


async def test_an_agent_s_filter_opens_no_inbox_of_others(client: Client) -> None:
    assert await ids(client, f"?inbox_id={CLOSED_INBOX}", by="agent") == []


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("status=closed", "status"),
        ("assignee_id=you", "assignee_id"),
        ("updated_since=yesterday", "updated_since"),
        ("updated_since=2024-01-01T00:00:00", "updated_since"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("inbox_id=-1", "inbox_id"),
        ("cursor=nonsense", "cursor"),
        ("cursor=WzFd", "cursor"),
        ("cursor=WyJhIiwxXQ", "cursor"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_named(client: Client, query: str, path: str) -> None:
    refused = await client.get(f"/conversations?{query}", by="admin")
    assert refused.problem == (422, "invalid")
    assert list(refused.faults) == [path]


async def test_pages_follow_each_other_without_gap_or_double(town: Town) -> None:
    # Many with the same instant, because the id has to decide then.
    await town.write(*[conversation(id=100 + n, last_activity_at=START + n // 4) for n in range(10)])
    seen: list[int] = []
    query = "?limit=3"
    while True:
        page = await town.client.get(f"/conversations{query}", by="admin")
        assert len(page.data) <= 3
        seen += [entry["id"] for entry in page.data]
        if page.cursor is None:
            break
        query = f"?limit=3&cursor={page.cursor}"
    assert len(seen) == len(set(seen)) == 13


def conversation(**changes: Any) -> Conversation:
    values: dict[str, Any] = {
        "account_id": NORTH,
        "inbox_id": OPEN_INBOX,
        "contact_id": VISITOR,
        "display_id": changes["id"],
        "created_at": START,
        "updated_at": START,
    }
    return Conversation(**(values | changes))


# Opening


async def test_an_agent_opens_a_conversation(client: Client) -> None:
    body = {
        "inbox_id": OPEN_INBOX,
        "contact_id": VISITOR,
        "assignee_id": USERS["agent"],
        "labels": ["new"],
        "custom_attributes": {"plan": "gold"},
    }
    created = await client.post("/conversations", body, by="agent")
    assert created.status == 201
    assert {name: created.data[name] for name in body} == body
    assert created.data["display_id"] == 5
    shown = await client.get(f"/conversations/{created.data['id']}", by="agent")
    assert shown.data == created.data


async def test_a_visitor_opens_a_conversation_of_its_own(client: Client) -> None:
    created = await client.post("/conversations", {}, by="visitor")
    assert created.status == 201
    assert (created.data["inbox_id"], created.data["contact_id"]) == (OPEN_INBOX, VISITOR)


async def test_a_conversation_can_be_opened_without_a_body_by_a_visitor(client: Client) -> None:
    assert (await client.post("/conversations", by="visitor")).status == 201


async def test_a_visitor_decides_nothing_else_about_it(client: Client) -> None:
    for body in ({"assignee_id": USERS["agent"]}, {"labels": ["vip"]}, {"status": "resolved"}):
        assert (await client.post("/conversations", body, by="visitor")).problem == (403, "forbidden"), body
    for body in ({"contact_id": 2}, {"inbox_id": CLOSED_INBOX}):
        assert (await client.post("/conversations", body, by="visitor")).problem == (404, "not_found"), body


async def test_a_member_names_inbox_and_contact(client: Client) -> None:
    refused = await client.post("/conversations", {}, by="agent")
    assert refused.faults == {"inbox_id": "Is required.", "contact_id": "Is required."}


async def test_an_agent_opens_nothing_in_an_inbox_of_others(client: Client) -> None:
    body = {"inbox_id": CLOSED_INBOX, "contact_id": VISITOR}
    assert (await client.post("/conversations", body, by="agent")).problem == (404, "not_found")


# Changing


async def test_what_is_left_out_of_an_update_stays(client: Client) -> None:
    await client.patch(f"/conversations/{MINE}", {"labels": ["vip"], "priority": "high"}, by="agent")
    updated = await client.patch(f"/conversations/{MINE}", {"status": "pending"}, by="agent")
    assert updated.status == 200
    assert (updated.data["status"], updated.data["labels"], updated.data["priority"]) == ("pending", ["vip"], "high")


async def test_null_clears(client: Client) -> None:
    await client.patch(f"/conversations/{MINE}", {"priority": "high"}, by="agent")
    cleared = await client.patch(f"/conversations/{MINE}", {"priority": None, "assignee_id": None}, by="agent")
    assert (cleared.data["priority"], cleared.data["assignee_id"]) == (None, None)


async def test_a_conversation_is_snoozed_until_an_instant(client: Client) -> None:
    until = rfc3339(START + 3_600_000)
    snoozed = await client.patch(f"/conversations/{MINE}", {"status": "snoozed", "snoozed_until": until}, by="agent")
    assert (snoozed.data["status"], snoozed.data["snoozed_until"]) == ("snoozed", until)
    refused = await client.patch(f"/conversations/{MINE}", {"snoozed_until": "2026-01-01T10:00:00"}, by="agent")
    assert list(refused.faults) == ["snoozed_until"]


async def test_an_update_that_nobody_may_make_changes_nothing(client: Client) -> None:
    refused = await client.patch(f"/conversations/{MINE}", {"labels": ["x" * 65]}, by="agent")
    assert refused.faults == {"labels[0]": "Must be 1 to 64 characters."}
    assert (await client.get(f"/conversations/{MINE}", by="agent")).data["labels"] == []


async def test_a_deleted_conversation_is_gone_for_everybody(client: Client) -> None:
    assert (await client.delete(f"/conversations/{MINE}", by="admin")).status == 204
    for by in ("admin", "visitor"):
        assert (await client.get(f"/conversations/{MINE}", by=by)).problem == (404, "not_found")
        assert (await client.get(f"/conversations/{MINE}/messages", by=by)).problem == (404, "not_found")
        assert MINE not in await ids(client, "", by=by)
    assert (await client.delete(f"/conversations/{MINE}", by="admin")).problem == (404, "not_found")


# Reading and typing


async def test_a_read_cursor_moves_forward_only(client: Client) -> None:
    await client.post(f"/conversations/{MINE}/messages", {"content": "x"}, by="agent")
    for seq, expected in ((2, 2), (1, 2)):
        assert (await client.post(f"/conversations/{MINE}/read", {"seq": seq}, by="visitor")).data == {"seq": expected}


async def test_typing_is_told_and_has_no_content(autojump_clock: MockClock, client: Client) -> None:
    for on in (True, False):
        reply = await client.post(f"/conversations/{MINE}/typing", {"on": on}, by="visitor")
        assert (reply.status, reply.body) == (204, b"")


async def test_a_visitor_cannot_type_a_private_note(client: Client) -> None:
    body = {"on": True, "private": True}
    assert (await client.post(f"/conversations/{MINE}/typing", body, by="visitor")).problem == (403, "forbidden")


async def test_an_instant_beyond_the_calendar_is_refused_and_harms_nobody(client: Client) -> None:
    body = {"status": "snoozed", "snoozed_until": "9999-12-31T23:59:59-14:00"}
    refused = await client.patch(f"/conversations/{MINE}", body, by="agent")
    assert refused.problem == (422, "invalid")
    assert list(refused.faults) == ["snoozed_until"]
    assert (await client.get(f"/conversations/{MINE}", by="agent")).data["status"] == "open"
