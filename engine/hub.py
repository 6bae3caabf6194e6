"""Fan-out. In: publications from actors, after their commit. Next hop: every subscriber's `outbox`.

A topic's subscribers are grouped by format: (identifier, encoding, audience). A publication is encoded once per group
and the same bytes go to every outbox of it. A format may answer None: this audience must not see this publication.

A subscriber that is still reading its history is not in a group: its `tap` gets the publications instead and holds them
back, until `recovery.merge` has put history and live events into one sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from .group import Group, Sink
from .ring import Ring

P = TypeVar("P")
P_contra = TypeVar("P_contra", contravariant=True)


class Format(Hashable, Protocol[P_contra]):
    """How a group of subscribers sees publications. Equal formats share one group."""

    def frame(self, publication: P_contra, /) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class HubStatistics:
    topics: int
    subscriptions: int
    publications: int
    deliveries: int


class Topic(Generic[P]):
    """The subscribers of one name."""

    __slots__ = ("groups", "taps")

    def __init__(self) -> None:
        self.groups: dict[Format[P], Group] = {}
        self.taps: dict[Callable[[Sequence[P]], None], None] | None = None

    def empty(self) -> bool:
        return not self.groups and not self.taps


class Hub(Generic[P]):
    """All topics of one engine."""

    #: Whether subscribers get what a failed commit, or the way from another node, kept from being published.
    fills_gaps = False

    def __init__(self, ring: Ring | None = None) -> None:
        """With a ring, frames for many sockets take one system call."""
        self._ring = ring
        self._topics: dict[str, Topic[P]] = {}
        self._publications = 0
        self._deliveries = 0
        self._subscriptions = 0

    def join(self, topic: str, format: Format[P], sink: Sink) -> None:
        """Deliver the topic's publications to the sink from now on; joining twice is harmless."""
        groups = self._topic(topic).groups
        members = groups.get(format)
        if members is None:
            members = groups[format] = Group(self._ring)
        if sink not in members:
            sink.enter(members)
            self._subscriptions += 1

    def leave(self, topic: str, format: Format[P], sink: Sink) -> None:
        """Stop; leaving twice is harmless."""
        entry = self._topics.get(topic)
        members = entry.groups.get(format) if entry is not None else None
        if entry is None or members is None or sink not in members:
            return
        sink.leave(members)
        self._subscriptions -= 1
        if not members:
            del entry.groups[format]
            self._drop_if_empty(topic, entry)

    def tap(self, topic: str, listener: Callable[[Sequence[P]], None]) -> None:
        """Call the listener with each batch of publications, until `untap`."""
        entry = self._topic(topic)
        if entry.taps is None:
            entry.taps = {}
        entry.taps[listener] = None

    def untap(self, topic: str, listener: Callable[[Sequence[P]], None]) -> None:
        entry = self._topics.get(topic)
        if entry is not None and entry.taps is not None:
            entry.taps.pop(listener, None)
            self._drop_if_empty(topic, entry)

    def publish(self, topic: str, publications: Sequence[P], *, ephemeral: bool = False) -> None:
        """Hand the publications, in order, to every subscriber of the topic; never waits."""
        entry = self._topics.get(topic)
        if entry is None:
            return
        self._publications += len(publications)
        for format, members in entry.groups.items():
            if len(publications) == 1:
                frames = format.frame(publications[0])
            else:
                frames = b"".join([shown for item in publications if (shown := format.frame(item)) is not None])
            if not frames:
                continue
            self._deliveries += len(members) * len(publications)
            members.write(frames, ephemeral=ephemeral)
        if entry.taps:
            for listener in list(entry.taps):
                listener(publications)

    def has(self, topic: str) -> bool:
        """Whether anybody subscribes to it."""
        return topic in self._topics

    async def follow(self, topics: Collection[str], account_id: int) -> None:
        """Be ready for subscribers of these topics, before they read history. One node has nothing to do for it.

        Raises:
            NotFound: the account has no such topic.
            Unavailable: not now.
        """

    async def reach(self, topic: str, stream: str, seq: int) -> None:
        """Wait until subscribers were told of everything that is durable up to `seq`. On one node, they were.

        Raises:
            Unavailable: not now.
        """

    async def catch_up(self, topics: Collection[str], account_id: int) -> None:
        """Wait until the topics' subscribers were told of everything that is durable now. On one node, they were.

        Raises:
            Unavailable: not now.
        """

    def statistics(self) -> HubStatistics:
        return HubStatistics(len(self._topics), self._subscriptions, self._publications, self._deliveries)

    def _topic(self, name: str) -> Topic[P]:
        entry = self._topics.get(name)
        if entry is None:
            entry = self._topics[name] = Topic()
        return entry

    def _drop_if_empty(self, name: str, entry: Topic[Any]) -> None:
        if entry.empty():
            self._topics.pop(name, None)
