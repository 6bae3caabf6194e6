"""Commands and answers cross nodes unchanged, and nothing else crosses at all."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, cast, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from tertulia.actors.account import account_command_handlers
from tertulia.actors.commands.account import (
    CreateContact,
    UpdateContact,
)
from tertulia.actors.commands.mark_read import MarkRead
from tertulia.actors.commands.send_message import SendMessage, Sent
from tertulia.actors.commands.update_conversation import UpdateConversation
from tertulia.actors.conversation import command_handlers
from tertulia.actors.entities import Member, Principal, Priority, Status, System, Visitor
from tertulia.actors.limits import ChatLimits
from tertulia.actors.timers.commands import EndSnooze, RemindMembers, ResolveSilent
from tertulia.actors.typists import TypingExpired
from tertulia.actors.wire import (
    ANSWERS,
    COMMANDS,
    PRINCIPALS,
    WireError,
    decode_answer,
    decode_command,
    encode_answer,
    encode_command,
)
from tertulia.storage.records import AccountUser, MessageRow, User

from .kit import AGENT, World

#: What an actor asks of itself: mailed by its incarnation, or by a job in its own turn.
NEVER_SENT = {TypingExpired, EndSnooze, ResolveSilent, RemindMembers}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
INTEGERS = st.integers(-(2**63), 2**64 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Every value of a field's type: a field that is added tomorrow is tested without a change here."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([values_of(arg) for arg in args])
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(values_of(args[0]), max_size=4).map(tuple)
    if origin is tuple:
        return st.tuples(*[values_of(arg) for arg in args])
    if origin is list:
        return st.lists(values_of(args[0]), max_size=4)
    if origin is dict:
        return st.dictionaries(TEXT, JSON, max_size=4)
    if hint in SCALARS:
        return SCALARS[hint]
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    return st.deferred(lambda: st.builds(hint, **{name: values_of(of) for name, of in fields_of(hint).items()}))


SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: INTEGERS,
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    type(None): st.none(),
    UnsetType: st.just(UNSET),
}


def fields_of(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        return {item.name: hints[item.name] for item in dataclasses.fields(kind)}
    return {name: hints[name] for name in kind.__struct_fields__}


def handler_tables(world: World) -> dict[type, Any]:
    tables: Mapping[type, Any] = account_command_handlers(world.collaborators)
    return {**command_handlers(ChatLimits()), **tables}


def exact(value: Any) -> Any:
    """A value with the type of everything in it, so that 1, 1.0 and True differ, and a list from a tuple."""
    if dataclasses.is_dataclass(value) or isinstance(value, msgspec.Struct):
        return type(value), {name: exact(getattr(value, name)) for name in fields_of(type(value))}
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return dict, [(name, exact(item)) for name, item in items.items()]
    if isinstance(value, (list, tuple)):
        return type(cast("object", value)), [exact(item) for item in cast("list[Any]", value)]
    return type(value), value


# Commands


async def test_every_command_that_an_actor_handles_can_come_from_another_node(world: World) -> None:
    assert set(handler_tables(world)) - NEVER_SENT == set(COMMANDS)


def test_every_principal_can_act_from_another_node() -> None:
    assert set(get_args(Principal)) == set(PRINCIPALS)


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_a_command_arrives_as_it_was_sent(kind: type) -> None:
    @given(command=values_of(kind))
    @settings(deadline=None, max_examples=40)
    def arrives(command: Any) -> None:
        arrived = decode_command(encode_command(command))
        assert arrived == command
        assert exact(arrived) == exact(command)

    arrives()


@given(by=values_of(Principal))
@example(by=System(1))
@settings(deadline=None, max_examples=50)
def test_what_is_unset_what_is_none_and_what_is_empty_stay_apart(by: Principal) -> None:
    for command in (
        UpdateConversation(by),
        UpdateConversation(by, priority=None, assignee_id=None, snoozed_until=None),
        UpdateConversation(by, priority=Priority.URGENT, labels=(), custom_attributes={}),
        UpdateContact(by, 1, email=None, blocked=False),
        UpdateContact(by, 1, email="", custom_attributes={"a": [None, 1, 1.0, True, b"bytes", {}]}),
    ):
        assert exact(decode_command(encode_command(command))) == exact(command)


def test_the_bytes_of_a_command_are_the_same_in_every_version() -> None:
    sent = encode_command(SendMessage(Member(1, 2, "Ada"), "hi", "c1"))
    assert sent.hex() == (
        "93ab53656e644d657373616765a64d656d62657286a2627983aa6163636f756e745f696401a7757365725f696402a46e616d65a3416461"
        "a7636f6e74656e74a26869a9636c69656e745f6964a26331a770726976617465c2ac636f6e74656e745f74797065a474657874b2636f6e"
        "74656e745f61747472696275746573c0"
    )
    changed = encode_command(UpdateConversation(Visitor(1, 2, 3), status=Status.RESOLVED, priority=None))
    assert changed.hex() == (
        "93b2557064617465436f6e766572736174696f6ea756697369746f7283a2627984aa6163636f756e745f696401aa636f6e746163745f69"
        "6402a8696e626f785f696403a46e616d65a0a6737461747573a87265736f6c766564a87072696f72697479c0"
    )


def test_a_newer_node_may_say_more_and_an_older_one_less() -> None:
    by = {"account_id": 1, "user_id": 2, "name": "Ada", "new": 1}
    packed = msgspec.msgpack.encode(["MarkRead", "Member", {"by": by, "seq": 3, "new": {"a": 1}}, "new"])
    assert decode_command(packed) == MarkRead(Member(1, 2, "Ada"), 3)
    packed = msgspec.msgpack.encode(["SendMessage", "System", {"by": {"account_id": 1}, "content": "hi"}])
    assert decode_command(packed) == SendMessage(System(1), "hi")


def test_what_msgpack_cannot_say_does_not_travel() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    for command in (
        MarkRead(AGENT, 2**70),
        SendMessage(AGENT, "half a character: \ud800"),
        CreateContact(AGENT, "Ana", custom_attributes=endless),
        CreateContact(AGENT, "Ana", custom_attributes={"a": object()}),
        TypingExpired(("user", 1)),
        SendMessage(cast("Any", object()), "by nobody"),
        "no command",
    ):
        with pytest.raises(WireError):
            encode_command(command)


MALFORMED: dict[str, Any] = {
    "nothing": [],
    "a class that is no command": ["Sent", "Member", {}],
    "a class of Python": ["object", "Member", {}],
    "a principal that is none": ["MarkRead", "MarkRead", {"by": {"account_id": 1, "user_id": 2}, "seq": 1}],
    "a visitor's fields for a member": ["MarkRead", "Member", {"by": {"account_id": 1, "contact_id": 2}, "seq": 1}],
    "no principal": ["MarkRead", "Member", {"seq": 1}],
    "a missing field": ["MarkRead", "Member", {"by": {"account_id": 1, "user_id": 2}}],
    "a text for a number": ["MarkRead", "Member", {"by": {"account_id": 1, "user_id": 2}, "seq": "1"}],
    "a status that is none": ["UpdateConversation", "System", {"by": {"account_id": 1}, "status": "lost"}],
    "fields without names": ["MarkRead", "Member", [{"account_id": 1, "user_id": 2}, 1]],
    "a map": {"MarkRead": 1},
}


@pytest.mark.parametrize("packet", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_command_is_refused(packet: Any) -> None:
    with pytest.raises(WireError):
        decode_command(msgspec.msgpack.encode(packet))


@given(payload=st.binary(max_size=60))
@example(payload=b"")
@example(payload=b"\x93" * 100_000)
@settings(deadline=None)
def test_noise_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode_command(payload)
    with pytest.raises(WireError):
        decode_answer(payload)


@given(command=values_of(SendMessage | UpdateConversation | CreateContact), data=st.data())
@settings(deadline=None)
def test_damage_gives_a_command_of_the_known_classes_or_a_refusal(command: Any, data: st.DataObject) -> None:
    payload = bytearray(encode_command(command))
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        arrived = decode_command(bytes(payload))
    except WireError:
        return
    assert type(arrived) in COMMANDS


# Answers


def answer_hint(handler: Any) -> Any:
    return get_type_hints(type(handler).__call__)["return"]


async def test_every_answer_that_a_handler_gives_can_go_to_another_node(world: World) -> None:
    hints = {answer_hint(handler) for kind, handler in handler_tables(world).items() if kind not in NEVER_SENT}
    names = {"AccountUser+User" if get_origin(hint) is tuple else hint.__name__ for hint in hints}
    assert names == ANSWERS.keys()


async def test_an_answer_arrives_as_it_was_given(world: World) -> None:
    hints = list({answer_hint(handler) for handler in handler_tables(world).values()})

    @given(answer=st.one_of([values_of(hint) for hint in hints]))
    @settings(deadline=None, max_examples=300)
    def arrives(answer: Any) -> None:
        arrived = decode_answer(encode_answer(answer))
        assert arrived == answer
        assert exact(arrived) == exact(answer)

    arrives()


ROW = MessageRow(1, 2, 3, 4, "incoming", "text", "hi", None, False, "contact", 5, "Ana", "c1", 1_700_000_000_000)


def test_the_bytes_of_an_answer_are_the_same_in_every_version() -> None:
    assert encode_answer(Sent(ROW)).hex() == (
        "92a453656e7482a76d657373616765dc001001020304a8696e636f6d696e67a474657874a26869c0c2a7636f6e7461637405a3416e61a2"
        "6331cf0000018bcfe56800c0c0a87265706561746564c2"
    )
    assert encode_answer(None).hex() == "92a84e6f6e6554797065c0"
    member = AccountUser(account_id=1, user_id=2, role="agent", created_at=3)
    user = User(id=2, email="a@example.org", name="A", created_at=3)
    assert encode_answer((member, user)).hex() == (
        "92b04163636f756e74557365722b557365729284aa6163636f756e745f696401a7757365725f696402a4726f6c65a56167656e74aa6372"
        "65617465645f61740386a2696402aa6163636f756e745f6964c0a5656d61696cad61406578616d706c652e6f7267a46e616d65a141aa63"
        "7265617465645f617403ad70617373776f72645f68617368c0"
    )


def test_a_newer_node_s_row_may_have_grown_at_its_end_and_its_records_anywhere() -> None:
    packed = msgspec.msgpack.encode(
        ["Sent", {"message": [*msgspec.structs.astuple(ROW), "new"], "repeated": True, "new": 1}]
    )
    assert decode_answer(packed) == Sent(ROW, repeated=True)
    packed = msgspec.msgpack.encode(
        ["AccountUser", {"new": 1, "account_id": 1, "user_id": 2, "role": "agent", "created_at": 3}]
    )
    assert decode_answer(packed) == AccountUser(account_id=1, user_id=2, role="agent", created_at=3)


@pytest.mark.parametrize(
    "value", [object(), "text", 1.5, True, {"a": 1}, {1}, SendMessage(AGENT, "hi"), 2**70, (1, object())]
)
def test_what_no_handler_answers_does_not_travel(value: Any) -> None:
    with pytest.raises(WireError):
        encode_answer(value)


@pytest.mark.parametrize(
    "packet", [["SendMessage", {}], ["int", "1"], ["Sent", {"message": []}], ["object", None], ["int"]]
)
def test_a_malformed_answer_is_refused(packet: Any) -> None:
    with pytest.raises(WireError):
        decode_answer(msgspec.msgpack.encode(packet))
