"""Presence follows connections, counts people, and forgives a short absence."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.entities import System
from tertulia.actors.events import Event
from tertulia.actors.presence import Presence
from tertulia.engine.hub import Hub

from .kit import ADMINISTRATOR, AGENT, STRANGER, VISITOR, payload, wall_clock

GRACE = 10.0


class Watched:
    """A presence, and what account 1 heard of it."""

    def __init__(self) -> None:
        hub = Hub[Event]()
        self.presence = Presence(hub, wall_clock, GRACE)
        self.heard: list[Event] = []
        hub.tap("account:1", self.heard.extend)

    def news(self) -> list[tuple[str, int, str]]:
        shown = [payload(event) for event in self.heard]
        self.heard.clear()
        return [(data["type"], data.get("user_id") or data["contact_id"], data["status"]) for data in shown]


@pytest.fixture
def watched(nursery: trio.Nursery) -> Watched:
    watched = Watched()
    nursery.start_soon(watched.presence.run)
    return watched


async def test_whoever_connects_is_online_at_once_for_members_only(watched: Watched) -> None:
    watched.presence.joined(AGENT)
    watched.presence.joined(VISITOR)
    assert all(event.private and event.seq is None for event in watched.heard)
    assert watched.news() == [("user", 2, "online"), ("contact", 1, "online")]


async def test_several_connections_of_one_person_count_once(watched: Watched, autojump_clock: MockClock) -> None:
    watched.presence.joined(AGENT)
    watched.presence.joined(AGENT)
    assert watched.news() == [("user", 2, "online")]
    watched.presence.left(AGENT)
    await trio.sleep(GRACE * 2)
    assert watched.news() == []
    watched.presence.left(AGENT)
    await trio.sleep(GRACE * 2)
    assert watched.news() == [("user", 2, "offline")]


async def test_a_reload_of_the_page_is_not_a_departure(watched: Watched, autojump_clock: MockClock) -> None:
    watched.presence.joined(AGENT)
    watched.news()
    for _ in range(5):
        watched.presence.left(AGENT)
        await trio.sleep(GRACE - 1)
        watched.presence.joined(AGENT)
    await trio.sleep(GRACE * 2)
    assert watched.news() == []


async def test_coming_back_in_the_same_moment_is_not_a_departure(watched: Watched, autojump_clock: MockClock) -> None:
    watched.presence.joined(AGENT)
    await wait_all_tasks_blocked()
    watched.presence.left(AGENT)
    watched.presence.joined(AGENT)
    await trio.sleep(GRACE * 2)
    assert watched.news() == [("user", 2, "online")]
    watched.presence.left(AGENT)
    await trio.sleep(GRACE * 2)
    assert watched.news() == [("user", 2, "offline")]


async def test_offline_is_told_after_the_grace_to_everybody_in_their_order(
    watched: Watched, autojump_clock: MockClock
) -> None:
    for principal in (AGENT, VISITOR, ADMINISTRATOR):
        watched.presence.joined(principal)
    watched.news()
    watched.presence.left(VISITOR)
    await trio.sleep(1)
    watched.presence.left(AGENT)
    watched.presence.left(ADMINISTRATOR)
    await trio.sleep(GRACE - 1.5)
    assert watched.news() == []
    await trio.sleep(1)
    assert watched.news() == [("contact", 1, "offline")]
    await trio.sleep(1)
    assert watched.news() == [("user", 2, "offline"), ("user", 1, "offline")]


async def test_whoever_comes_back_does_not_hold_up_who_stays_away(watched: Watched, autojump_clock: MockClock) -> None:
    watched.presence.joined(AGENT)
    watched.presence.joined(VISITOR)
    watched.presence.left(AGENT)
    await wait_all_tasks_blocked()
    watched.presence.left(VISITOR)
    watched.presence.joined(AGENT)
    watched.news()
    await trio.sleep(GRACE + 1)
    assert watched.news() == [("contact", 1, "offline")]


async def test_a_snapshot_tells_who_is_there_in_this_account(watched: Watched, autojump_clock: MockClock) -> None:
    for principal in (AGENT, VISITOR, STRANGER):
        watched.presence.joined(principal)
    shown = [payload(event) for event in watched.presence.snapshot(1)]
    assert [(data["type"], data["status"]) for data in shown] == [("user", "online"), ("contact", "online")]
    watched.presence.left(AGENT)
    watched.presence.left(VISITOR)
    await trio.sleep(GRACE + 1)
    assert watched.presence.snapshot(1) == []
    assert watched.presence.snapshot(77) == []


async def test_the_engine_itself_is_nobody(watched: Watched) -> None:
    watched.presence.joined(System(1))
    watched.presence.left(System(1))
    assert watched.presence.snapshot(1) == []
