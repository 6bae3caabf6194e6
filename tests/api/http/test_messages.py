"""Messages over HTTP."""

import pytest
from trio.testing import MockClock

from .town import CLOSED, MINE, NOWHERE, Client, Town

MESSAGES = f"/conversations/{MINE}/messages"


async def test_a_message_is_created_and_comes_back_in_the_list(client: Client) -> None:
    sent = await client.post(MESSAGES, {"content": "How can I help?"}, by="agent")
    assert sent.status == 201
    assert sent.data["seq"] == 2
    assert sent.data["message_type"] == "outgoing"
    assert sent.data["sender"] == {"type": "user", "id": 2, "name": "agent"}
    listed = await client.get(MESSAGES, by="agent")
    assert [message["content"] for message in listed.data] == ["Hello from 1", "How can I help?"]
    assert listed.cursor is None


async def test_a_visitor_writes_in_its_own_conversation_without_naming_the_account(client: Client) -> None:
    sent = await client.post(MESSAGES, {"content": "Anybody there?"}, by="visitor")
    assert sent.status == 201
    assert sent.data["message_type"] == "incoming"


async def test_a_repeated_client_id_gives_the_first_message_again(client: Client) -> None:
    body = {"content": "once", "client_id": "c-1"}
    first = await client.post(MESSAGES, body, by="agent")
    again = await client.post(MESSAGES, {**body, "content": "twice"}, by="agent")
    assert (first.status, again.status) == (201, 201)
    assert first.data == again.data
    assert "Idempotent-Replay" not in first.headers
    assert again.headers["Idempotent-Replay"] == "true"
    assert len((await client.get(MESSAGES, by="agent")).data) == 2


async def test_a_client_id_of_somebody_else_is_a_conflict(client: Client) -> None:
    body = {"content": "mine", "client_id": "c-1"}
    await client.post(MESSAGES, body, by="agent")
    assert (await client.post(MESSAGES, body, by="admin")).problem == (409, "conflict")


async def test_pages_after_a_seq_go_forward_to_the_end(client: Client) -> None:
    for number in range(2, 7):
        await client.post(MESSAGES, {"content": str(number)}, by="agent")
    first = await client.get(f"{MESSAGES}?after=1&limit=2", by="agent")
    second = await client.get(f"{MESSAGES}?limit=2&cursor={first.cursor}", by="agent")
    third = await client.get(f"{MESSAGES}?limit=2&cursor={second.cursor}", by="agent")
    assert [[message["seq"] for message in page.data] for page in (first, second, third)] == [[2, 3], [4, 5], [6]]
    assert third.cursor is None


async def test_pages_before_a_seq_go_backward_to_the_beginning(client: Client) -> None:
    for number in range(2, 6):
        await client.post(MESSAGES, {"content": str(number)}, by="agent")
    last = await client.get(f"{MESSAGES}?limit=2", by="agent")
    middle = await client.get(f"{MESSAGES}?limit=2&cursor={last.cursor}", by="agent")
    first = await client.get(f"{MESSAGES}?limit=2&before=2", by="agent")
    assert [[message["seq"] for message in page.data] for page in (last, middle, first)] == [[4, 5], [2, 3], [1]]
    assert middle.cursor is not None
    assert first.cursor is None


async def test_a_backward_cursor_takes_no_after(client: Client) -> None:
    await client.post(MESSAGES, {"content": "2"}, by="agent")
    page = await client.get(f"{MESSAGES}?limit=1", by="agent")
    refused = await client.get(f"{MESSAGES}?after=1&cursor={page.cursor}", by="agent")
    assert refused.problem == (422, "invalid")
    assert list(refused.faults) == ["after"]


async def test_a_visitor_sees_neither_private_notes_nor_activity(client: Client) -> None:
    await client.post(MESSAGES, {"content": "He seems angry", "private": True}, by="agent")
    await client.patch(f"/conversations/{MINE}", {"status": "resolved"}, by="agent")
    seen_by_agent = (await client.get(MESSAGES, by="agent")).data
    seen_by_visitor = (await client.get(MESSAGES, by="visitor")).data
    assert {message["message_type"] for message in seen_by_agent} == {"incoming", "outgoing", "activity"}
    assert [message["content"] for message in seen_by_visitor] == ["Hello from 1"]


async def test_a_visitor_cannot_write_private_notes(client: Client) -> None:
    assert (await client.post(MESSAGES, {"content": "psst", "private": True}, by="visitor")).problem == (
        403,
        "forbidden",
    )


async def test_content_attributes_come_back_as_they_were_sent(client: Client) -> None:
    attributes = {"items": [{"title": "Yes", "value": 1}], "none": None}
    body = {"content": "Choose", "content_type": "input_select", "content_attributes": attributes}
    sent = await client.post(MESSAGES, body, by="agent")
    assert sent.data["content_attributes"] == attributes
    assert sent.data["content_type"] == "input_select"


async def test_the_sender_edits_and_deletes_a_message(client: Client) -> None:
    await client.post(MESSAGES, {"content": "tpyo"}, by="agent")
    edited = await client.patch(f"{MESSAGES}/2", {"content": "typo"}, by="agent")
    assert edited.status == 200
    assert edited.data["content"] == "typo"
    assert edited.data["edited_at"] is not None
    deleted = await client.delete(f"{MESSAGES}/2", by="agent")
    assert (deleted.status, deleted.body) == (204, b"")
    left = (await client.get(MESSAGES, by="agent")).data[1]
    assert left["content"] is None
    assert left["deleted_at"] is not None


async def test_nobody_edits_what_another_said(client: Client) -> None:
    await client.post(MESSAGES, {"content": "mine"}, by="agent")
    assert (await client.patch(f"{MESSAGES}/2", {"content": "yours"}, by="admin")).problem == (403, "forbidden")


async def test_a_message_that_is_not_there_is_not_found(client: Client) -> None:
    assert (await client.patch(f"{MESSAGES}/{NOWHERE}", {"content": "x"}, by="agent")).problem == (404, "not_found")


@pytest.mark.parametrize("content", ["", " ", "\n"])
async def test_an_empty_message_is_refused(client: Client, content: str) -> None:
    refused = await client.post(MESSAGES, {"content": content}, by="agent")
    assert refused.problem == (422, "invalid")
    assert list(refused.faults) == ["content"]


async def test_a_message_in_an_inbox_of_others_is_not_found(client: Client) -> None:
    path = f"/conversations/{CLOSED}/messages"
    assert (await client.post(path, {"content": "x"}, by="agent")).problem == (404, "not_found")
    assert (await client.post(path, {"content": "x"}, by="other_agent")).status == 201


async def test_a_visitor_that_floods_is_told_when_to_go_on(autojump_clock: MockClock, town: Town) -> None:
    statuses = [(await town.client.post(MESSAGES, {"content": "!"}, by="visitor")).status for _ in range(21)]
    assert statuses == [201] * 20 + [429]
    refused = await town.client.post(MESSAGES, {"content": "!"}, by="visitor")
    assert refused.problem == (429, "rate_limited")
    assert refused.headers["Retry-After"] == "1"
