"""Fan-out over all nodes. In: publications of this node's actors, and of other nodes from the bus. Next: `engine/hub`.

The bus may lose anything at any time, so a followed topic keeps the last seq of each of its streams: a repetition is
dropped, and where a seq is missing the log in the store is read instead. Every subscriber of this node therefore sees
each event once and in order, whichever way it came. `position_check` looks for losses that no later event shows.

A topic is followed before its first subscriber reads history, and for a while after its last one left.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Sequence

import trio

from ..engine.errors import Draining, NotFound, TertuliaError, Unavailable
from ..engine.hub import Hub
from ..engine.ring import Ring
from ..storage.bus import Bus
from ..storage.contracts import Reads
from .account_check import AccountCheck
from .cluster_limits import ClusterLimits
from .entities import WallClock
from .events import Event
from .followed import Fill, Followed
from .missing import MissingEvents
from .remote_typing import RemoteTyping
from .wire import WireError, decode_events, encode_events

logger = logging.getLogger("tertulia.shared_hub")

CHANNEL = "topic:"
MISSED = "The store does not say what was missed; try again."


class SharedHub(Hub[Event]):
    """The topics of one node among many."""

    fills_gaps = True

    def __init__(
        self,
        bus: Bus,
        reads: Reads,
        wall_clock: WallClock,
        limits: ClusterLimits,
        nursery: trio.Nursery,
        ring: Ring | None = None,
    ) -> None:
        super().__init__(ring)
        self._bus = bus
        self._me = bus.node.encode()
        self._skew = skew = int(limits.clock_skew * 1000)
        self._missing = MissingEvents(reads, skew)
        self._wall_clock = wall_clock
        self._limits = limits
        self._nursery = nursery
        self._readers = trio.CapacityLimiter(limits.gap_readers)
        self.followed: dict[str, Followed] = {}
        #: The publications that were encoded last: an event goes to two topics or more, one after the other.
        self._encoded: tuple[Sequence[Event], bytes] = ((), b"")
        self._accounts = AccountCheck(self.followed, self.note, self._missing, wall_clock, skew, nursery)
        self.typing = RemoteTyping(limits, wall_clock, self._remind, self._whisper)
        self.gaps = 0
        self._closed = False

    def close(self) -> None:
        """The engine has ended: nothing can be read any more."""
        self._closed = True
        for topic, followed in list(self.followed.items()):
            followed.failure = Draining()
            self._drop(topic, followed)

    # Publications.

    def publish(self, topic: str, publications: Sequence[Event], *, ephemeral: bool = False) -> None:
        if not publications:
            return
        if ephemeral:
            self.typing.published(topic, publications)
        events, payload = self._encoded
        if events is not publications:
            payload = b"%b\0%b" % (self._me, encode_events(publications, ephemeral=ephemeral))
            self._encoded = (publications, payload)
        self._bus.publish(CHANNEL + topic, payload)
        self._deliver(topic, publications, ephemeral)

    def receive(self, topic: str, payload: bytes) -> None:
        """What came over the bus on a topic's channel."""
        origin, _, body = payload.partition(b"\0")
        if origin == self._me or topic not in self.followed:
            return
        try:
            events, ephemeral = decode_events(body)
        except WireError as error:
            logger.error("what node %r published on %s cannot be read: %s", origin, topic, error)
            return
        if ephemeral:
            self._whisper(topic, self.typing.received(topic, events))
        else:
            self._deliver(topic, events, ephemeral)

    def _remind(self, topic: str, events: Sequence[Event]) -> None:
        self._bus.publish(CHANNEL + topic, b"%b\0%b" % (self._me, encode_events(events, ephemeral=True)))

    def _whisper(self, topic: str, events: Sequence[Event]) -> None:
        if events:
            super().publish(topic, events, ephemeral=True)

    def _deliver(self, topic: str, events: Sequence[Event], ephemeral: bool) -> None:
        followed = self.followed.get(topic)
        if ephemeral or followed is None:
            super().publish(topic, events, ephemeral=ephemeral)
            return
        positions = followed.positions
        run: list[Event] = []
        for event in events:
            seq = event.seq
            if seq is None:
                run.append(event)
                continue
            position = positions.get(event.stream)
            if position is None or seq > position + 1 or event.stream in followed.filling:
                self._fill_up_to(topic, followed, event.stream, seq)
            elif seq == position + 1:
                positions[event.stream] = seq
                run.append(event)
        if run:
            super().publish(topic, run)

    # Following.

    async def follow(self, topics: Collection[str], account_id: int) -> None:
        """Begin to receive these topics. What is durable when this returns is in the store; what comes after it is
        delivered. Whoever calls this has joined or tapped the topics already, which keeps them followed.

        Raises:
            NotFound: the account has no such conversation.
            Unavailable: the store cannot say where the topics are.
        """
        wanted = list(topics)
        while wanted:
            if self._closed:
                raise Draining
            fresh = {
                topic: Followed(account_id, self._wall_clock(), trio.current_time())
                for topic in wanted
                if topic not in self.followed
            }
            if fresh:
                self.followed.update(fresh)
                # In a task of its own: others wait for it too, and whoever asked first may go away.
                self._nursery.start_soon(self._open, fresh)
            waited = {topic: self.followed[topic] for topic in wanted}
            for followed in waited.values():
                await followed.ready.wait()
            for followed in waited.values():
                if followed.account_id == account_id and followed.failure is not None:
                    raise copy.copy(followed.failure)
                if followed.account_id != account_id and followed.failure is None:
                    raise NotFound
            # What failed for a stranger says nothing about this account.
            wanted = [topic for topic, followed in waited.items() if followed.failure is not None]
            for topic in waited:
                if topic in self.followed:
                    self.followed[topic].idle_since = trio.current_time()

    async def _open(self, entries: dict[str, Followed]) -> None:
        try:
            with trio.fail_after(self._limits.reach_timeout):
                await self._bus.follow([CHANNEL + topic for topic in entries])
                for topic, followed in entries.items():
                    # The store is asked after the bus has confirmed: what falls between is seen twice, never missed.
                    try:
                        followed.positions = await self._missing.start(topic, followed)
                    except NotFound as error:
                        followed.failure = error
        except TertuliaError as error:
            self._fail(entries, error if isinstance(error, Unavailable) else Unavailable(error.detail))
        except trio.TooSlowError:
            self._fail(entries, Unavailable("The store did not answer in time."))
        except Exception:  # a bug must cost these subscribers their subscription, not everybody the engine
            logger.exception("%s cannot be followed", ", ".join(entries))
            self._fail(entries, Unavailable())
        finally:
            failed = [topic for topic, followed in entries.items() if followed.failure is not None]
            for topic in failed:
                self._drop(topic, entries[topic])
            if failed:
                self._bus.unfollow([CHANNEL + topic for topic in failed if topic not in self.followed])
            for followed in entries.values():
                followed.ready.set()

    @staticmethod
    def _fail(entries: dict[str, Followed], error: TertuliaError) -> None:
        for followed in entries.values():
            followed.failure = followed.failure or error

    async def catch_up(self, topics: Collection[str], account_id: int) -> None:
        with trio.move_on_after(self._limits.reach_timeout):
            if self._closed:
                raise Draining
            await self._accounts.ask(account_id, topics)
            for topic in topics:
                followed = self.followed.get(topic)
                if followed is not None:
                    for fill in list(followed.filling.values()):
                        await fill.done.wait()
            return
        raise Unavailable(MISSED)

    async def reach(self, topic: str, stream: str, seq: int) -> None:
        followed = self.followed.get(topic)
        if followed is None or (followed.positions.get(stream, -1) >= seq and stream not in followed.filling):
            return
        fill = self._fill_up_to(topic, followed, stream, seq)
        with trio.move_on_after(self._limits.reach_timeout):
            await fill.done.wait()
            return
        raise Unavailable(MISSED)

    async def look(self, topics: Collection[str], account_id: int) -> None:
        """Find out what the subscribers of an account's topics were not told yet, and begin to tell them.

        Raises:
            Unavailable: the store does not answer.
        """
        await self._accounts.ask(account_id, topics)

    def note(self, topic: str, stream: str, seq: int) -> None:
        """The store has the stream up to `seq`: see to it that the topic's subscribers do, too."""
        followed = self.followed.get(topic)
        if followed is not None and followed.positions.get(stream, -1) < seq:
            self._fill_up_to(topic, followed, stream, seq)

    def unfollow_idle(self) -> None:
        """Let go of topics that nobody has subscribed to for `linger` seconds."""
        now = trio.current_time()
        idle: list[str] = []
        for topic, followed in list(self.followed.items()):
            if self.has(topic):
                followed.idle_since = now
            elif now - followed.idle_since > self._limits.linger and followed.ready.is_set():
                self._drop(topic, followed)
                idle.append(CHANNEL + topic)
        if idle:
            self._bus.unfollow(idle)

    def _drop(self, topic: str, followed: Followed) -> None:
        if self.followed.get(topic) is followed:
            del self.followed[topic]
        for fill in followed.filling.values():
            fill.done.set()

    # Gaps.

    def _fill_up_to(self, topic: str, followed: Followed, stream: str, seq: int) -> Fill:
        fill = followed.filling.get(stream)
        if fill is None:
            fill = followed.filling[stream] = Fill(seq, followed.since)
            self.gaps += 1
            self._nursery.start_soon(self._fill, topic, followed, stream, fill)
        elif fill.target < seq:
            fill.target = seq
        return fill

    async def _fill(self, topic: str, followed: Followed, stream: str, fill: Fill) -> None:
        """Read a stream from the store until its position is the target, which may move on meanwhile."""
        await followed.ready.wait()
        delay = self._limits.min_backoff
        while self.followed.get(topic) is followed and followed.positions.get(stream, -1) < fill.target:
            try:
                async with self._readers:
                    await self._read_on(topic, followed, stream, fill)
                continue
            except TertuliaError as error:
                logger.warning("the store cannot say what was missed of %s: %s", stream, error.detail)
            except Exception:  # a bug must cost this stream's subscribers their news, not everybody the engine
                logger.exception("what was missed of %s cannot be read", stream)
                delay = self._limits.max_backoff
            await trio.sleep(delay)
            delay = min(2 * delay, self._limits.max_backoff)
        if followed.filling.get(stream) is fill:
            del followed.filling[stream]
        fill.done.set()

    async def _read_on(self, topic: str, followed: Followed, stream: str, fill: Fill) -> None:
        if stream not in followed.positions:
            base = await self._missing.base(stream, followed, fill.since - self._skew)
            followed.positions[stream] = base
        while followed.positions[stream] < fill.target:
            target = fill.target
            events = await self._missing.after(stream, followed.account_id, followed.positions[stream])
            if self.followed.get(topic) is not followed:
                return
            if events:
                followed.positions[stream] = events[-1].seq or target
                super().publish(topic, events)
            else:
                followed.positions[stream] = target  # erased since: nobody will see it any more
