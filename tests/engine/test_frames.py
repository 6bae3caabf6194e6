"""Frames in and out. wsproto, fed with the same bytes, is the judge of what they mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from tertulia.engine import frames
from tertulia.engine.frames import ClosedByPeer, FrameReader, Message, Violation

from .wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, close_payload

LIMIT = 65536
LONGEST_HEADER = 14


@dataclass
class Outcome:
    """What came of a stream of bytes: messages, then perhaps an end."""

    messages: list[Message] = field(default_factory=list[Message])
    code: int | None = None
    reply: bytes | None = None


def ours(chunks: Iterable[bytes], limit: int = LIMIT) -> Outcome:
    outcome = Outcome()
    reader = FrameReader(limit)
    try:
        for chunk in chunks:
            reader.read(chunk, outcome.messages)
            assert reader.buffered <= limit + LONGEST_HEADER
    except Violation as violation:
        outcome.code = violation.code
    except ClosedByPeer as closed:
        outcome.reply = closed.reply
    return outcome


def by_wsproto(data: bytes, limit: int = LIMIT) -> Outcome:
    outcome = Outcome()
    connection = Connection(ConnectionType.SERVER)
    connection.receive_data(data)
    parts: list[bytes] = []
    for event in connection.events():
        if isinstance(event, TextMessage | BytesMessage):
            text = isinstance(event, TextMessage)
            parts.append(event.data.encode() if isinstance(event, TextMessage) else bytes(event.data))
            if sum(map(len, parts)) > limit:
                outcome.code = frames.MESSAGE_TOO_BIG
                return outcome
            if event.message_finished:
                outcome.messages.append((frames.TEXT if text else frames.BINARY, b"".join(parts)))
                parts.clear()
        elif isinstance(event, Ping):
            outcome.messages.append((frames.PONG, connection.send(event.response())))
        elif isinstance(event, CloseConnection):
            if connection.state is ConnectionState.REMOTE_CLOSING:
                outcome.reply = connection.send(event.response())
            else:
                outcome.code = int(event.code)
            return outcome
    return outcome


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:stop] for start, stop in pairwise(places)]


masks = st.binary(min_size=4, max_size=4)
sizes = st.sampled_from([0, 1, 2, 3, 124, 125, 126, 127, 128, 1000, 65534, 65535, 65536])
payloads = st.one_of(
    st.text(max_size=40).map(str.encode),
    sizes.map(lambda size: b"0123456789abcdef"[: size & 15] + b"x" * (size - (size & 15))),
    st.sampled_from(["é" * 63, "\N{GRINNING FACE}" * 32, "x" * 65533 + "€"]).map(str.encode),
)
close_payloads = st.one_of(
    st.just(b""),
    st.builds(
        close_payload, st.sampled_from([1000, 1001, 1003, 1007, 1011, 3000, 4999]), st.text(max_size=30).map(str.encode)
    ),
    st.builds(close_payload, st.integers(0, 65535)),
    st.sampled_from([b"\x03", close_payload(1000, b"\xff")]),
)


@st.composite
def messages(draw: st.DrawFn) -> list[bytes]:
    """One message, in one frame or in fragments that may cut a character, with control frames in between."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    payload = draw(payloads)
    parts = split(payload, draw(st.lists(st.integers(0, 70000), max_size=3))) or [b""]
    found: list[bytes] = []
    for number, part in enumerate(parts):
        fin = number == len(parts) - 1
        found.append(client_frame(CONTINUATION if number else opcode, part, fin=fin, mask=draw(masks)))
        if not fin and draw(st.booleans()):
            found.append(draw(controls))
    return found


controls = st.builds(client_frame, st.sampled_from([PING, PONG]), st.binary(max_size=125), mask=masks)
closes = st.builds(client_frame, st.just(CLOSE), close_payloads, mask=masks)
wrong = st.one_of(
    st.builds(client_frame, st.integers(0, 15), payloads, fin=st.booleans(), mask=masks),
    st.builds(client_frame, st.just(TEXT), st.binary(max_size=10), fin=st.booleans(), mask=masks),
    st.builds(client_frame, st.integers(0, 15), st.binary(max_size=5), mask=st.none()),
    st.builds(client_frame, st.integers(0, 15), st.binary(max_size=5), reserved=st.integers(1, 7)),
    st.builds(client_frame, st.integers(0, 15), st.binary(max_size=125), length_bytes=st.sampled_from([3, 9])),
)
streams = st.lists(
    st.one_of(
        messages(),
        messages(),
        controls.map(lambda one: [one]),
        closes.map(lambda one: [one]),
        wrong.map(lambda one: [one]),
    ),
    max_size=6,
).map(lambda groups: b"".join(frame for group in groups for frame in group))


@settings(deadline=None, max_examples=300)
@given(stream=streams, cuts=st.lists(st.integers(0, 200_000), max_size=12))
def test_any_stream_cut_anywhere_means_what_wsproto_says(stream: bytes, cuts: list[int]) -> None:
    assert ours(split(stream, cuts)) == by_wsproto(stream)


@settings(deadline=None)
@given(stream=streams, cut=st.integers(0, 200_000))
def test_a_stream_that_breaks_off_has_given_what_was_whole(stream: bytes, cut: int) -> None:
    whole = ours([stream]).messages
    begun = ours([stream[: cut % (len(stream) + 1)]]).messages
    assert begun == whole[: len(begun)]


