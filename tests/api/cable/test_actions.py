"""From the `data` of a `message` command to the actor's command: shapes and lengths, nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import UNSET

from tertulia.actors.commands.edit_message import DeleteMessage, EditMessage
from tertulia.actors.commands.mark_read import MarkRead, SetTyping
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import UpdateConversation
from tertulia.actors.entities import Priority, Status
from tertulia.actors.limits import ChatLimits
from tertulia.api.cable.actions import client_id_in, decode_action
from tertulia.engine.errors import Invalid, Malformed
from tertulia.engine.mailbox import Lane

from .stage import ANA

LIMITS = ChatLimits(content=10, content_attributes=20, client_id=4, labels=2, label=3)


def command_of(action: str, **fields: Any) -> Any:
    return decode_action(json.dumps({"action": action, **fields})).command(ANA, LIMITS)


@pytest.mark.parametrize(
    ("action", "fields", "command"),
    [
        ("send_message", {"content": "Hi"}, SendMessage(ANA, "Hi")),
        (
            "send_message",
            {
                "content": "Hi",
                "client_id": "1",
                "private": True,
                "content_type": "markdown",
                "content_attributes": {"a": [1]},
            },
            SendMessage(ANA, "Hi", "1", True, "markdown", '{"a":[1]}'),
        ),
        ("edit_message", {"seq": 3, "content": "Ho", "client_id": "2"}, EditMessage(ANA, 3, "Ho", "2")),
        ("delete_message", {"seq": 3}, DeleteMessage(ANA, 3)),
        ("typing", {"on": True}, SetTyping(ANA, True)),
        ("typing", {"on": False, "private": True}, SetTyping(ANA, False, True)),
        ("read", {"seq": 5}, MarkRead(ANA, 5)),
        ("update", {"status": "resolved"}, UpdateConversation(ANA, status=Status.RESOLVED)),
        ("update", {"assignee_id": None}, UpdateConversation(ANA, assignee_id=None)),
        (
            "update",
            {"priority": "high", "labels": ["a", "b"], "assignee_id": 2},
            UpdateConversation(ANA, priority=Priority.HIGH, labels=("a", "b"), assignee_id=2),
        ),
    ],
)
def test_an_action_becomes_a_command(action: str, fields: dict[str, Any], command: object) -> None:
    assert command_of(action, **fields) == command


def test_what_an_update_leaves_out_stays_unset() -> None:
    command = command_of("update", status="open")
    assert (command.assignee_id, command.labels, command.snoozed_until) == (UNSET, UNSET, UNSET)


@pytest.mark.parametrize(
    ("instant", "millis"),
    [
        ("2026-01-02T03:04:05Z", 1_767_323_045_000),
        ("2026-01-02T05:04:05.250+02:00", 1_767_323_045_250),
        (1_767_323_045, 1_767_323_045_000),
        (1_767_323_045.5, 1_767_323_045_500),
        (None, None),
    ],
)
def test_snoozed_until_is_rfc_3339_or_seconds(instant: object, millis: int | None) -> None:
    assert command_of("update", status="snoozed", snoozed_until=instant).snoozed_until == millis


@pytest.mark.parametrize("instant", ["tomorrow", "2026-01-02", "2026-01-02T03:04:05", -1, 10**15])
def test_another_snoozed_until_is_invalid(instant: object) -> None:
    with pytest.raises(Invalid) as caught:
        command_of("update", status="snoozed", snoozed_until=instant)
    assert list(caught.value.fields) == ["snoozed_until"]


@pytest.mark.parametrize(
    ("action", "fields", "field"),
    [
        ("send_message", {"content": "x" * 11}, "content"),
        ("send_message", {"content": "Hi", "client_id": "12345"}, "client_id"),
        ("send_message", {"content": "Hi", "content_attributes": {"a": "x" * 20}}, "content_attributes"),
        ("send_message", {"content": "Hi", "content_attributes": {"a": 2**64}}, "content_attributes"),
        ("edit_message", {"seq": 1, "content": "x" * 11}, "content"),
        ("edit_message", {"seq": 1, "content": "Hi", "client_id": "12345"}, "client_id"),
        ("delete_message", {"seq": 1, "client_id": "12345"}, "client_id"),
        ("update", {"labels": ["a", "b", "c"]}, "labels"),
        ("update", {"labels": ["abcd"]}, "labels"),
    ],
)
def test_a_value_over_its_limit_is_invalid_and_named(action: str, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        command_of(action, **fields)
    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize(
    "data",
    [
        "{}",
        "[]",
        '{"action":"fly"}',
        '{"action":"send_message"}',
        '{"action":"send_message","content":1}',
        '{"action":"send_message","content":"Hi","content_type":"hologram"}',
        '{"action":"send_message","content":"Hi","content_attributes":[]}',
        '{"action":"edit_message","seq":0,"content":"Hi"}',
        '{"action":"edit_message","seq":99999999999999999999,"content":"Hi"}',
        '{"action":"read","seq":"1"}',
        '{"action":"update","status":"gone"}',
        '{"action":"update","assignee_id":0}',
    ],
)
def test_what_is_no_action_is_invalid(data: str) -> None:
    with pytest.raises(Invalid):
        decode_action(data)


@pytest.mark.parametrize("data", ["", "{", "Hello", '{"action":"update","x":' + "[" * 5000])
def test_what_is_no_json_is_malformed(data: str) -> None:
    with pytest.raises(Malformed):
        decode_action(data)


def test_attributes_that_are_nested_too_deep_for_some_clients_are_invalid() -> None:
    deep: Any = []
    for _ in range(50):
        deep = [deep]
    with pytest.raises(Invalid):
        command_of("send_message", content="Hi", content_attributes={"a": deep})


def test_typing_goes_by_the_lane_that_overload_empties_first() -> None:
    assert decode_action('{"action":"typing"}').lane is Lane.BROADCASTS
    assert decode_action('{"action":"read","seq":1}').lane is Lane.COMMANDS


def test_the_client_id_of_an_unreadable_action_is_found_where_there_is_one() -> None:
    assert client_id_in('{"action":"fly","client_id":"7"}') == "7"
    assert client_id_in('{"client_id":7}') is None
    assert client_id_in("[") is None
