"""The outbox against a model: whatever the socket takes, and whenever, what leaves is a sequence of whole frames."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tertulia.engine.group import Group, PlainSink
from tertulia.engine.outbox import WRITE_CHUNK, Outbox

LIMIT = 1000
EVERYTHING = 10**9
DESCRIPTOR = 99  # of no socket: without a ring nobody writes to it


class Wire:
    """A socket that takes what it is told to take, and an owner that writes down what it hears."""

    def __init__(self) -> None:
        self.room = EVERYTHING
        self.taken = bytearray()
        self.error: OSError | None = None
        self.writes: list[int] = []
        self.wanted = False
        self.breaks = 0
        self.overflows = 0

    def send(self, data: bytes | memoryview) -> int:
        if self.error is not None:
            raise self.error
        if self.room == 0:
            raise BlockingIOError
        part = bytes(data[: self.room])
        self.room -= len(part)
        self.taken += part
        self.writes.append(len(data))
        return len(part)

    def want_writable(self, wanted: bool) -> None:
        self.wanted = wanted

    def broken(self) -> None:
        self.breaks += 1

    def overflowed(self) -> None:
        self.overflows += 1


def outbox_on(wire: Wire, limit: int = LIMIT) -> Outbox:
    return Outbox(wire.send, wire, limit, DESCRIPTOR)


def blocked(limit: int = LIMIT, taken: int = 1) -> tuple[Wire, Outbox]:
    """An outbox whose first frame is half out."""
    wire = Wire()
    wire.room = taken
    outbox = outbox_on(wire, limit)
    outbox.send(b"first.")
    return wire, outbox


def drain(wire: Wire, outbox: Outbox) -> bytes:
    wire.room = EVERYTHING
    for _ in range(1000):
        if not outbox.waiting:
            return bytes(wire.taken)
        outbox.flush()
    raise AssertionError("the outbox does not become empty although the socket takes everything")


def test_without_a_backlog_frames_are_written_at_once_and_nothing_is_kept() -> None:
    wire = Wire()
    outbox = outbox_on(wire)
    outbox.send(b"one")
    outbox.send_ephemeral(b"two")
    assert (bytes(wire.taken), outbox.waiting, wire.wanted) == (b"onetwo", 0, False)


def test_what_the_socket_does_not_take_is_written_in_order_when_it_is_writable() -> None:
    wire, outbox = blocked()
    outbox.send(b"second.")
    assert wire.wanted
    assert drain(wire, outbox) == b"first.second."
    assert not wire.wanted


def test_after_a_backlog_frames_are_written_at_once_again() -> None:
    wire, outbox = blocked()
    drain(wire, outbox)
    outbox.send(b"second.")
    assert (bytes(wire.taken), outbox.waiting) == (b"first.second.", 0)


def test_ephemeral_frames_go_first_when_the_bound_is_reached() -> None:
    wire, outbox = blocked()
    outbox.send_ephemeral(b"typing")
    outbox.send(b"a" * (LIMIT - 3))
    assert (outbox.shed, wire.overflows) == (1, 0)
    assert drain(wire, outbox) == b"first." + b"a" * (LIMIT - 3)


def test_an_ephemeral_frame_that_has_no_room_is_not_even_queued() -> None:
    wire, outbox = blocked()
    outbox.send(b"a" * LIMIT)
    outbox.send_ephemeral(b"typing")
    assert (outbox.shed, wire.overflows) == (1, 0)


def test_over_the_bound_the_owner_hears_of_it_once_and_only_the_half_sent_frame_is_kept() -> None:
    wire, outbox = blocked()
    for _ in range(10):
        outbox.send(b"b" * LIMIT)
    assert wire.overflows == 1
    outbox.send_ephemeral(b"typing")
    outbox.finish(b"farewell")
    outbox.send(b"too late")
    assert drain(wire, outbox) == b"first.farewell"
    assert outbox.finished


def test_over_the_bound_a_frame_that_has_not_begun_to_leave_is_dropped() -> None:
    wire = Wire()
    wire.room = 0
    outbox = outbox_on(wire)
    outbox.send(b"first.")
    outbox.send(b"b" * (LIMIT + 1))
    assert not outbox.finished
    outbox.flush()  # the socket is writable before the owner comes to say farewell
    outbox.finish(b"farewell")
    assert drain(wire, outbox) == b"farewell"


def test_one_send_larger_than_the_bound_is_under_way_and_no_overflow() -> None:
    wire = Wire()
    wire.room = 10
    outbox = outbox_on(wire)
    history = b"h" * (50 * LIMIT)
    outbox.send(history)
    outbox.send(b"live")
    assert wire.overflows == 0
    assert drain(wire, outbox) == history + b"live"


def test_finish_follows_what_waits() -> None:
    wire, outbox = blocked()
    outbox.send(b"second.")
    outbox.finish(b"last")
    outbox.send(b"too late")
    assert not outbox.finished
    assert drain(wire, outbox) == b"first.second.last"
    assert outbox.finished


def test_finish_without_a_backlog_is_out_at_once() -> None:
    wire = Wire()
    outbox = outbox_on(wire)
    outbox.finish(b"last")
    outbox.send(b"too late")
    outbox.send_ephemeral(b"too late")
    assert (bytes(wire.taken), outbox.finished, wire.wanted) == (b"last", True, False)


def test_finish_without_a_backlog_waits_for_what_the_socket_does_not_take() -> None:
    wire = Wire()
    wire.room = 2
    outbox = outbox_on(wire)
    outbox.finish(b"last")
    assert not outbox.finished
    assert drain(wire, outbox) == b"last"


@pytest.mark.parametrize("error", [BrokenPipeError(), ConnectionResetError()])
def test_a_socket_that_fails_is_reported_once_and_everything_is_dropped(error: OSError) -> None:
    wire, outbox = blocked()
    outbox.send(b"second.")
    wire.error = error
    outbox.flush()
    outbox.flush()
    outbox.send(b"third.")
    outbox.finish(b"last")
    assert (wire.breaks, outbox.waiting, outbox.finished) == (1, 0, True)


def test_a_socket_that_fails_at_the_first_write_is_reported_too() -> None:
    wire = Wire()
    wire.error = BrokenPipeError()
    outbox = outbox_on(wire)
    outbox.send(b"first.")
    outbox.send(b"second.")
    assert (wire.breaks, outbox.waiting) == (1, 0)


def test_small_frames_leave_joined_and_not_more_at_a_time_than_a_chunk() -> None:
    wire, outbox = blocked(limit=10 * WRITE_CHUNK, taken=6)
    wire.room = 0
    outbox.send(b"x" * 100)
    for _ in range(WRITE_CHUNK // 50):
        outbox.send(b"x" * 100)
    wire.writes.clear()
    drain(wire, outbox)
    assert len(wire.writes) == 3
    assert max(wire.writes) <= WRITE_CHUNK


class Listener(PlainSink):
    """Another member of a group."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def send(self, frames: bytes) -> None:
        self.heard.append(frames)


