"""Deferred batches: turns go on during commits, and nothing is lost, doubled or reordered when one fails."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.engine.config import Lifecycle
from tertulia.engine.directory import Directory
from tertulia.engine.errors import DeadlineExceeded, StaleWrite, Unavailable

from .ledgers import Disk, Ledger, commit_all, ledgers
from .scripted import Recorder


async def send(directory: Directory, *messages: Any, timeout: float = 60) -> list[Recorder]:
    """One turn for each message."""
    callers: list[Recorder] = []
    for message in messages:
        callers.append(Recorder())
        directory.call((Ledger, "k"), message, callers[-1], timeout=timeout)
        await wait_all_tasks_blocked()
    return callers


async def test_turns_go_on_while_commits_are_under_way(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        callers = await send(directory, "a", "b", "c")
        assert disk.under_way == [["a"], ["b"], ["c"]]
        assert [caller.answers for caller in callers] == [[], [], []]
        disk.commit()
        assert [caller.answers for caller in callers] == [["a"], [], []]
        await commit_all(disk)
        assert [caller.answer for caller in callers] == ["a", "b", "c"]


async def test_at_most_eight_turns_are_under_way_and_what_comes_next_is_one_batch(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        await send(directory, *range(12))
        assert len(disk.under_way) == 8
        disk.commit()
        await wait_all_tasks_blocked()
        assert disk.under_way[-1] == [8, 9, 10, 11]
        await commit_all(disk)
        assert disk.log == list(range(12))


async def test_where_nothing_else_is_asked_for_what_comes_during_a_commit_is_one_turn_after_it(
    autojump_clock: MockClock,
) -> None:
    disk = Disk()
    async with ledgers(disk, turns_in_flight=Lifecycle().turns_in_flight) as directory:
        await send(directory, "a", "b", "c")
        assert disk.under_way == [["a"]]
        disk.commit()
        await wait_all_tasks_blocked()
        assert disk.under_way == [["b", "c"]]
        await commit_all(disk)
        assert disk.log == ["a", "b", "c"]


async def test_an_actor_is_idle_only_when_its_last_commit_is_done(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk, idle=10) as directory:
        await send(directory, "a")
        await trio.sleep(20)
        assert (directory.statistics().active, directory.statistics().parked) == (1, 0)
        disk.commit()
        assert directory.statistics().parked == 1
        await trio.sleep(9.5)
        assert directory.statistics().active == 1
        await trio.sleep(1)
        assert directory.statistics().active == 0


async def test_a_crash_waits_for_the_commits_under_way_before_the_state_is_read_again(
    autojump_clock: MockClock,
) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        first, crash = await send(directory, "a", "crash")
        await trio.sleep(5)
        assert len(disk.incarnations) == 1
        disk.commit()
        await trio.sleep(5)
        assert first.answer == "a"
        assert isinstance(crash.answer, ValueError)
        assert [under_way for under_way, _ in disk.incarnations] == [0, 0, 0]
        assert disk.incarnations[1] == (0, ["a"])


async def test_a_crash_after_the_batch_was_handed_over_does_not_run_it_again(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        (caller,) = await send(directory, "crash later")
        await commit_all(disk)
        await trio.sleep(5)
        assert caller.answer == "crash later"
        assert disk.log == ["crash later"]
        assert not directory.dead_letters


async def test_a_batch_that_crashed_later_and_met_a_stale_state_runs_again_once(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        (caller,) = await send(directory, "crash later")
        disk.reject()
        await trio.sleep(5)
        assert disk.under_way == [["crash later"]]
        await commit_all(disk)
        await trio.sleep(5)
        assert disk.log == ["crash later"]
        assert caller.answer == "crash later"


async def test_several_stale_batches_run_again_in_their_order(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        callers = await send(directory, "a", "b", "c")
        directory.ref(Ledger, "k").tell("d")
        for _ in range(3):
            disk.reject()
        directory.ref(Ledger, "k").tell("e")
        await trio.sleep(1)
        await commit_all(disk)
        assert disk.log == ["a", "b", "c", "d", "e"]
        assert [caller.answer for caller in callers] == ["a", "b", "c"]
        assert directory.statistics().quarantined == 0


async def test_stale_batches_run_before_the_batch_that_crashed_after_them(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        await send(directory, "a", "b", "crash once")
        directory.ref(Ledger, "k").tell("d")
        disk.reject()
        disk.reject()
        await trio.sleep(0.5)
        await commit_all(disk)
        assert disk.log == ["a", "b", "crash once", "d"]


async def test_a_stale_state_is_read_again_even_if_nobody_sends_anything(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        (caller,) = await send(directory, "a")
        disk.log.append("somebody else's")
        disk.reject()
        await trio.sleep(1)
        assert disk.incarnations == [(0, []), (0, ["somebody else's"])]
        assert disk.under_way == [["a"]]
        disk.commit()
        assert caller.answer == "a"


async def test_what_a_stale_batch_had_refused_is_not_run_again(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        (caller,) = await send(directory, "refuse")
        disk.reject()
        await trio.sleep(5)
        assert isinstance(caller.answer, KeyError)
        assert disk.under_way == []


async def test_what_could_not_be_written_was_answered_and_is_not_run_again(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        first, second = await send(directory, "a", "b")
        disk.lose(Unavailable("disk full"))
        disk.commit()
        await trio.sleep(5)
        assert isinstance(first.answer, Unavailable)
        assert second.answer == "b"
        assert disk.log == ["b"]
        assert len(disk.incarnations) == 2
        assert directory.statistics().quarantined == 0


async def test_a_store_that_keeps_failing_makes_the_key_back_off_further_and_further(autojump_clock: MockClock) -> None:
    disk = Disk()
    delays: list[float] = []
    async with ledgers(disk) as directory:
        for restarts in (1, 2, 3, 4):
            (caller,) = await send(directory, "a")
            failed_at = trio.current_time()
            disk.lose(Unavailable())
            assert isinstance(caller.answer, Unavailable)
            await trio.sleep(2)
            delays.append(round(disk.activated[restarts] - failed_at, 6))
        await send(directory, "a")
        disk.commit()
        await send(directory, "b")
        failed_at = trio.current_time()
        disk.lose(Unavailable())
        await trio.sleep(2)
        delays.append(round(disk.activated[5] - failed_at, 6))
    assert delays == [0.1, 0.2, 0.4, 0.8, 0.1]


async def test_a_caller_whose_deadline_passes_during_the_commit_is_told(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        (caller,) = await send(directory, "a", timeout=2)
        await trio.sleep(2.2)
        assert isinstance(caller.answer, DeadlineExceeded)
        disk.commit()
        assert len(caller.answers) == 1, "the late answer is dropped"
        assert disk.log == ["a"]


async def test_what_is_past_its_deadline_when_its_batch_turns_out_stale_is_not_run_again(
    autojump_clock: MockClock,
) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        (late,) = await send(directory, "a", timeout=2)
        (patient,) = await send(directory, "b")
        await trio.sleep(3)
        disk.reject()
        disk.reject()
        await trio.sleep(1)
        await commit_all(disk)
        assert disk.log == ["b"]
        assert isinstance(late.answer, DeadlineExceeded)
        assert patient.answer == "b"


async def test_callers_see_their_deadline_while_a_crash_waits_for_commits(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        await send(directory, "a")
        crash, queued = await send(directory, "crash", "b", timeout=2)
        await trio.sleep(2.2)
        assert isinstance(crash.answer, DeadlineExceeded)
        assert isinstance(queued.answer, DeadlineExceeded)
        await commit_all(disk)


async def test_the_actor_is_thrown_away_before_its_next_turn(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk) as directory:
        await send(directory, "a")
        directory.ref(Ledger, "k").tell("b")
        disk.lose(StaleWrite())
        await wait_all_tasks_blocked()
        assert disk.under_way == []
        await trio.sleep(0.2)
        assert disk.under_way == [["b"]]
        assert len(disk.incarnations) == 2
        await commit_all(disk)


async def test_leaving_the_block_waits_for_the_commits_under_way(autojump_clock: MockClock) -> None:
    disk = Disk()
    done: list[float] = []

    async def commit_later() -> None:
        await trio.sleep(3)
        while disk.waiting:
            disk.commit()
            await trio.sleep(1)
        done.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        async with ledgers(disk, drain_grace=60) as directory:
            callers = await send(directory, "a", "b")
            nursery.start_soon(commit_later)
        assert trio.current_time() == pytest.approx(4)
    assert [caller.answer for caller in callers] == ["a", "b"]


async def test_a_stale_batch_during_the_drain_still_runs(autojump_clock: MockClock) -> None:
    disk = Disk()

    async def reject_then_commit() -> None:
        await trio.sleep(1)
        disk.reject()
        await trio.sleep(1)
        disk.commit()

    async with trio.open_nursery() as nursery, ledgers(disk) as directory:
        (caller,) = await send(directory, "a")
        nursery.start_soon(reject_then_commit)
    assert caller.answer == "a"
    assert trio.current_time() == pytest.approx(2)


async def test_commits_that_never_end_do_not_hold_up_the_end(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with ledgers(disk, drain_grace=7) as directory:
        deferred, crashed = await send(directory, "a", "crash")
    assert trio.current_time() == pytest.approx(7)
    assert [len(deferred.answers), len(crashed.answers)] == [1, 1]
    disk.reject()
    assert directory.queued == 0, "a commit that fails after the end changes nothing"
