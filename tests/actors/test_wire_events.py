"""An event that crossed nodes reads the same, byte for byte, in every encoding and for every audience."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tertulia.actors import events
from tertulia.actors.events import (
    PRESENCE_CHANGED,
    Audience,
    Encoding,
    Event,
    account_event_of,
    account_stream,
    conversation_stream,
    logged_event,
    message_event,
)
from tertulia.actors.wire import WireError, decode_events, encode_events
from tertulia.storage.records import AccountEventRow, EventRow, MessageRow

ENCODINGS: tuple[Encoding, ...] = ("json", "msgpack")
AUDIENCES: tuple[Audience, ...] = ("member", "visitor")
TYPES = sorted(
    value
    for name, value in vars(events).items()
    if name.isupper() and isinstance(value, str) and not name.startswith("_")
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
IDS = st.integers(1, 2**63 - 1)
AT = st.integers(0, 253402300799999)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
DATA = st.dictionaries(TEXT | st.sampled_from(["labels", "priority", "custom_attributes"]), JSON, max_size=5)
JSON_TEXT = DATA.map(lambda data: msgspec.json.encode(data).decode())
SPACED_JSON = DATA.map(lambda data: msgspec.json.format(msgspec.json.encode(data)).decode())

MESSAGES = st.builds(
    MessageRow,
    IDS, IDS, IDS, IDS,
    st.sampled_from(["incoming", "outgoing", "activity"]),
    TEXT,
    st.none() | TEXT,
    st.none() | JSON_TEXT | SPACED_JSON,
    st.booleans(),
    st.sampled_from(["user", "contact", "system"]),
    st.none() | IDS,
    st.none() | TEXT,
    st.none() | TEXT,
    AT,
    st.none() | AT,
    st.none() | AT,
).map(message_event)  # fmt: skip
LOGGED = st.builds(
    EventRow, IDS, IDS, IDS, IDS, st.sampled_from(TYPES), TEXT, st.none() | IDS, st.none() | TEXT, st.none() | IDS,
    st.booleans(), JSON_TEXT | SPACED_JSON, AT,
).map(logged_event)  # fmt: skip
OF_ACCOUNTS = st.builds(
    AccountEventRow, IDS, IDS, st.sampled_from(TYPES), TEXT, st.none() | IDS, JSON_TEXT, AT
).map(account_event_of)  # fmt: skip
EPHEMERAL = st.builds(
    Event, st.sampled_from(TYPES), IDS.map(conversation_stream) | IDS.map(account_stream), st.none(), AT, DATA,
    private=st.booleans(),
)  # fmt: skip
EVENTS = st.lists(MESSAGES | LOGGED | OF_ACCOUNTS | EPHEMERAL, max_size=4)


def seen(event: Event) -> dict[tuple[str, str], bytes]:
    return {(encoding, audience): event.encoded(encoding, audience) for encoding in ENCODINGS for audience in AUDIENCES}


def facts(event: Event) -> tuple[Any, ...]:
    return (event.type, event.stream, event.seq, event.at, event.private)


@given(sent=EVENTS, ephemeral=st.booleans())
@settings(deadline=None, max_examples=200)
def test_events_arrive_in_order_and_everybody_sees_the_same_bytes(sent: list[Event], ephemeral: bool) -> None:
    arrived, for_onlookers = decode_events(encode_events(sent, ephemeral=ephemeral))
    assert for_onlookers is ephemeral
    assert [facts(event) for event in arrived] == [facts(event) for event in sent]
    assert [seen(event) for event in arrived] == [seen(event) for event in sent]


@given(sent=EVENTS)
@settings(deadline=None, max_examples=30)
def test_events_may_be_sent_on(sent: list[Event]) -> None:
    payload = encode_events(sent, ephemeral=False)
    assert encode_events(decode_events(payload)[0], ephemeral=False) == payload


def test_the_bytes_of_an_event_are_the_same_in_every_version() -> None:
    event = Event(PRESENCE_CHANGED, "account:1", None, 1_700_000_000_000, {"user_id": 2}, private=True)
    assert encode_events([event], ephemeral=True) == (
        b"\x92\xc3\x91\x95\xa9account:1\xc0\xcf\x00\x00\x01\x8b\xcf\xe5h\x00\xc3"
        b'\xc4\x30{"type":"presence.changed","data":{"user_id":2}}'
    )


def test_a_newer_node_may_say_more() -> None:
    shown = b'{"type":"presence.changed","new":[1],"data":{"user_id":2}}'
    payload = msgspec.msgpack.encode([False, [["account:1", 7, 1, True, shown, "new"]], "new"])
    (event,), ephemeral = decode_events(payload)
    assert (facts(event), ephemeral) == ((PRESENCE_CHANGED, "account:1", 7, 1, True), False)
    assert event.encoded("json", "member") == b'{"type":"presence.changed","data":{"user_id":2}}'


GOOD: list[Any] = ["account:1", 1, 1, True, b'{"type":"a","data":{}}']


@pytest.mark.parametrize(
    "packet",
    [
        [],
        [True],
        [1, []],
        [True, [GOOD[:4]]],
        [True, [["account:1", "1", *GOOD[2:]]]],
        [True, [[*GOOD[:4], b""]]],
        [True, [[*GOOD[:4], b'{"type":"a"}']]],
        [True, [[*GOOD[:4], b'{"type":1,"data":{}}']]],
        [True, [[*GOOD[:4], b'{"type":"a","data":{']]],
        [True, [[*GOOD[:4], b'{"type":"a","data":{}}{}']]],
        [True, [GOOD, None]],
    ],
)
def test_malformed_events_are_refused_all_together(packet: Any) -> None:
    with pytest.raises(WireError):
        decode_events(msgspec.msgpack.encode(packet))


@given(payload=st.binary(max_size=60))
@settings(deadline=None)
def test_noise_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode_events(payload)