def test_a_group_writes_to_the_socket_itself_while_nothing_waits() -> None:
    wire = Wire()
    group = Group()
    outbox_on(wire).enter(group)
    assert outbox_on(wire).socket() == (DESCRIPTOR, wire.send)


def test_what_a_group_writes_stays_behind_what_waits_whoever_made_it_wait() -> None:
    wire, outbox = blocked(taken=3)
    group = Group()
    outbox.enter(group)
    wire.room = EVERYTHING
    group.write(b"second.")
    assert drain(wire, outbox) == b"first.second."
    group.write(b"third.")
    assert bytes(wire.taken) == b"first.second.third."


@pytest.mark.parametrize("room", [0, 4])
def test_a_member_that_cannot_take_all_keeps_the_rest_and_the_others_get_theirs(room: int) -> None:
    wire, before, after = Wire(), Listener(), Listener()
    wire.room = room
    outbox = outbox_on(wire)
    group = Group()
    for sink in (before, outbox, after):
        sink.enter(group)
    group.write(b"frame.")
    group.write(b"another.")
    assert (outbox.waiting, wire.wanted) == (14 - room, True)
    assert before.heard == after.heard == [b"frame.", b"another."]
    assert drain(wire, outbox) == b"frame.another."


def test_a_member_whose_socket_fails_breaks_alone_and_once() -> None:
    wire, other = Wire(), Listener()
    wire.error = BrokenPipeError()
    group = Group()
    outbox_on(wire).enter(group)
    other.enter(group)
    group.write(b"frame.")
    group.write(b"another.")
    assert (wire.breaks, other.heard) == (1, [b"frame.", b"another."])


def test_who_has_left_a_group_gets_nothing_more_of_it() -> None:
    wire = Wire()
    outbox = outbox_on(wire)
    one = Group()
    another = Group()
    outbox.enter(one)
    outbox.enter(another)
    outbox.leave(one)
    one.write(b"of one.")
    another.write(b"of another.")
    assert bytes(wire.taken) == b"of another."


