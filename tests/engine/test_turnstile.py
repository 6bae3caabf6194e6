"""Few messages on their way to the disk at once, while there is something else to do; and all of them otherwise."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.engine.actor import Actor
from tertulia.engine.directory import Directory, Factory, open_directory
from tertulia.engine.errors import DeadlineExceeded

from .ledgers import Disk, Ledger, commit_all, ledgers, post, settled
from .scripted import Recorder, Script, Scripted, config


@asynccontextmanager
async def busy_ledgers(disk: Disk, **limits: Any) -> AsyncGenerator[Directory, None]:
    """On a node that always has something else to do, until the block ends."""
    limits.setdefault("turns_in_flight", 1)
    async with ledgers(disk, **limits) as directory:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_never_idle)
            yield directory
            nursery.cancel_scope.cancel()
        await commit_all(disk)


async def _never_idle() -> None:
    while True:
        await trio.lowlevel.checkpoint()


async def send(directory: Directory, key: str, *messages: Any, timeout: float = 60) -> list[Recorder]:
    return await post(directory, (Ledger, key), messages, timeout)


async def test_no_turn_begins_while_the_limit_of_messages_is_under_way(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with busy_ledgers(disk, messages_in_flight=3) as directory:
        await send(directory, "a", 1, 2)
        await send(directory, "b", 3, 4)  # goes over it: a batch is never cut for the limit
        await send(directory, "c", 5)
        assert disk.under_way == [[1, 2], [3, 4]]
        assert len(directory.turnstile) == 1
        disk.commit()
        await settled()
        assert disk.under_way == [[3, 4], [5]]


async def test_who_has_waited_longest_is_next(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with busy_ledgers(disk, messages_in_flight=1) as directory:
        for key in "abc":
            await send(directory, key, key + "1")
        await send(directory, "a", "a2")
        order: list[Any] = []
        for _ in range(4):
            order += disk.under_way
            disk.commit()
            await settled()
        assert order == [["a1"], ["b1"], ["c1"], ["a2"]]


async def test_a_key_that_has_more_to_do_lines_up_behind_those_who_wait(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with busy_ledgers(disk, messages_in_flight=1) as directory:
        await send(directory, "a", "a1")
        await send(directory, "b", "b1")
        disk.commit()
        await send(directory, "a", "a2")
        await send(directory, "b", "b2")
        assert disk.under_way == [["b1"]]
        disk.commit()
        await settled()
        assert disk.under_way == [["a2"]]


async def test_what_comes_while_a_key_waits_for_its_turn_is_in_the_same_batch(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with busy_ledgers(disk, messages_in_flight=1) as directory:
        await send(directory, "a", 1)
        for message in (2, 3, 4):
            await send(directory, "b", message)
        disk.commit()
        await settled()
        assert disk.under_way == [[2, 3, 4]]


async def test_a_key_that_waits_is_not_woken_by_more_mail(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with busy_ledgers(disk, messages_in_flight=1) as directory:
        await send(directory, "a", 1)
        await send(directory, "b", 2)
        disk.commit()
        await settled()
        woken: list[object] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio.lowlevel, "reschedule", woken.append)
            for message in (3, 4):
                directory.call((Ledger, "a"), message, Recorder(), timeout=60)  # lines up
            directory.call((Ledger, "b"), 5, Recorder(), timeout=60)  # has a commit under way
        assert woken == []
        assert disk.under_way == [[2]]
        disk.commit()
        await settled()
        assert disk.under_way == [[3, 4]]


async def test_nobody_waits_while_there_is_nothing_else_to_do(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk, messages_in_flight=1) as directory:
        for number in range(30):
            directory.call((Ledger, str(number)), number, Recorder(), timeout=60)
        await wait_all_tasks_blocked(0.001)
        assert len(disk.under_way) == 30
        assert trio.current_time() == 0


async def test_a_turn_that_leaves_nothing_unsettled_lets_the_next_begin(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with busy_ledgers(disk, messages_in_flight=1, min_backoff=1) as directory:
        await send(directory, "a", "crash once")  # and its key rests for a while
        await send(directory, "b", "b1")
        assert disk.under_way == [["b1"]]


async def test_a_crash_after_its_batch_was_handed_over_holds_its_place_until_that_is_settled(
    autojump_clock: MockClock,
) -> None:
    disk = Disk()
    async with busy_ledgers(disk, messages_in_flight=1) as directory:
        await send(directory, "a", "crash later")
        await send(directory, "b", "b1")
        assert disk.under_way == [["crash later"]]
        disk.commit()
        await settled()
        assert disk.under_way == [["b1"]]


async def test_mail_that_expires_before_its_turn_gives_its_place_to_the_next(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with busy_ledgers(disk, messages_in_flight=1) as directory:
        await send(directory, "a", "a1")
        (late,) = await send(directory, "b", "b1", timeout=1)
        await send(directory, "c", "c1")
        autojump_clock.jump(2)
        await settled()
        assert isinstance(late.answer, DeadlineExceeded)
        disk.commit()
        await settled()
        assert disk.under_way == [["c1"]]


async def test_a_batch_that_met_a_stale_state_runs_again_when_its_turn_has_come(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with busy_ledgers(disk, messages_in_flight=1, min_backoff=0.001) as directory:
        await send(directory, "a", "a1")
        await send(directory, "b", "b1")
        disk.reject()
        await settled()
        autojump_clock.jump(1)
        await settled()
        assert disk.under_way == [["b1"]]
        disk.commit()
        await settled()
        assert disk.under_way == [["a1"]]


async def test_draining_finishes_what_lines_up(autojump_clock: MockClock) -> None:
    disk = Disk()
    callers: list[Recorder] = []
    async with busy_ledgers(disk, messages_in_flight=1) as directory:
        for key in "abcde":
            callers += await send(directory, key, key)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(directory.drain)
            for _ in callers:
                await settled()
                disk.commit()
    assert [caller.answer for caller in callers] == ["a", "b", "c", "d", "e"]


async def test_a_turn_for_which_no_mail_is_left_lets_the_next_begin(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with busy_ledgers(disk, messages_in_flight=1, sweep_interval=10) as directory:
        await send(directory, "a", "a1")
        (late,) = await send(directory, "b", "b1", timeout=1)
        (answered,) = await send(directory, "c", "c1")
        autojump_clock.jump(2)  # and no sweep looks for what has expired
        disk.commit()
        await settled()
        assert isinstance(late.answer, DeadlineExceeded)
        assert disk.under_way == [["c1"]]
        disk.commit()
        assert answered.answer == "c1"


async def test_mail_that_expires_before_its_key_is_activated_again_gives_its_place_back(
    autojump_clock: MockClock,
) -> None:
    disk = Disk()
    async with busy_ledgers(disk, messages_in_flight=1, min_backoff=0.01, idle=0.5) as directory:
        disk.broken = True
        await send(directory, "b", "b1", timeout=0.005)  # does not come up, and rests until it has mail
        autojump_clock.jump(1)
        await settled()
        disk.broken = False
        await send(directory, "a", "a1")
        await send(directory, "b", "b2", timeout=1)
        autojump_clock.jump(2)
        await settled()
        assert directory.queued == 0
        disk.commit()
        await settled()
        await send(directory, "c", "c1")
        assert disk.under_way == [["c1"]]


async def test_a_turn_that_takes_long_does_not_keep_the_others_from_theirs(autojump_clock: MockClock) -> None:
    """It may be a job's, or wait for another actor: nothing of it is on its way to the disk."""
    disk = Disk()

    async def ask(key: str, messages: list[Any]) -> list[Any]:
        return [await directory.ref(Ledger, "b").ask(message) for message in messages]

    script = Script(turn=lambda actor, messages: ask(actor.key, messages))
    factories: dict[type[Actor[Any]], Factory] = {
        Ledger: lambda context: Ledger(context, disk),
        Scripted: lambda context: Scripted(context, script),
    }
    async with open_directory(config(messages_in_flight=1), factories) as directory, trio.open_nursery() as nursery:
        nursery.start_soon(_never_idle)
        asker = Recorder()
        directory.call((Scripted, "a"), "b1", asker, timeout=60)
        await settled()
        assert disk.under_way == []
        autojump_clock.jump(1)
        await settled()
        assert disk.under_way == [["b1"]]
        disk.commit()
        await settled()
        assert asker.answer == "b1"
        nursery.cancel_scope.cancel()
