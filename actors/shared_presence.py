"""Who is there, on any node. In: the people of this node, and what the bus knows of others'. Out: as `presence`.

A person is online while at least one node says so. A node says it for all its people again and again, and what it says
ends after a while: the people of a node that died become offline without it. All of it is in the server behind the bus
and in that server's time:

    presence:{account}           person -> when the last node's word for that person ends
    presence:{account}:{person}  node -> when its word ends

A script that changes these says who has become online or offline by it, and the node that ran it publishes that. So
every change is published once, whichever node notices first. While the bus is away, each node tells its own members
about its own people, and says everything again when the bus is back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import trio

from ..engine.errors import Unavailable
from ..engine.hub import Hub
from .cluster_limits import ClusterLimits
from .entities import WallClock
from .events import PRESENCE_CHANGED, Event, account_stream
from .presence import Person, Presence, Presentness

logger = logging.getLogger("tertulia.presence")

NOW = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
"""

#: Keys: the account's, and one for each person. Arguments: node, ttl, and the persons. Returns who is online by this,
#: and whose last word has ended.
HOLD = (
    NOW
    + """
local lifetime = math.ceil(ARGV[2] * 1000)
local online = {}
for index = 2, #KEYS do
    local person = ARGV[index + 1]
    redis.call('ZADD', KEYS[index], now + ARGV[2], ARGV[1])
    redis.call('PEXPIRE', KEYS[index], lifetime)
    if not redis.call('ZSCORE', KEYS[1], person) then
        online[#online + 1] = person
    end
    redis.call('ZADD', KEYS[1], now + ARGV[2], person)
end
local offline = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], 2 * lifetime)
return {online, offline}
"""
)

#: The same keys and arguments. Returns nobody, and who is on no node any more.
RELEASE = (
    NOW
    + """
local offline = {}
for index = 2, #KEYS do
    local person = ARGV[index + 1]
    redis.call('ZREM', KEYS[index], ARGV[1])
    redis.call('ZREMRANGEBYSCORE', KEYS[index], '-inf', now)
    local last = redis.call('ZRANGE', KEYS[index], -1, -1, 'WITHSCORES')
    if last[1] then
        redis.call('ZADD', KEYS[1], last[2], person)
    elseif redis.call('ZREM', KEYS[1], person) == 1 then
        offline[#offline + 1] = person
    end
end
return {{}, offline}
"""
)

#: Key: the account's. Returns who is online.
ONLINE = NOW + "return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.6f', now), '+inf')"


class Facts(Protocol):
    """What is used of the bus."""

    node: str

    def key(self, name: str) -> str: ...

    async def command(self, *words: str | bytes | int | float) -> Any:
        """Raises Unavailable."""
        ...


class SharedPresence(Presence):
    """The people of one node among many."""

    is_shared = True

    def __init__(self, bus: Facts, hub: Hub[Event], wall_clock: WallClock, grace: float, limits: ClusterLimits) -> None:
        super().__init__(hub, wall_clock, grace)
        self._bus = bus
        self._limits = limits
        #: Whose presence here the bus has not been told, and whether the members here were told without it.
        self._untold: dict[tuple[int, Person], bool] = {}
        self._news = trio.Event()

    async def elsewhere(self, account_id: int) -> list[Event]:
        heard: list[Event] = []
        topic = account_stream(account_id)
        self._hub.tap(topic, heard.extend)
        try:
            words: list[bytes] = await self._bus.command("EVAL", ONLINE, 1, self._account_key(account_id))
        except Unavailable:
            return []
        finally:
            self._hub.untap(topic, heard.extend)
        people = {_person(word) for word in words}
        # Whose change was heard while the bus answered: that is newer than its answer.
        people.difference_update(_changed_person(event) for event in heard if event.type == PRESENCE_CHANGED)
        people.difference_update(self._connections.get(account_id, ()))
        return [self._event(account_id, person, "online") for person in sorted(people)]

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(super().run)
            nursery.start_soon(self._tell_bus)

    def _changed(self, account_id: int, person: Person, status: Presentness) -> None:
        self._untold[account_id, person] = False
        self._news.set()

    async def _tell_bus(self) -> None:
        """Pass on every change at once, and say everything again before the bus forgets it."""
        renewal = trio.current_time() + self._limits.presence_refresh
        while True:
            with trio.move_on_at(renewal):
                await self._news.wait()
            self._news = trio.Event()
            if trio.current_time() >= renewal:
                renewal = trio.current_time() + self._limits.presence_refresh
                self._say_again()
            untold, self._untold = self._untold, {}
            async with trio.open_nursery() as nursery:
                for account_id, changes in _by_account(untold).items():
                    nursery.start_soon(self._tell_account, account_id, changes)

    def _say_again(self) -> None:
        for account_id, people in self._connections.items():
            for person in people:
                self._untold.setdefault((account_id, person), True)

    async def _tell_account(self, account_id: int, changes: dict[Person, bool]) -> None:
        present = self._connections.get(account_id, {})
        here = [person for person in changes if person in present]
        gone = [person for person in changes if person not in present]
        size = self._limits.presence_batch
        for script, people in ((HOLD, here), (RELEASE, gone)):
            for start in range(0, len(people), size):
                some = people[start : start + size]
                try:
                    await self._tell(account_id, script, some)
                except Unavailable as error:
                    logger.debug("the bus does not take who is present: %s", error.detail)
                    status: Presentness = "online" if script is HOLD else "offline"
                    self._tell_without_bus(account_id, status, {person: changes[person] for person in some})

    async def _tell(self, account_id: int, script: str, people: Sequence[Person]) -> None:
        """Raises Unavailable."""
        words = [_word(person) for person in people]
        account_key = self._account_key(account_id)
        keys = [account_key, *(f"{account_key}:{word}" for word in words)]
        ttl = self._limits.presence_ttl
        online, offline = await self._bus.command("EVAL", script, len(keys), *keys, self._bus.node, ttl, *words)
        for word in online:
            self._publish(account_id, _person(word), "online")
        for word in offline:
            self._publish(account_id, _person(word), "offline")
        for word in offline:
            # Another node may have said "online" since, and its publication may have overtaken ours.
            if await self._bus.command("ZSCORE", account_key, word) is not None:
                self._publish(account_id, _person(word), "online")

    def _tell_without_bus(self, account_id: int, status: Presentness, changes: dict[Person, bool]) -> None:
        for person, told in changes.items():
            if not told:
                self._publish(account_id, person, status)
            self._untold.setdefault((account_id, person), True)

    def _account_key(self, account_id: int) -> str:
        # The braces keep all keys of an account on one node of a Redis cluster.
        return self._bus.key(f"presence:{{{account_id}}}")


def _by_account(changes: dict[tuple[int, Person], bool]) -> dict[int, dict[Person, bool]]:
    sorted_out: dict[int, dict[Person, bool]] = {}
    for (account_id, person), told in changes.items():
        sorted_out.setdefault(account_id, {})[person] = told
    return sorted_out


def _word(person: Person) -> str:
    type, id = person
    return f"{type}:{id}"


def _person(word: bytes) -> Person:
    type, _, id = word.decode().partition(":")
    return type, int(id)


def _changed_person(event: Event) -> Person:
    # From another node the data is raw JSON.
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event.data))
    return data["type"], data.get("user_id") or data["contact_id"]