class OutboxMachine(RuleBasedStateMachine):
    """The model keeps frames one by one: (bytes, ephemeral), and how much of the first has left."""

    @initialize(room=st.integers(0, 50))
    def begin(self, room: int) -> None:
        self.wire = Wire()
        self.wire.room = room
        self.outbox = outbox_on(self.wire)
        self.groups = (Group(), Group())
        for group in self.groups:
            self.outbox.enter(group)
        self.expected = bytearray()  # what must have left
        self.queue: deque[tuple[bytes, bool]] = deque()
        self.half = 0
        self.overflowed = self.finished = False
        self.largest = 0
        self.number = 0

    def frame(self, size: int) -> bytes:
        self.number += 1
        frame = (b"%d:" % self.number + b"." * size)[: size or 1]
        self.largest = max(self.largest, len(frame))
        return frame

    def let_out(self, room: int) -> None:
        while self.queue and room:
            head = self.queue[0][0]
            part = head[self.half : self.half + room]
            self.expected += part
            room -= len(part)
            self.half += len(part)
            if self.half == len(head):
                self.queue.popleft()
                self.half = 0

    def behind_the_first(self) -> int:
        return sum(len(frame) for frame, _ in list(self.queue)[1:])

    def keep(self, frames: list[tuple[bytes, bool]]) -> None:
        self.queue = deque([self.queue[0], *frames] if self.half else frames)

    @rule(size=st.one_of(st.integers(1, 60), st.integers(200, 1500)), group=st.sampled_from((None, 0, 1)))
    def send(self, size: int, group: int | None) -> None:
        frame = self.frame(size)
        direct = not self.queue and not (self.overflowed or self.finished)
        room = self.wire.room
        if group is None:
            self.outbox.send(frame)
        else:
            self.groups[group].write(frame)
        if self.overflowed or self.finished:
            return
        self.queue.append((frame, False))
        if direct:
            self.let_out(room)
        elif self.behind_the_first() > LIMIT:
            waiting = list(self.queue)[1 if self.half else 0 :]
            self.keep([entry for entry in waiting if not entry[1]])
            if self.behind_the_first() > LIMIT:
                self.overflowed = True
                self.keep([])

    @rule(size=st.integers(1, 300))
    def send_ephemeral(self, size: int) -> None:
        frame = self.frame(size)
        direct = not self.queue and not (self.overflowed or self.finished)
        room = self.wire.room
        self.outbox.send_ephemeral(frame)
        if self.overflowed or self.finished:
            return
        if direct:
            self.queue.append((frame, False))
            self.let_out(room)
        elif self.behind_the_first() + len(frame) <= LIMIT:
            self.queue.append((frame, True))

    @rule(room=st.integers(0, 900))
    def become_writable(self, room: int) -> None:
        self.wire.room = room
        while self.wire.room and self.outbox.waiting:
            self.outbox.flush()
        self.let_out(room)
        self.wire.room = 0

    @rule(room=st.integers(0, 900))
    def make_room_without_a_flush(self, room: int) -> None:
        self.wire.room = room

    @precondition(lambda self: not self.finished)
    @rule()
    def finish(self) -> None:
        frame = self.frame(40)
        direct = not self.queue and not self.overflowed
        room = self.wire.room
        self.outbox.finish(frame)
        self.finished = True
        self.queue.append((frame, False))
        if direct:
            self.let_out(room)

    @invariant()
    def what_left_is_what_the_model_let_out(self) -> None:
        assert bytes(self.expected) == bytes(self.wire.taken)

    @rule(group=st.sampled_from((0, 1)))
    def leave_and_come_back(self, group: int) -> None:
        self.outbox.leave(self.groups[group])
        assert not self.groups[group]
        self.outbox.enter(self.groups[group])

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.outbox.waiting == sum(len(frame) for frame, _ in self.queue) - self.half
        assert self.outbox.waiting <= LIMIT + self.largest + 40

    @invariant()
    def the_owner_hears_of_an_overflow_exactly_once(self) -> None:
        assert self.wire.overflows == self.overflowed

    @invariant()
    def it_wants_to_write_exactly_while_something_waits(self) -> None:
        assert self.wire.wanted or not self.queue
        assert self.outbox.finished == (self.finished and not self.queue)

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            sizes = [len(frame) for frame, _ in self.queue]
            left = bytes(self.expected) + b"".join(frame for frame, _ in self.queue)[self.half :]
            assert left == drain(self.wire, self.outbox), sizes


OutboxMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestOutboxMachine = OutboxMachine.TestCase
