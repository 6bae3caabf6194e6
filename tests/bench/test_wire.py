from __future__ import annotations

from bench.load.dialect import framed
from bench.load.marks import mark, message_id
from bench.load.wire import PING, TEXT, client_frame, split_frames, split_responses, upgrade
from tertulia.engine.frames import PING as SERVER_PING
from tertulia.engine.frames import FrameReader, frame

SIZES = (0, 1, 125, 126, 65535, 65536)


def read(data: bytes) -> list[tuple[int, bytes]]:
    messages: list[tuple[int, bytes]] = []
    FrameReader(1 << 20).read(data, messages)
    return messages


def test_the_server_reads_what_the_client_frames() -> None:
    sent = b"".join(client_frame(b"x" * size) for size in SIZES)
    assert read(sent) == [(TEXT, b"x" * size) for size in SIZES]


def test_a_template_has_the_size_of_what_it_becomes() -> None:
    template = framed(b'100 %% of "%(id)b", and %(mark)b')
    filled = template % {b"id": message_id(1, 2), b"mark": mark(1, 2, 3)}
    assert read(filled) == [(TEXT, b'100 % of "' + message_id(1, 2) + b'", and ' + mark(1, 2, 3))]


def test_a_template_may_have_a_size_that_looks_like_a_placeholder() -> None:
    size = ord("%") - len(mark(1, 2, 3))  # the header holds the size
    filled = framed(b"%(mark)b" + b"x" * size) % {b"mark": mark(1, 2, 3)}
    assert read(filled) == [(TEXT, mark(1, 2, 3) + b"x" * size)]


def test_frames_are_split_wherever_the_bytes_are_cut() -> None:
    whole = b"".join(frame(b"y" * size) for size in (3, 126, 70000)) + frame(b"?", SERVER_PING)
    expected = [(TEXT, b"yyy"), (TEXT, b"y" * 126), (TEXT, b"y" * 70000), (PING, b"?")]
    for cut in (1, 4, 6, 8, 140, 150, 60000, len(whole) - 1):
        first, end = split_frames(whole[:cut])
        rest, _ = split_frames(whole[end:])
        assert [*first, *rest] == expected


def test_responses_are_split_by_their_length() -> None:
    one, two = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 503 \r\ncontent-length: 0\r\n\r\n"
    assert split_responses(one + two) == ([201, 503], len(one + two))
    assert split_responses(one + two[:20]) == ([201], len(one))
    assert split_responses(one[:-1]) == ([], 0)


def test_a_response_in_chunks_ends_with_the_empty_one() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = head + b"2\r\nok\r\n0\r\n\r\n"
    assert split_responses(whole) == ([200], len(whole))
    assert split_responses(whole[:-1]) == ([], 0)
    assert split_responses(head + b"0\r\n\r\n") == ([200], len(head) + 5)


def test_the_upgrade_names_what_the_server_needs() -> None:
    request = upgrade("h", 1, "/cable?token=t", subprotocol="p", headers=[("X-A", "b")]).decode()
    assert request.startswith("GET /cable?token=t HTTP/1.1\r\nHost: h:1\r\n")
    assert "\r\nSec-WebSocket-Protocol: p\r\nX-A: b\r\n" in request
    assert request.endswith("\r\n\r\n")
