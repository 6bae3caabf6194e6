"""Who is there. In: connections that open and close. Out: `presence.changed` on `account:<id>`, for members.

Presence is bound to connections: nothing polls. Several connections of one person count once. Whoever loses the last
one is offline only after a grace, because a reload of the page is not a departure. One task watches over all
departures: since the grace is the same for everybody, they become due in the order in which they began.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import trio

from ..engine.hub import Hub
from .entities import Principal, System, WallClock
from .events import PRESENCE_CHANGED, Event, account_stream

Person: TypeAlias = tuple[str, int]  # (type, id)
Presentness: TypeAlias = Literal["online", "offline"]


class Presence:
    """The connected people of all accounts of one engine."""

    #: Whether people can be present who are connected elsewhere; see `shared_presence`.
    is_shared = False

    def __init__(self, hub: Hub[Event], wall_clock: WallClock, grace: float) -> None:
        self._hub = hub
        self._wall_clock = wall_clock
        self._grace = grace
        self._connections: dict[int, dict[Person, int]] = {}  # by account; 0 while the grace lasts
        self._leaving: dict[tuple[int, Person], float] = {}  # until when, on trio's clock
        self._wake = trio.Event()

    def joined(self, principal: Principal) -> None:
        """A connection of this principal is open."""
        if isinstance(principal, System):
            return
        person = (principal.type, principal.id)
        people = self._connections.setdefault(principal.account_id, {})
        known = person in people
        people[person] = people.get(person, 0) + 1
        self._leaving.pop((principal.account_id, person), None)
        if not known:
            self._changed(principal.account_id, person, "online")

    def left(self, principal: Principal) -> None:
        """A connection that had joined is closed."""
        if isinstance(principal, System):
            return
        person = (principal.type, principal.id)
        people = self._connections[principal.account_id]
        people[person] -= 1
        if people[person] == 0:
            self._leaving[principal.account_id, person] = trio.current_time() + self._grace
            self._wake.set()

    def snapshot(self, account_id: int) -> list[Event]:
        """Who is online here now, for a member that begins to listen."""
        return [self._event(account_id, person, "online") for person in self._connections.get(account_id, ())]

    async def elsewhere(self, account_id: int) -> list[Event]:
        """Who is online on other nodes only."""
        return []

    async def run(self) -> None:
        """Announce departures until cancelled."""
        while True:
            while not self._leaving:  # whoever left may be back before this task runs
                self._wake = trio.Event()
                await self._wake.wait()
            (account_id, person), until = next(iter(self._leaving.items()))
            if until > trio.current_time():
                await trio.sleep_until(until)
                continue  # whoever was waited for may have come back
            del self._leaving[account_id, person]
            people = self._connections[account_id]
            del people[person]
            if not people:
                del self._connections[account_id]
            self._changed(account_id, person, "offline")

    def _changed(self, account_id: int, person: Person, status: Presentness) -> None:
        """Somebody has come to this engine, or gone from it."""
        self._publish(account_id, person, status)

    def _publish(self, account_id: int, person: Person, status: Presentness) -> None:
        self._hub.publish(account_stream(account_id), [self._event(account_id, person, status)], ephemeral=True)

    def _event(self, account_id: int, person: Person, status: Presentness) -> Event:
        type, id = person
        name = "user_id" if type == "user" else "contact_id"
        data = {"account_id": account_id, name: id, "type": type, "status": status}
        return Event(PRESENCE_CHANGED, account_stream(account_id), None, self._wall_clock(), data, private=True)
