"""A subscriber that drops and resumes the way the cable's channels do: hold back, read, merge, go live."""

from __future__ import annotations

from collections.abc import Sequence

from tertulia.actors.events import Event, event_of
from tertulia.engine.recovery import Gap, merge
from tertulia.storage.contracts import LogRow

from .kit import World

TOPIC = "conversation:1"
KEY = (1, 1)


class Subscriber:
    """What it received, in the order in which it did."""

    def __init__(self) -> None:
        self.received: list[Event] = []
        self._world: World | None = None

    @property
    def position(self) -> int:
        seq = self.received[-1].seq if self.received else 0
        assert seq is not None
        return seq

    @property
    def connected(self) -> bool:
        return self._world is not None

    def drop(self) -> None:
        """The connection is gone; what was received stays."""
        if self._world is not None:
            self._world.hub.untap(TOPIC, self._receive)
            self._world = None

    async def resume(self, world: World) -> None:
        self.drop()
        held: list[Event] = []
        hold = held.extend
        world.hub.tap(TOPIC, hold)
        rows: list[LogRow] = []
        page = world.limits.history_page
        while True:
            found = await world.reads.log(*KEY, after=rows[-1].seq if rows else self.position, limit=page)
            rows += found
            if len(found) < page:
                break
        await world.collaborators.journal.published()
        # What a failed commit kept from being broadcast comes live.
        told = world.collaborators.behind.get(KEY)
        missed = [event_of(row) for row in rows if told is None or row.seq <= told]
        events = merge(missed, held, {TOPIC: self.position})
        assert not isinstance(events, Gap), events
        self.received += events
        world.hub.untap(TOPIC, hold)
        world.hub.tap(TOPIC, self._receive)
        self._world = world

    def _receive(self, events: Sequence[Event]) -> None:
        self.received += [event for event in events if event.seq is not None]
