"""Mail that gathers: a busy key takes a turn every so often, a quiet one at once."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import MockClock

from tertulia.engine.directory import Directory
from tertulia.engine.errors import DeadlineExceeded
from tertulia.engine.pace import ENOUGH, PATIENCE, QUIET

from .ledgers import Disk, Ledger, commit_all, ledgers, post
from .scripted import Recorder

PACE = 0.005


class Paced(Ledger):
    """Takes a turn at most every 5 ms."""

    pace = PACE


@asynccontextmanager
async def paced(disk: Disk, **limits: Any) -> AsyncGenerator[Directory, None]:
    limits.setdefault("turns_in_flight", 1)
    async with ledgers(disk, **limits) as directory:
        directory.factories[Paced] = lambda context: Paced(context, disk)
        yield directory
        await commit_all(disk)


async def send(directory: Directory, *messages: Any, key: str = "k", timeout: float = 60) -> list[Recorder]:
    """And see how far they get at once: before any time has passed."""
    return await post(directory, (Paced, key), messages, timeout)


async def test_who_speaks_after_a_silence_is_heard_at_once(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        await send(directory, 1)
        assert disk.under_way == [[1]]
        disk.commit()
        await trio.sleep(PACE)
        await send(directory, 2)
        assert disk.under_way == [[2]]


async def test_what_comes_within_the_pace_is_one_turn_when_it_is_over(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        began = trio.current_time()
        await send(directory, 1)
        disk.commit()
        for message in (2, 3, 4):
            await send(directory, message)
        assert disk.under_way == []
        await trio.sleep_until(began + PACE)
        await send(directory)
        assert disk.under_way == [[2, 3, 4]]


async def say(directory: Directory, *instants: float) -> None:
    """A message, which is its own number, at each of the instants; paces since the last turn began."""
    began = trio.current_time()
    for number, instant in enumerate(instants):
        await trio.sleep_until(began + instant * PACE)
        await send(directory, number)


async def test_while_more_keeps_coming_it_gathers_for_longer_but_not_forever(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        began = trio.current_time()
        await send(directory, "first")
        disk.commit()
        await say(directory, *(0.4 * n for n in range(1, 8)))
        assert disk.under_way == []
        await trio.sleep_until(began + PATIENCE * PACE)
        await send(directory)
        assert disk.under_way == [list(range(7))]


async def test_a_while_without_more_ends_the_waiting(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        began = trio.current_time()
        await send(directory, "first")
        disk.commit()
        await say(directory, 0.1, 0.9)
        await trio.sleep_until(began + (1 + QUIET - 0.1) * PACE)
        assert disk.under_way == []
        await trio.sleep_until(began + (1 + QUIET + 0.001) * PACE)
        await send(directory)
        assert disk.under_way == [[0, 1]]


async def test_who_waits_for_an_answer_before_saying_more_is_held_up_by_one_pace_only(
    autojump_clock: MockClock,
) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        await send(directory, 0, 0)
        for turn in range(1, 10):
            began = trio.current_time()
            disk.commit()
            await send(directory, turn, turn)
            await trio.sleep_until(began + PACE)
            await send(directory)
            assert disk.under_way == [[turn, turn]]


async def test_the_look_of_a_turn_that_came_early_does_not_begin_the_next_one(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        began = trio.current_time()
        await send(directory, "first")
        disk.commit()
        await send(directory, 0)  # looked at when the pace is over
        await trio.sleep_until(began + 0.8 * PACE)
        await send(directory, *range(1, ENOUGH))
        disk.commit()
        await send(directory, "next")
        await trio.sleep_until(began + 1.7 * PACE)
        assert disk.under_way == []
        await trio.sleep_until(began + 1.8 * PACE)
        await send(directory)
        assert disk.under_way == [["next"]]


async def test_looks_do_not_pile_up(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        for _ in range(50):
            await send(directory, *range(ENOUGH))
            disk.commit()
            await send(directory, "more")
            await trio.sleep(0.3 * PACE)
        assert len(directory.pace) < 10
        await trio.sleep(PATIENCE * PACE)
        assert len(directory.pace) == 0


async def test_the_pace_goes_on_while_a_commit_is_under_way(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        await send(directory, 1)
        await send(directory, 2)
        await trio.sleep(2 * PACE)
        assert disk.under_way == [[1]]
        disk.commit()
        await send(directory)
        assert disk.under_way == [[2]]


async def test_what_a_commit_outlives_waits_for_the_rest_of_the_pace(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        await send(directory, 1)
        await send(directory, 2)
        disk.commit()
        await send(directory)
        assert disk.under_way == []
        await trio.sleep(PACE)
        await send(directory)
        assert disk.under_way == [[2]]


async def test_enough_messages_wait_for_no_more(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        await send(directory, 0)
        disk.commit()
        await send(directory, *range(1, ENOUGH))
        assert disk.under_way == []
        await send(directory, ENOUGH)
        assert disk.under_way == [list(range(1, ENOUGH + 1))]


async def test_enough_messages_that_came_during_a_commit_are_the_next_turn_at_once(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        await send(directory, 0)
        await send(directory, *range(1, ENOUGH + 1))
        disk.commit()
        await send(directory)
        assert disk.under_way == [list(range(1, ENOUGH + 1))]


async def test_each_key_has_a_pace_of_its_own(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        await send(directory, 1)
        disk.commit()
        await send(directory, 2)
        await send(directory, 3, key="other")
        assert disk.under_way == [[3]]


async def test_mail_that_was_put_off_by_its_turn_does_not_gather(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk, min_backoff=0.001, jitter=0) as directory:
        await send(directory, 1, 2)
        disk.reject()  # its state was stale: it runs again, one by one
        await trio.sleep(0.0015)
        assert disk.under_way == [[1]]
        disk.commit()
        await send(directory)
        assert disk.under_way == [[2]]


async def test_mail_that_expires_while_it_gathers_is_refused_and_leaves_no_turn(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        await send(directory, 1)
        disk.commit()
        (late,) = await send(directory, 2, timeout=0)
        await trio.sleep(1)
        assert isinstance(late.answer, DeadlineExceeded)
        assert disk.under_way == []
        await send(directory, 3)
        assert disk.under_way == [[3]]


async def test_draining_does_not_wait_for_the_pace(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with paced(disk) as directory:
        await send(directory, 1)
        disk.commit()
        (last,) = await send(directory, 2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(directory.drain)
            await send(directory)
            assert disk.under_way == [[2]]
            disk.commit()
        assert last.answer == 2
