"""Follow a conversation from inside a trio program: an async iterator that starts at a position.

The subscriber gets what it missed, then live events, each once and in order. It is held to the same bound as a slow
socket: one that does not keep up is told so, and subscribes again from the last seq that it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from ..actors.access import AccountAccess
from ..actors.conversation import Collaborators
from ..actors.entities import Principal, Visitor
from ..actors.events import Event, conversation_stream, event_of
from ..actors.policies.conversation import ConversationPolicy
from ..engine.errors import Conflict, NotFound, Overloaded
from ..engine.recovery import Gap, merge
from ..storage.records import Conversation

#: Events that may wait for a subscriber before it is told that it lags.
MAX_WAITING = 10_000


class Lagging(Overloaded):
    """This subscriber does not keep up; subscribe again after the last seq that it has."""


class EventFeed:
    """The events of one conversation, for one principal. Made by `follow`."""

    def __init__(self, principal: Principal) -> None:
        self._audience = "visitor" if isinstance(principal, Visitor) else "member"
        self._waiting: deque[Event] = deque()
        self._news = trio.Event()
        self._lagging = False
        self._denied = False

    def put(self, events: Sequence[Event]) -> None:
        if self._denied:
            return
        if len(self._waiting) + len(events) > MAX_WAITING:
            self._lagging = True
        else:
            self._waiting.extend(events)
        self._news.set()

    def deny(self) -> None:
        """The principal may not see this any more, nor what still waits."""
        self._denied = True
        self._waiting.clear()
        self._news.set()

    def __aiter__(self) -> EventFeed:
        return self

    async def __anext__(self) -> Event:
        await trio.lowlevel.checkpoint()
        while True:
            while self._waiting:
                event = self._waiting.popleft()
                if not (event.private and self._audience == "visitor"):
                    return event
            if self._denied:
                raise NotFound
            if self._lagging:
                raise Lagging
            self._news = trio.Event()
            await self._news.wait()


@asynccontextmanager
async def follow(
    world: Collaborators, principal: Principal, conversation_id: int, *, after: int | None = None
) -> AsyncGenerator[EventFeed]:
    """Subscribe for the length of the block.

    Args:
        after: the last seq that the subscriber has; None begins with what happens from now on.

    Raises:
        NotFound: there is no such conversation, or the principal may not see it; from the iterator, not any more.
        Conflict: `after` is ahead of the conversation: it is a position in another database.
        Lagging: (from the iterator) more than MAX_WAITING events wait.
    """
    topic = conversation_stream(conversation_id)
    policy = ConversationPolicy(await world.access.of(principal.account_id), principal)
    feed = EventFeed(principal)
    held: list[Event] = []
    listener: Callable[[Sequence[Event]], None] = held.extend
    facts: Conversation | None = None

    def recheck(_: AccountAccess) -> None:
        if facts is not None and not policy.can_show(facts):
            feed.deny()

    world.access.listeners.append(recheck)
    world.hub.tap(topic, listener)
    try:
        await world.hub.follow((topic,), principal.account_id)
        records = await world.reads.conversation(principal.account_id, conversation_id)
        facts = records.conversation if records is not None else None
        if facts is None or not policy.can_show(facts):
            raise NotFound
        if after is not None:
            if after > facts.last_seq:
                raise Conflict(f"Position {after} is ahead of {topic}, which is at {facts.last_seq}.")
            feed.put(await _missed(world, principal.account_id, conversation_id, after, held))
        world.hub.untap(topic, listener)
        listener = feed.put
        world.hub.tap(topic, listener)
        yield feed
    finally:
        world.access.listeners.remove(recheck)
        world.hub.untap(topic, listener)


async def _missed(
    world: Collaborators, account_id: int, conversation_id: int, after: int, held: Sequence[Event]
) -> Sequence[Event]:
    rows: list[Any] = []
    position = after
    while True:
        page = await world.reads.log(account_id, conversation_id, after=position, limit=world.limits.history_page)
        rows += page
        if len(page) < world.limits.history_page:
            break
        position = page[-1].seq
    await world.journal.published()
    stream = conversation_stream(conversation_id)
    # Even where nothing was missed: this node may have been told less than the subscriber was on another one.
    await world.hub.reach(stream, stream, rows[-1].seq if rows else after)
    # What a failed commit kept from being broadcast will come live.
    told = None if world.hub.fills_gaps else world.behind.get((account_id, conversation_id))
    missed = [event_of(row) for row in rows if told is None or row.seq <= told]
    merged = merge(missed, held, {stream: after})
    if isinstance(merged, Gap):
        raise Conflict(f"Events {merged.after + 1} to {merged.before - 1} of {merged.stream} are gone.")
    return merged