CONVERSATION = b"".join(
    [
        client_frame(TEXT, "olé".encode()),
        client_frame(PING, b"are you there"),
        client_frame(TEXT, b"\xe2\x82", fin=False),
        client_frame(PING, b""),
        client_frame(CONTINUATION, b"", fin=False),
        client_frame(CONTINUATION, b"\xac", fin=True),
        client_frame(PONG, b"unasked"),
        client_frame(BINARY, b"\xff" * 126),
        client_frame(TEXT, b"x" * 300),
        client_frame(CLOSE, close_payload(1000, b"bye")),
    ]
)


def test_a_conversation_is_the_same_in_one_piece_in_single_bytes_and_with_every_single_cut() -> None:
    expected = by_wsproto(CONVERSATION)
    assert expected == ours([CONVERSATION])
    assert expected == ours(CONVERSATION[at : at + 1] for at in range(len(CONVERSATION)))
    for cut in range(len(CONVERSATION)):
        assert expected == ours([CONVERSATION[:cut], CONVERSATION[cut:]])


def test_a_message_of_exactly_the_limit_arrives() -> None:
    payload = b"x" * LIMIT
    half = LIMIT // 2
    fragments = client_frame(TEXT, payload[:half], fin=False) + client_frame(CONTINUATION, payload[half:])
    assert ours([client_frame(TEXT, payload)]).messages == [(frames.TEXT, payload)]
    assert ours([fragments]).messages == [(frames.TEXT, payload)]


def test_a_message_over_the_limit_is_refused_by_its_header_alone() -> None:
    header = client_frame(BINARY, b"x" * (LIMIT + 1))[:10]
    assert ours([header]).code == 1009


def test_fragments_over_the_limit_are_refused_by_the_header_that_exceeds_it() -> None:
    begun = client_frame(BINARY, b"x" * LIMIT, fin=False)
    assert ours([begun]).code is None
    assert ours([begun, client_frame(CONTINUATION, b"x")[:2]]).code == 1009


@pytest.mark.parametrize(
    ("reason", "data", "code"),
    [
        ("a reserved bit is set", client_frame(TEXT, b"x" * 70, reserved=4)[:2], 1002),
        ("the opcode is unknown", client_frame(0x3, b"x" * 70)[:2], 1002),
        ("the frame is not masked", client_frame(TEXT, b"x" * 70, mask=None)[:2], 1002),
        ("a control frame is fragmented", client_frame(PING, b"x" * 70, fin=False)[:2], 1002),
        ("a control frame is long", client_frame(PING, b"x" * 126)[:4], 1002),
        ("a continuation continues nothing", client_frame(CONTINUATION, b"x" * 70)[:2], 1002),
        ("a length is longer than it needs", client_frame(TEXT, b"x" * 70, length_bytes=3)[:4], 1002),
    ],
)
def test_a_header_that_no_body_can_make_right_is_refused_at_once(reason: str, data: bytes, code: int) -> None:
    assert ours([data]).code == code, reason


@pytest.mark.parametrize(
    "data",
    [
        client_frame(TEXT, b"caf\xe9"),
        client_frame(TEXT, b"\xed\xa0\x80"),  # a surrogate
        client_frame(TEXT, b"caf\xc3", fin=False) + client_frame(CONTINUATION, b"x", fin=False),
        client_frame(TEXT, b"caf\xc3", fin=False) + client_frame(CONTINUATION, b""),
    ],
)
def test_text_that_is_not_utf8_is_refused_with_1007_fragments_as_soon_as_they_cannot_be_right(data: bytes) -> None:
    assert ours([data]).code == 1007


def test_binary_may_be_anything() -> None:
    assert ours([client_frame(BINARY, b"caf\xe9")]).messages == [(frames.BINARY, b"caf\xe9")]


def test_what_came_before_an_error_is_delivered() -> None:
    outcome = ours([client_frame(TEXT, b"hello") + client_frame(TEXT, b"\xff")])
    assert (outcome.messages, outcome.code) == ([(frames.TEXT, b"hello")], 1007)


def test_a_header_alone_reserves_nothing() -> None:
    reader = FrameReader(LIMIT)
    reader.read(client_frame(BINARY, b"x" * LIMIT)[:LONGEST_HEADER], [])
    assert reader.buffered == LONGEST_HEADER


def test_a_reader_between_messages_holds_nothing() -> None:
    reader = FrameReader(LIMIT)
    reader.read(CONVERSATION[: CONVERSATION.index(client_frame(CLOSE, close_payload(1000, b"bye")))], [])
    assert reader.buffered == 0


@given(payload=st.binary(max_size=300), mask=masks)
@example(payload=b"\x00" * 9, mask=b"\x00\x00\x00\x01")
def test_masking_twice_changes_nothing_and_masking_once_is_the_definition(payload: bytes, mask: bytes) -> None:
    masked = frames.unmask(payload, mask)
    assert masked == bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    assert frames.unmask(masked, mask) == payload


@settings(deadline=None)
@given(contents=st.lists(st.tuples(st.sampled_from([frames.TEXT, frames.BINARY]), payloads), max_size=4))
def test_frames_that_we_build_can_be_taken_apart_again_and_a_client_reads_them(
    contents: list[tuple[int, bytes]],
) -> None:
    built = b"".join(frames.frame(payload, first) for first, payload in contents)
    assert list(frames.payloads(built)) == contents
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(built)
    parts = [event for event in client.events() if isinstance(event, TextMessage | BytesMessage)]
    text = "".join(part.data for part in parts if isinstance(part, TextMessage)).encode()
    assert text == b"".join(payload for first, payload in contents if first == frames.TEXT)


@given(reason=st.text(max_size=200))
def test_a_close_frame_is_a_control_frame_with_a_reason_that_is_text(reason: str) -> None:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(frames.close_frame(1008, reason))
    (event,) = client.events()
    assert isinstance(event, CloseConnection)
    assert event.code == 1008
    assert reason.startswith(event.reason or "")
