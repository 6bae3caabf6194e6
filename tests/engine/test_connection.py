"""One connection between a socket and its peer, over real sockets: messages, endings, slow clients, bugs."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Hashable
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from tertulia.engine import frames
from tertulia.engine.config import SocketLimits
from tertulia.engine.connection import Connection
from tertulia.engine.frames import close_frame, frame
from tertulia.engine.hub import Hub
from tertulia.engine.reactor import Reactor

from .sockets import Line, at_end, read_all, settle, socket_pair
from .wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, close_payload

LIMITS = SocketLimits(outbox=16 * 1024)
BUFFER = 4096


@dataclass(frozen=True)
class Raw:
    """A format that shows a publication as it is."""

    name: Hashable = ""

    def frame(self, publication: bytes) -> bytes:
        return frame(publication)


class Room:
    """Connections of one topic, as the gateway would have them: a session that is closed leaves the hub."""

    def __init__(self, reactor: Reactor, hub: Hub[bytes], size: int, buffer: int | None = BUFFER) -> None:
        self.hub = hub
        self.lines = [Line(reactor, LIMITS, buffer) for _ in range(size)]
        self.publishing = False
        for line in self.lines:
            self.hub.join("topic", Raw(), line.connection.outbox)
            self._leave_when_closed(line)

    def _leave_when_closed(self, line: Line) -> None:
        count = line.peer.closed

        def closed() -> None:
            assert not self.publishing, "a broadcast closed a session while it iterated over the subscribers"
            self.hub.leave("topic", Raw(), line.connection.outbox)
            count()

        line.peer.closed = closed  # type: ignore[method-assign]  # the recorder's own, with the gateway's part added

    def publish(self, publication: bytes) -> None:
        self.publishing = True
        self.hub.publish("topic", [publication])
        self.publishing = False

    @property
    def subscriptions(self) -> int:
        return self.hub.statistics().subscriptions


@pytest.fixture(params=["one by one", "through a ring"])
def hub(request: pytest.FixtureRequest) -> Hub[bytes]:
    return Hub(request.getfixturevalue("ring") if request.param == "through a ring" else None)


async def test_messages_reach_the_peer_in_order_and_what_it_sends_reaches_the_client(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    line = Line(reactor, LIMITS)
    line.client.send(client_frame(TEXT, b"one") + client_frame(BINARY, b"two") + client_frame(TEXT, b"three"))
    await settle()
    line.connection.outbox.send(frame(b"answer"))
    assert line.peer.messages == [(frames.TEXT, b"one"), (frames.BINARY, b"two"), (frames.TEXT, b"three")]
    assert line.frames() == [(frames.TEXT, b"answer")]


async def test_pings_are_answered_between_fragments_and_pongs_are_not(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    line = Line(reactor, LIMITS)
    line.client.send(client_frame(TEXT, b"a", fin=False) + client_frame(PING, b"!") + client_frame(PONG, b"?"))
    line.client.send(client_frame(CONTINUATION, b"b"))
    await settle()
    assert line.frames() == [(frames.PONG, b"!")]
    assert line.peer.texts == [b"ab"]


async def test_the_client_s_closing_is_answered_and_the_session_is_told_once(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    line = Line(reactor, LIMITS)
    line.client.send(client_frame(CLOSE, close_payload(1000, b"bye")) + client_frame(TEXT, b"after"))
    await settle()
    assert line.frames() == [(frames.CLOSE, close_payload(1000, b"bye"))]
    assert at_end(line.client)
    line.client.close()
    await settle()
    assert line.ended
    assert (line.peer.closings, line.peer.messages) == (1, [])
    assert reactor.statistics().sockets == 0


async def test_our_closing_follows_what_was_sent_and_ends_when_the_client_ends(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    line = Line(reactor, LIMITS)
    line.connection.outbox.send(frame(b"before"))
    line.connection.close(1001, "going", last=frame(b"goodbye"))
    line.connection.close(1000, "twice")
    line.connection.outbox.send(frame(b"after"))
    assert line.frames() == [
        (frames.TEXT, b"before"),
        (frames.TEXT, b"goodbye"),
        (frames.CLOSE, close_payload(1001, b"going")),
    ]
    assert line.peer.closings == 1
    line.client.send(client_frame(TEXT, b"late"))
    await settle()
    assert not line.ended
    line.client.close()
    await settle()
    assert line.ended
    assert (line.peer.closings, line.peer.messages) == (1, [])


async def test_a_client_that_does_not_close_is_closed_in_time(reactor: Reactor, autojump_clock: MockClock) -> None:
    line = Line(reactor, LIMITS)
    line.connection.close()
    await trio.sleep(LIMITS.close_timeout - 1)
    assert not line.ended
    await trio.sleep(2)
    assert line.ended
    assert line.peer.closings == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (client_frame(TEXT, b"x", reserved=1), 1002),
        (client_frame(TEXT, b"\xff"), 1007),
        (client_frame(BINARY, b"x" * (LIMITS.message + 1))[:14], 1009),
        (client_frame(TEXT, b"\x01"), 1008),
    ],
)
async def test_a_violation_is_answered_with_its_code_after_what_came_before_it(
    reactor: Reactor, autojump_clock: MockClock, data: bytes, code: int
) -> None:
    line = Line(reactor, LIMITS)
    line.client.send(client_frame(TEXT, b"before") + data + client_frame(TEXT, b"after"))
    await settle()
    ((first, payload),) = line.frames()
    assert (first, int.from_bytes(payload[:2], "big")) == (frames.CLOSE, code)
    assert (line.peer.texts, line.peer.closings) == ([b"before"], 1)


@pytest.mark.parametrize("abruptly", [True, False])
async def test_a_client_that_vanishes_ends_the_session_once(
    reactor: Reactor, autojump_clock: MockClock, abruptly: bool
) -> None:
    line = Line(reactor, LIMITS)
    if abruptly:
        line.connection.outbox.send(frame(b"unread"))
    line.client.close()
    await settle()
    assert line.ended
    assert line.peer.closings == 1


async def test_a_paused_connection_reads_nothing_until_it_resumes(reactor: Reactor, autojump_clock: MockClock) -> None:
    line = Line(reactor, LIMITS)
    line.connection.pause_reading()
    line.client.send(client_frame(TEXT, b"wait"))
    await settle()
    assert line.peer.messages == []
    line.connection.resume_reading()
    line.connection.resume_reading()
    await settle()
    assert line.peer.texts == [b"wait"]


async def test_a_paused_connection_still_writes(reactor: Reactor, autojump_clock: MockClock) -> None:
    line = Line(reactor, LIMITS, BUFFER)
    line.connection.pause_reading()
    sent = frame(b"x" * 10_000)
    line.connection.outbox.send(sent)
    assert line.connection.outbox.waiting
    received = b""
    while len(received) < len(sent):
        received += read_all(line.client)
        await settle()
    assert received == sent


async def test_a_paused_connection_whose_client_has_gone_does_not_spin_and_ends_when_it_resumes(
    reactor: Reactor,
    autojump_clock: MockClock,
) -> None:
    line = Line(reactor, LIMITS)
    line.connection.pause_reading()
    line.client.close()
    await settle()
    before = reactor.statistics().wakeups
    await trio.sleep(60)
    assert reactor.statistics().wakeups == before
    line.connection.resume_reading()
    await settle()
    assert (line.ended, line.peer.closings) == (True, 1)


async def test_a_paused_connection_that_is_closed_notices_the_client_s_end(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    line = Line(reactor, LIMITS)
    line.connection.pause_reading()
    line.connection.close()
    line.client.close()
    await settle()
    assert line.ended


async def test_a_bug_in_one_session_closes_it_with_1011_and_no_other(
    reactor: Reactor, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    unlucky, sound = Line(reactor, LIMITS), Line(reactor, LIMITS)
    unlucky.client.send(client_frame(TEXT, b"\x00"))
    sound.client.send(client_frame(TEXT, b"hello"))
    await settle()
    ((first, payload),) = unlucky.frames()
    assert (first, payload[:2]) == (frames.CLOSE, (1011).to_bytes(2, "big"))
    assert (unlucky.peer.closings, sound.peer.texts) == (1, [b"hello"])
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "the session has a bug" in str(record.exc_info[1])


async def test_a_session_that_fails_even_when_it_is_closed_still_loses_its_socket(
    reactor: Reactor, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    unlucky, sound = Line(reactor, LIMITS), Line(reactor, LIMITS)
    unlucky.peer.fail_when_closed = True
    unlucky.client.send(client_frame(TEXT, b"\x00"))
    await settle()
    sound.client.send(client_frame(TEXT, b"hello"))
    await settle()
    assert (unlucky.ended, unlucky.peer.closings, sound.peer.texts) == (True, 1, [b"hello"])


async def test_a_subscriber_that_reads_too_slowly_is_told_so_and_the_others_miss_nothing(
    reactor: Reactor, hub: Hub[bytes], autojump_clock: MockClock
) -> None:
    room = Room(reactor, hub, 3)
    slow, *others = room.lines
    began = trio.current_time()
    received: dict[Line, bytes] = dict.fromkeys(others, b"")
    count = 0
    while not slow.peer.closings:
        count += 1
        room.publish(b"%06d" % count + b"." * 500)
        await settle()
        for line in others:
            received[line] += read_all(line.client)
    room.publish(b"afterwards")
    assert trio.current_time() == began
    assert room.subscriptions == 2
    for line in others:
        found = [payload[:6] for _, payload in frames.payloads(received[line] + read_all(line.client))]
        assert found == [*(b"%06d" % number for number in range(1, count + 1)), b"afterw"]

    left = b""
    while not slow.ended and not at_end_of(left):
        left += read_all(slow.client)
        await settle()
    *delivered, farewell, closing = frames.payloads(left)
    assert [payload[:6] for _, payload in delivered] == [b"%06d" % number for number in range(1, len(delivered) + 1)]
    assert farewell == (frames.TEXT, b"too_slow")
    assert closing == (frames.CLOSE, close_payload(1000, b"too slow"))
    assert slow.peer.closings == 1


def at_end_of(stream: bytes) -> bool:
    return stream.endswith(close_frame(1000, "too slow"))


async def test_a_subscriber_that_never_reads_is_closed_in_time_and_holds_no_memory(
    reactor: Reactor, hub: Hub[bytes], autojump_clock: MockClock
) -> None:
    room = Room(reactor, hub, 2)
    stuck, sound = room.lines
    while not stuck.peer.closings:
        room.publish(b"x" * 500)
        assert stuck.connection.outbox.waiting <= LIMITS.outbox + 2 * 510
        await settle()
        read_all(sound.client)
    assert stuck.connection.outbox.waiting < 1000
    await trio.sleep(LIMITS.close_timeout + 1)
    assert stuck.ended
    assert (stuck.peer.closings, sound.peer.closings) == (1, 0)
    assert reactor.statistics().sockets == 1


async def test_a_burst_that_overflows_everybody_within_one_turn_ends_each_session_once(
    reactor: Reactor, hub: Hub[bytes], autojump_clock: MockClock
) -> None:
    room = Room(reactor, hub, 5)
    for _ in range(200):
        room.publish(b"x" * 500)
    assert room.subscriptions == 5  # nobody leaves while somebody may be iterating
    await settle()
    assert room.subscriptions == 0
    assert [line.peer.closings for line in room.lines] == [1] * 5


async def test_subscribers_whose_sockets_are_broken_leave_soon_after_a_broadcast_not_during_it(
    reactor: Reactor,
    hub: Hub[bytes],
    autojump_clock: MockClock,
) -> None:
    room = Room(reactor, hub, 5)
    began = trio.current_time()
    for line in room.lines[::2]:
        line.client.close()
    for _ in range(3):
        room.publish(b"x" * 500)
    await settle()
    assert trio.current_time() == began
    assert [line.peer.closings for line in room.lines] == [1, 0, 1, 0, 1]
    assert room.subscriptions == 2


async def test_the_session_s_end_is_not_told_twice_by_an_overflow_and_a_bug_together(
    reactor: Reactor, hub: Hub[bytes], autojump_clock: MockClock
) -> None:
    room = Room(reactor, hub, 1)
    (line,) = room.lines
    line.client.send(client_frame(TEXT, b"\x00"))
    for _ in range(200):
        room.publish(b"x" * 500)
    line.client.close()
    await settle()
    await trio.sleep(LIMITS.close_timeout + 1)
    assert (line.ended, line.peer.closings) == (True, 1)


async def test_an_aborted_connection_is_closed_at_once(reactor: Reactor, autojump_clock: MockClock) -> None:
    line = Line(reactor, LIMITS)
    line.connection.abort()
    line.connection.abort()
    assert (line.ended, line.peer.closings, at_end(line.client)) == (True, 1, True)


async def test_a_connection_at_rest_costs_less_than_a_kibibyte() -> None:
    """What Python allocates for the connection, its reader, its outbox and its place in the selector."""
    reactor = Reactor()
    count = 200
    socks = [socket_pair()[0] for _ in range(count)]
    gc.collect()
    tracemalloc.start()
    connections = [Connection(sock, reactor, LIMITS) for sock in socks]
    allocated, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    reactor.close()
    assert len(connections) == count
    assert allocated / count < 1024
