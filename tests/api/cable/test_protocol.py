"""What is on the wire: one encoding of an event for all who see the same, and what is left of unreadable commands."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tertulia.actors.events import Audience, Event
from tertulia.api.cable.pacing import pieces
from tertulia.api.cable.protocol import PROTOCOLS, CableProtocol, EventFormat, HistoryRequest
from tertulia.engine.frames import BINARY, TEXT, payloads

IDENTIFIER = '{"channel":"ConversationChannel","id":1,"note":"\\"é"}'

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)


def event(seq: int | None = 7, *, private: bool = False) -> Event:
    return Event("conversation.read", "conversation:1", seq, 0, {"read_seq": 5}, private=private)


def decoded(frame: bytes | None) -> Any:
    assert frame is not None
    [(first, payload)] = payloads(frame)
    return json.loads(payload) if first == TEXT else msgspec.msgpack.decode(payload)


def format_of(protocol: CableProtocol, identifier: str = IDENTIFIER, audience: Audience = "member") -> EventFormat:
    return EventFormat(protocol, identifier, audience, "abc")


@each_protocol
def test_an_event_is_the_same_in_every_encoding_and_has_a_position_where_the_protocol_has_one(
    protocol: CableProtocol,
) -> None:
    expected: dict[str, Any] = {
        "identifier": IDENTIFIER,
        "message": {"type": "conversation.read", "data": {"read_seq": 5}},
    }
    assert decoded(format_of(protocol).frame_without_position(event())) == expected
    assert decoded(format_of(protocol).frame(event(None))) == expected
    if protocol.extended:
        expected |= {"stream_id": "conversation:1", "epoch": "abc", "offset": 7}
    assert decoded(format_of(protocol).frame(event())) == expected


@each_protocol
def test_a_frame_is_of_the_kind_that_its_protocol_wants(protocol: CableProtocol) -> None:
    [(first, _)] = payloads(format_of(protocol).frame(event()) or b"")
    assert first == (TEXT if protocol.encoding == "json" else BINARY)


@each_protocol
def test_a_visitor_has_no_frame_of_a_private_event(protocol: CableProtocol) -> None:
    assert format_of(protocol, audience="visitor").frame(event(private=True)) is None
    assert format_of(protocol, audience="member").frame(event(private=True)) is not None


def test_formats_are_equal_where_the_bytes_are() -> None:
    base, extended = PROTOCOLS["actioncable-v1-json"], PROTOCOLS["actioncable-v1-ext-json"]
    assert format_of(base) == format_of(base)
    assert hash(format_of(base)) == hash(format_of(base))
    others = (format_of(extended), format_of(base, "x"), format_of(base, audience="visitor"))
    assert all(format_of(base) != other for other in others)


@pytest.mark.parametrize(
    ("since", "millis"),
    [
        (None, None),
        (0, None),
        (False, None),
        (True, None),
        (1.5, 1500),
        (-3, 0),
        (float("nan"), 0),
        (float("inf"), 10**15),
        (1e300, 10**15),
    ],
)
def test_since_becomes_milliseconds_that_every_store_can_hold(since: float | bool | None, millis: int | None) -> None:
    assert HistoryRequest(since).since_millis == millis


@each_protocol
def test_of_an_unreadable_command_its_name_and_identifier_are_enough_to_answer_it(protocol: CableProtocol) -> None:
    command = {"command": "subscribe", "identifier": "x", "history": 7}
    encode = msgspec.json.encode if protocol.first == TEXT else msgspec.msgpack.encode
    outline = protocol.outline(encode(command))
    assert (outline.command, outline.identifier) == ("subscribe", "x")
    assert protocol.outline(b"\xc1").command == ""


def test_pieces_hold_every_frame_once_and_in_order() -> None:
    frames = [b"a" * 4, b"b" * 4, b"c" * 10, b"d"]
    assert list(pieces(frames, 8)) == [b"aaaabbbb", b"c" * 10, b"d"]
    assert list(pieces(frames, 1000)) == [b"".join(frames)]
    assert list(pieces([], 8)) == []
