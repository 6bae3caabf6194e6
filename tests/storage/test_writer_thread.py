"""The writer's thread: work in order, one at a time; results to whoever waits, cancelled or not."""

from __future__ import annotations

import threading

import outcome
import pytest
import trio
import trio.testing

from tertulia.storage.writer_thread import WriterThread


async def test_work_runs_in_one_other_thread_and_its_result_comes_back() -> None:
    writer = WriterThread("writer")
    try:
        threads = {await writer.run(threading.get_ident) for _ in range(5)}
        assert len(threads) == 1
        assert threading.get_ident() not in threads
        assert await writer.run(divmod, 7, 2) == (3, 1)
    finally:
        await writer.aclose()


async def test_what_the_work_raises_reaches_who_asked_and_the_thread_goes_on() -> None:
    writer = WriterThread("writer")
    try:
        with pytest.raises(ZeroDivisionError):
            await writer.run(divmod, 1, 0)
        assert await writer.run(divmod, 7, 2) == (3, 1)
    finally:
        await writer.aclose()


async def test_what_is_ordered_runs_in_its_turn_and_its_result_is_told_in_the_event_loop() -> None:
    writer = WriterThread("writer")
    told: list[tuple[int, int]] = []
    is_told = trio.Event()

    def note(result: outcome.Outcome[int]) -> None:
        told.append((result.unwrap(), threading.get_ident()))
        is_told.set()

    writer.order(int, "1", then=note)
    assert writer.busy
    assert await writer.run(int, "2") == 2
    await is_told.wait()
    assert told == [(1, threading.get_ident())]
    assert not writer.busy
    failed: list[outcome.Outcome[int]] = []
    writer.order(int, "three", then=failed.append)
    await writer.aclose()
    with pytest.raises(ValueError, match="three"):
        failed[0].unwrap()


async def test_many_who_ask_at_once_each_get_their_own_result_in_the_order_of_asking() -> None:
    writer = WriterThread("writer")
    done: list[int] = []
    results: dict[int, int] = {}

    def work(number: int) -> int:
        done.append(number)
        return number * number

    async def ask(number: int) -> None:
        results[number] = await writer.run(work, number)

    try:
        for _ in range(20):
            done.clear()
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(ask, number)
            assert sorted(done) == list(range(10))
            assert results == {number: number * number for number in range(10)}
    finally:
        await writer.aclose()


@pytest.mark.parametrize("ahead", [0, 1])
async def test_a_caller_that_is_cancelled_waits_for_its_work_and_the_next_one_gets_its_own_result(ahead: int) -> None:
    writer = WriterThread("writer")
    begun, go_on = threading.Event(), threading.Event()
    finished: list[str] = []

    def slow() -> str:
        begun.set()
        assert go_on.wait(10)
        finished.append("slow")
        return "slow"

    async def in_front() -> None:
        await writer.run(slow)

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            await writer.run(slow)
            await trio.lowlevel.checkpoint()  # where it learns that it was cancelled

    scope = trio.CancelScope()
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(ahead):
                nursery.start_soon(in_front)
                await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask, scope)
            await trio.to_thread.run_sync(begun.wait)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert not scope.cancelled_caught
            go_on.set()
        assert scope.cancelled_caught
        assert finished == ["slow"] * (ahead + 1)
        assert await writer.run(divmod, 7, 2) == (3, 1)
    finally:
        go_on.set()
        await writer.aclose()


async def test_who_is_cancelled_before_it_asks_orders_nothing() -> None:
    writer = WriterThread("writer")
    done: list[int] = []
    try:
        with trio.CancelScope() as scope:
            scope.cancel()
            await writer.run(done.append, 1)
        assert scope.cancelled_caught
        await writer.run(done.append, 2)
        assert done == [2]
    finally:
        await writer.aclose()


async def test_closing_waits_for_the_thread_and_may_be_done_before_there_is_one() -> None:
    writer = WriterThread("writer of this test")
    await writer.aclose()
    await writer.run(divmod, 7, 2)
    await writer.aclose()
    assert "writer of this test" not in [thread.name for thread in threading.enumerate()]
