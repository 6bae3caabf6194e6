"""Cron: one run per tick, on however many nodes, in the time zone that was meant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import trio
from trio.testing import MockClock

from tertulia.actors.jobs.clock import next_tick
from tertulia.actors.jobs.job import BaseJob, JobContext
from tertulia.actors.jobs.registry import CronEntry
from tertulia.storage.records import JobState

from .kit import Script, Shop, open_shop

BERLIN = "Europe/Berlin"


def add(shop: Shop, expression: str, zone: str = "UTC", args: str = "tick") -> None:
    shop.takes(args, 0)
    shop.engine.world.registry.cron(expression, Script, args, zone=zone)


def minutes(shop: Shop) -> list[str]:
    """The times of day of the runs so far."""
    epoch = shop.engine.world.wall_clock() / 1000 - trio.current_time()
    return [datetime.fromtimestamp(epoch + when, UTC).strftime("%H:%M:%S") for when in shop.times]


async def test_a_job_runs_at_every_tick_once_on_two_nodes(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:  # at 22:13:20
        shop.hire()
        shop.hire()
        add(shop, "*/2 * * * *")
        await trio.sleep(400)
        assert minutes(shop) == ["22:14:00", "22:16:00", "22:18:00"]
        assert {job.state for job in await shop.jobs()} == {JobState.COMPLETED}


async def test_a_tick_that_nobody_saw_is_made_up_for_if_it_is_not_too_old(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        add(shop, "*/10 * * * *")
        await trio.sleep(400 + 30)  # 22:20:30
        shop.hire(missed_tick=60.0)
        await trio.sleep(5)
        assert minutes(shop) == ["22:20:30"]
        [job] = await shop.jobs()
        assert datetime.fromtimestamp(job.run_at / 1000, UTC).strftime("%H:%M:%S") == "22:20:00"


async def test_a_tick_that_is_too_old_is_left_out(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        add(shop, "*/10 * * * *")
        await trio.sleep(400 + 90)
        shop.hire(missed_tick=60.0)
        await trio.sleep(5)
        assert shop.order == []


async def test_a_node_that_starts_again_does_not_repeat_the_tick(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        add(shop, "*/10 * * * *")
        first = shop.hire()
        await trio.sleep(405)
        await first.dispatcher.drain(1)
        shop.hire()
        await trio.sleep(30)
        assert minutes(shop) == ["22:20:00"]


async def test_a_tick_waits_for_a_store_that_is_away(autojump_clock: MockClock) -> None:
    async with open_shop(patience=0.5) as shop:
        add(shop, "*/10 * * * *")
        shop.hire()
        await trio.sleep(395)
        shop.disk.go_away()
        await trio.sleep(20)
        shop.disk.come_back()
        await trio.sleep(10)
        assert len(shop.begun) == 1


class Unique(BaseJob[None]):
    """Is never enqueued twice within an hour, unless the clock does it."""

    unique_for = 3600.0
    unique_while_waiting = True
    done = 0

    async def perform(self, context: JobContext, args: None) -> None:
        Unique.done += 1


async def test_the_uniqueness_of_a_job_is_not_that_of_its_ticks(autojump_clock: MockClock) -> None:
    async with open_shop() as shop:
        shop.engine.world.registry.add(Unique)
        shop.engine.world.registry.cron("* * * * *", Unique)
        shop.hire()
        shop.hire()
        await trio.sleep(200)
        assert Unique.done == 4  # 22:13 (made up for), 22:14, 22:15, 22:16


def ticks(expression: str, zone: str, start: datetime, count: int) -> Iterator[str]:
    entry = CronEntry("it", expression, zone, Script, "it")
    at = round(start.timestamp() * 1000)
    for _ in range(count):
        at = next_tick(entry, at)
        yield datetime.fromtimestamp(at / 1000, UTC).strftime("%d %H:%M")


def test_a_time_that_is_left_out_in_spring_runs_when_the_clock_was_put_forward() -> None:
    # In Berlin, 2:30 does not exist on 29 March 2026.
    start = datetime(2026, 3, 28, 12, tzinfo=ZoneInfo(BERLIN))
    assert list(ticks("30 2 * * *", BERLIN, start, 2)) == ["29 01:00", "30 00:30"]


def test_a_time_that_comes_twice_in_autumn_runs_once() -> None:
    # In Berlin, 2:30 comes twice on 25 October 2026: at 0:30 and at 1:30 UTC.
    start = datetime(2026, 10, 24, 12, tzinfo=ZoneInfo(BERLIN))
    assert list(ticks("30 2 * * *", BERLIN, start, 2)) == ["25 00:30", "26 01:30"]


def test_a_node_that_starts_within_the_second_of_both_hours_does_not_go_back() -> None:
    start = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 2:10 for the second time
    assert list(ticks("30 2 * * *", BERLIN, start, 1)) == ["26 01:30"]


def test_what_runs_every_hour_runs_in_both_hours() -> None:
    start = datetime(2026, 10, 24, 23, 45, tzinfo=UTC)
    assert list(ticks("15 * * * *", BERLIN, start, 3)) == ["25 00:15", "25 01:15", "25 02:15"]
