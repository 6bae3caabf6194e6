"""What clients say to Tertulia and to peers is what the protocols want."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.cable import CableDialect
from bench.load.dialect import Client
from bench.load.marks import mark, marks_in, message_id
from bench.load.wire import split_responses
from bench.peers import HttpPost, Wire
from bench.wires import WireDialect
from tertulia.engine.frames import FrameReader

CABLE = CableDialect("h", 1, 7, (40, 41), "member", ("first", "second"), (5, 6))
FILLED = {b"id": message_id(1, 2), b"mark": mark(1, 2, 3)}
IDENTIFIER = '{"channel": "ConversationChannel", "id": 41}'


def said(data: bytes) -> list[Any]:
    """Frames of a client, each of them JSON."""
    messages: list[tuple[int, bytes]] = []
    FrameReader(1 << 16).read(data, messages)
    return [json.loads(payload) for _, payload in messages]


def body_of(request: bytes) -> bytes:
    """What a request says, which has the length that it tells."""
    head, _, body = request.partition(b"\r\n\r\n")
    statuses, end = split_responses(b"HTTP/1.1 200 \r\n" + head.partition(b"\r\n")[2] + b"\r\n\r\n" + body)
    assert statuses == [200]
    assert end == len(b"HTTP/1.1 200 \r\n") + len(request.partition(b"\r\n")[2])
    return body


def test_visitors_and_members_come_with_their_own_tokens() -> None:
    assert b"GET /cable?token=member " in CABLE.opening(Client(1))
    assert b"GET /cable?token=second " in CABLE.opening(Client(1, visitor=True))


def test_a_client_subscribes_to_its_room() -> None:
    first, last = CABLE.greeting(Client(1))
    assert said(first.sends) == [{"command": "subscribe", "identifier": IDENTIFIER}]
    assert (last.expects, last.sends) == (b"confirm_subscription", b"")


def test_who_comes_back_names_the_position_of_the_last_event() -> None:
    last = b'..."epoch":"ab12","offset":8}..."stream_id":"conversation:41","epoch":"ab12","offset":9}'
    first, caught_up = CABLE.resuming(Client(1), last)
    (subscribe,) = said(first.sends)
    assert subscribe["history"] == {"streams": {"conversation:41": {"epoch": "ab12", "offset": 9}}}
    assert caught_up.expects == b"confirm_history"


def test_a_message_carries_its_mark_and_its_id() -> None:
    (template,) = CABLE.with_text("100 % sure").messages(Client(1, sender=1))
    (message,) = said(template % FILLED)
    action = json.loads(message["data"])
    assert (message["command"], message["identifier"]) == ("message", IDENTIFIER)
    assert action["action"] == "send_message"
    assert action["content"].endswith("100 % sure")
    assert marks_in(action["content"].encode()) == [(1, 2, 3)]
    assert action["client_id"] == message_id(1, 2).decode()


def test_a_post_is_a_whole_request() -> None:
    (template,) = CABLE.messages(Client(1, sender=1, http=True))
    request = template % FILLED
    assert request.startswith(b"POST /api/v1/conversations/41/messages HTTP/1.1\r\n")
    assert marks_in(body_of(request)) == [(1, 2, 3)]


def test_typing_goes_on_and_off_in_turn() -> None:
    actions = [
        json.loads(said(template % FILLED)[0]["data"]) for template in CABLE.typing().messages(Client(1, sender=6))
    ]
    assert actions == [{"action": "typing", "on": True}, {"action": "typing", "on": False}]
    events = (
        b'{"message":{"type":"conversation.typing_on","data":{"by":{"type":"contact","id":6,"name":"V"}}}}'
        b'{"message":{"type":"conversation.typing_off","data":{"by":{"type":"contact","id":6,"name":"V"}}}}'
    )
    assert CABLE.typing().marks(events) == [(6, 1, 0), (6, 0, 0)]


WIRE = Wire(
    publish='{"room":{room},"text":"{text}"}',
    path="/rooms/{room}",
    greetings=('{"join":{room}}', '{"hello":true}'),
    ready="joined",
    heartbeat=("{}", "{}"),
    post=HttpPost("/rooms/{room}", '{"text":"{text}"}', ("X-A: b",)),
)


def test_a_peer_s_clients_say_what_its_description_says() -> None:
    dialect = WireDialect("h", 1, WIRE)
    first, last = dialect.greeting(Client(3))
    assert b"GET /rooms/3 " in dialect.opening(Client(3))
    assert said(first.sends) == [{"join": 3}, {"hello": True}]
    assert last.expects == b"joined"
    (message,) = said(dialect.messages(Client(3, sender=1))[0] % FILLED)
    assert message["room"] == 3
    assert marks_in(message["text"].encode()) == [(1, 2, 3)]
    assert {asked: said(answer) for asked, answer in dialect.answers.items()} == {b"{}": [{}]}


def test_a_peer_s_post_is_a_whole_request() -> None:
    request = WireDialect("h", 1, WIRE).messages(Client(3, sender=1, http=True))[0] % FILLED
    assert request.startswith(b"POST /rooms/3 HTTP/1.1\r\n")
    assert b"\r\nX-A: b\r\n" in request
    assert marks_in(body_of(request)) == [(1, 2, 3)]


def test_what_a_peer_cannot_do_is_said() -> None:
    neither = WireDialect("h", 1, Wire())
    with pytest.raises(ValueError, match="HTTP only"):
        neither.messages(Client(0, sender=1))
    with pytest.raises(ValueError, match="no messages by HTTP"):
        neither.messages(Client(0, sender=1, http=True))
