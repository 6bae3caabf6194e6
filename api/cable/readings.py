"""What many ask for at once is read once. In: a conversation that several clients subscribe to. Out: a `Reading`.

When everybody in a room comes back, all ask for the same: where the conversation is, and what was said since the same
message. The first one reads for itself. Whoever asks next, soon after, makes a reading that serves all who follow,
without a look at the store, for as long as it is true: the hub tells of everything that is said, changed or erased, and
the first such event ends it. So does a second, at most.

A reading is of one account and one conversation. Who may see it is asked for each client, before it is shown anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import trio

from ...actors.events import Event, conversation_stream, event_of
from ...actors.limits import ChatLimits
from ...engine.errors import TertuliaError
from ...engine.hub import Hub
from ...storage.contracts import Journal, Reads
from ...storage.records import Conversation
from ..cable_limits import CableLimits
from .history import merged, text_size
from .protocol import EventFormat

Key: TypeAlias = tuple[int, int]  # account, conversation

#: Bytes of memory that an event takes besides its text, and a piece of history besides its frames: about.
EVENT_SIZE = 1024
PIECE_SIZE = 512


class Asked(NamedTuple):
    """A conversation, and the position after which its events are wanted; None: only what happens from now on."""

    account_id: int
    conversation_id: int
    after: int | None


class Reading:
    """A conversation at one instant: its facts, and a page of its events at most, up to the last one there is."""

    __slots__ = ("_events", "_first", "_frames", "_heard", "_spoilt", "facts", "size", "until")

    def __init__(self) -> None:
        self.facts: Conversation | None = None  # until it has been read
        self.until = 0.0  # on trio's clock
        self.size = 0  # bytes, about
        self._events: Sequence[Event] = ()
        self._first = 0  # the position that they follow
        self._heard = 0  # the last seq that was told while it was read
        self._spoilt: Callable[[], object] | None = None
        self._frames: dict[tuple[EventFormat, int], bytes] = {}

    def hear(self, events: Sequence[Event]) -> None:
        """Something happened in the conversation; what has no seq changes nothing."""
        for event in events:
            if event.seq is not None:
                self._heard = max(self._heard, event.seq)
                if self._spoilt is not None:
                    self._spoilt()

    def complete(self, facts: Conversation, events: Sequence[Event], first: int, spoilt: Callable[[], object]) -> bool:
        """It has been read. Whether it is true: nothing happened that is not in it."""
        self.facts, self._events, self._first, self._spoilt = facts, events, first, spoilt
        return self._heard <= facts.last_seq

    def covers(self, after: int | None) -> bool:
        """Whether it holds all that follows this position, and proves that there is such a position."""
        assert self.facts is not None
        return after is None or self._first <= after <= self.facts.last_seq

    def frames(self, format: EventFormat, after: int, room: Callable[[int], bool]) -> bytes:
        """The events after a position that it covers, as whole frames; kept for the next one where there is room."""
        key = (format, after)
        found = self._frames.get(key)
        if found is None:
            events = self._events[after - self._first :]
            found = b"".join([frame for event in events if (frame := format.frame(event)) is not None])
            size = len(found) + len(format.identifier) + PIECE_SIZE
            if room(size):
                self._frames[key] = found
                self.size += size
        return found


class Source(Protocol):
    """Where readings come from: the gateway."""

    hub: Hub[Event]
    reads: Reads
    journal: Journal
    chat_limits: ChatLimits
    limits: CableLimits

    def told(self, key: Key, seq: int, /) -> int: ...

    def start(self, work: Callable[[], Awaitable[Any]], /) -> None: ...


class Readings:
    """The readings of one gateway."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._limits = source.limits
        self._readings: dict[Key, Reading] = {}  # those that are true, the oldest first
        self._under_way: dict[Key, trio.Event] = {}
        self._asked: dict[Key, float] = {}  # when somebody asked last
        self._size = 0  # bytes of all readings, about
        self._watched = False
        self._closed = False

    def find(self, asked: Asked) -> Reading | None:
        """A reading that is true now and covers what is asked."""
        reading = self._readings.get((asked.account_id, asked.conversation_id))
        if reading is None or not reading.covers(asked.after) or reading.until <= trio.current_time():
            return None
        return reading

    def frames(self, reading: Reading, format: EventFormat, after: int) -> bytes:
        """What a reading that was just found has after a position."""
        return reading.frames(format, after, self._take)

    def _take(self, size: int) -> bool:
        """Whether so many bytes more may be kept; then they are."""
        if self._size + size > self._limits.reading_bytes:
            return False
        self._size += size
        return True

    async def make(self, asked: Asked, may_see: Callable[[Conversation], bool]) -> None:
        """Read for all who ask the same, unless nobody else does. Where that fails, everybody reads for itself.

        Args:
            may_see: whether who asks may see this conversation; nothing more is read for anybody else.
        """
        key = asked[:2]
        if self._source.hub.fills_gaps or not self._is_wanted(key):
            return
        under_way = self._under_way.get(key)
        if under_way is not None:
            await under_way.wait()
            if self.find(asked) is not None:
                return
        if key in self._under_way:
            return
        self._under_way[key] = trio.Event()
        try:
            await self._make(key, asked, may_see)
        except TertuliaError:
            return  # who reads for itself gets the same answer, and tells its client
        finally:
            self._under_way.pop(key).set()

    def close(self) -> None:
        """Forget everything, and keep nothing from now on: the hub may outlive this."""
        self._closed = True
        for key in list(self._readings):
            self._drop(key)

    def _is_wanted(self, key: Key) -> bool:
        """Whether somebody else asked for it a moment ago."""
        now = trio.current_time()
        before = self._asked.pop(key, None)
        self._asked[key] = now
        if len(self._asked) > self._limits.readings:
            del self._asked[next(iter(self._asked))]
        return before is not None and now - before <= self._limits.reading_seconds

    async def _make(self, key: Key, asked: Asked, may_see: Callable[[Conversation], bool]) -> None:
        source, limits, (account_id, id) = self._source, self._source.chat_limits, key
        stream = conversation_stream(id)
        reading = Reading()
        source.hub.tap(stream, reading.hear)
        kept = False
        try:
            records = await source.reads.conversation(account_id, id)
            if records is None or records.conversation.deleted_at is not None:
                return
            facts = records.conversation
            if not may_see(facts):
                return
            first, events = facts.last_seq, list[Event]()
            if asked.after is not None and asked.after <= facts.last_seq:
                first = asked.after
                rows = await source.reads.log(account_id, id, after=max(first - 1, 0), limit=limits.history_page)
                events = merged([event_of(row) for row in rows if row.seq > first], (), {stream: first})
                characters = sum(map(text_size, rows))
                reading.size = characters + EVENT_SIZE * len(rows)
                proven = first == 0 or (rows and rows[0].seq == first)
                # Otherwise there is no such position, or more follows than one page has, or was said meanwhile.
                if not proven or len(events) != facts.last_seq - first or characters > limits.history_characters:
                    return
            # What is durable by now but was not told yet is told before this returns, and heard here.
            await source.journal.published()
            if self._closed or source.told(key, facts.last_seq) != facts.last_seq:
                return
            kept = reading.complete(facts, events, first, lambda: self._drop(key)) and self._take(reading.size)
            if kept:
                self._keep(key, reading)
        finally:
            if not kept:
                source.hub.untap(stream, reading.hear)

    def _keep(self, key: Key, reading: Reading) -> None:
        self._drop(key)
        if len(self._readings) >= self._limits.readings:
            self._drop(next(iter(self._readings)))
        reading.until = trio.current_time() + self._limits.reading_seconds
        self._readings[key] = reading
        if not self._watched:
            self._watched = True
            self._source.start(self._watch)

    def _drop(self, key: Key) -> None:
        reading = self._readings.pop(key, None)
        if reading is not None:
            self._size -= reading.size
            self._source.hub.untap(conversation_stream(key[1]), reading.hear)

    async def _watch(self) -> None:
        """Drop what is old, until there is nothing left: idle, this costs neither time nor memory."""
        while self._readings:
            await trio.sleep(self._limits.reading_seconds)
            now = trio.current_time()
            for key in [key for key, reading in self._readings.items() if reading.until <= now]:
                self._drop(key)
        self._watched = False
