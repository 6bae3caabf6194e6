"""The bridge: what trio gives to asyncio is done once, answered once, and left behind never."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import sys
import threading
from collections.abc import AsyncGenerator

import pytest
import trio

from tertulia.engine.errors import Unavailable
from tertulia.storage.bridge import Bridge, BridgeLimits, open_bridge

HOUR = 3600.0
BOUND = 5.0  # seconds: long before a test would hang
HASTY = BridgeLimits(closing_pause=0.1, closing_attempts=2)

name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")


@pytest.fixture
async def bridge() -> AsyncGenerator[Bridge]:
    async with open_bridge() as bridge:
        yield bridge


class Work:
    """Work on the loop that says when it began and how it ended."""

    def __init__(self) -> None:
        self.began = trio.Event()
        self.running = 0
        self.endings: list[str] = []

    async def last(self, bridge: Bridge, seconds: float) -> str:
        self.running += 1
        bridge.deliver(self.began.set)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # cleaning up takes a moment
            self.endings.append("cancelled")
            raise
        finally:
            self.running -= 1
        self.endings.append("done")
        return "done"


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail() -> None:
    raise LookupError("not here")


async def exit_the_loop() -> None:
    raise SystemExit("the loop crashes")


async def test_a_call_returns_the_result(bridge: Bridge) -> None:
    assert await bridge.call(double, 21) == 42


async def test_a_call_raises_the_error_itself(bridge: Bridge) -> None:
    with pytest.raises(LookupError, match="not here"):
        await bridge.call(fail)


async def test_the_work_runs_in_another_thread_on_one_loop(bridge: Bridge) -> None:
    async def where() -> tuple[int, int]:
        return threading.get_ident(), id(asyncio.get_running_loop())

    first, second = await bridge.call(where), await bridge.call(where)
    assert first == second
    assert first[0] != threading.get_ident()


async def test_work_does_not_inherit_the_context_of_whoever_woke_the_loop(bridge: Bridge) -> None:
    async def whose() -> str:
        return name.get()

    name.set("ana")
    assert await bridge.call(whose) == "nobody"


async def test_a_caller_that_is_cancelled_waits_until_its_work_has_ended(bridge: Bridge) -> None:
    work = Work()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bridge.call, work.last, bridge, HOUR)
        await work.began.wait()
        nursery.cancel_scope.cancel()
    assert work.endings == ["cancelled"]


async def test_work_of_a_caller_that_is_cancelled_already_never_begins(bridge: Bridge) -> None:
    work = Work()
    with trio.CancelScope() as scope:
        scope.cancel()
        await bridge.call(work.last, bridge, HOUR)
    assert scope.cancelled_caught
    await bridge.call(double, 1)  # behind it: what would begin has begun
    assert not work.began.is_set()


async def test_a_result_that_comes_in_spite_of_the_cancellation_is_not_lost(bridge: Bridge) -> None:
    began = trio.Event()

    async def insist() -> str:
        bridge.deliver(began.set)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "written"
        return "unreachable"

    results: list[str] = []

    async def caller() -> None:
        results.append(await bridge.call(insist))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await began.wait()
        nursery.cancel_scope.cancel()
    assert results == ["written"]


async def test_an_error_that_comes_in_spite_of_the_cancellation_is_not_lost(bridge: Bridge) -> None:
    began = trio.Event()

    async def break_off() -> None:
        bridge.deliver(began.set)
        try:
            await asyncio.sleep(HOUR)
        except asyncio.CancelledError:
            raise LookupError("not here") from None

    async def caller() -> None:
        with pytest.raises(LookupError, match="not here"):
            await bridge.call(break_off)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await began.wait()
        nursery.cancel_scope.cancel()


async def test_a_cancellation_by_the_library_is_an_error_that_says_so(bridge: Bridge) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(Unavailable, match="cancelled by its library"):
        await bridge.call(give_up)


async def test_a_timeout_of_the_loop_is_a_timeout_error(bridge: Bridge) -> None:
    async def wait() -> None:
        async with bridge.timeout(0.01):
            await bridge.sleep(3600)

    with pytest.raises(TimeoutError):
        await bridge.call(wait)


async def test_in_a_storm_of_cancellations_every_call_ends_once_and_no_work_stays(bridge: Bridge) -> None:
    dice = random.Random(3)
    work = Work()
    outcomes: list[str] = []

    async def caller(patience: float, seconds: float) -> None:
        with trio.move_on_after(patience) as scope:
            outcomes.append(await bridge.call(work.last, bridge, seconds))
        if scope.cancelled_caught:
            outcomes.append("cancelled")

    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            for _ in range(600):
                nursery.start_soon(caller, dice.random() * 0.2, dice.random() * 0.2)
    assert len(outcomes) == 600
    assert 0 < outcomes.count("cancelled") < 600
    assert work.running == 0
    assert work.endings.count("done") == outcomes.count("done")


async def test_posts_and_calls_are_done_in_their_order(bridge: Bridge) -> None:
    seen: list[int] = []

    async def look() -> list[int]:
        return list(seen)

    for number in range(1000):
        bridge.post(seen.append, number)
    assert await bridge.call(look) == list(range(1000))


async def test_deliveries_and_results_come_in_their_order(bridge: Bridge) -> None:
    seen: list[int] = []

    async def send() -> None:
        for number in range(1000):
            bridge.deliver(seen.append, number)
            if number % 100 == 0:
                await asyncio.sleep(0)

    await bridge.call(send)
    assert seen == list(range(1000))


async def test_a_handed_over_function_that_fails_is_logged_and_the_next_one_runs(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise ValueError("a bad one")

    seen: list[str] = []

    async def send() -> None:
        bridge.deliver(refuse)
        bridge.deliver(seen.append, "delivered")

    bridge.post(refuse)
    bridge.post(seen.append, "posted")
    await bridge.call(send)
    assert seen == ["posted", "delivered"]
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info and record.exc_info[1]] == [
        ("a bad one",),
        ("a bad one",),
    ]


async def test_leaving_the_block_ends_what_runs_and_its_callers_get_unavailable() -> None:
    work = Work()
    outcomes: list[str] = []

    async def caller(bridge: Bridge) -> None:
        with pytest.raises(Unavailable):
            await bridge.call(work.last, bridge, HOUR)
        outcomes.append("unavailable")

    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            async with open_bridge() as bridge:
                for _ in range(50):
                    nursery.start_soon(caller, bridge)
                await work.began.wait()
            assert work.running == 0
    assert outcomes == ["unavailable"] * 50
    assert work.endings == ["cancelled"] * 50


async def test_a_closed_bridge_takes_nothing_more() -> None:
    async with open_bridge() as bridge:
        pass
    with pytest.raises(Unavailable):
        await bridge.call(double, 1)
    with pytest.raises(Unavailable):
        bridge.post(print)


async def test_work_that_does_not_end_is_left_behind_and_its_caller_does_not_hang(
    caplog: pytest.LogCaptureFixture,
) -> None:
    began, release = trio.Event(), threading.Event()
    outcomes: list[str] = []

    async def block(bridge: Bridge) -> None:
        bridge.deliver(began.set)
        release.wait(BOUND)  # noqa: ASYNC251, RUF100

    async def caller(bridge: Bridge) -> None:
        with pytest.raises(Unavailable):
            await bridge.call(block, bridge)
        outcomes.append("unavailable")

    with trio.fail_after(BOUND - 1):
        async with trio.open_nursery() as nursery, open_bridge(HASTY) as bridge:
            nursery.start_soon(caller, bridge)
            await began.wait()
    release.set()
    assert outcomes == ["unavailable"]
    assert "left behind" in caplog.text


async def test_when_the_loop_crashes_every_caller_gets_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    outcomes: list[str] = []

    async def caller(bridge: Bridge) -> None:
        with pytest.raises(Unavailable):
            await bridge.call(work.last, bridge, HOUR)
        outcomes.append("unavailable")

    with trio.fail_after(BOUND):
        async with open_bridge() as bridge:
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(caller, bridge)
                await work.began.wait()
                with pytest.raises(Unavailable):
                    await bridge.call(exit_the_loop)
            with pytest.raises(Unavailable):
                await bridge.call(double, 1)
    assert outcomes == ["unavailable"] * 20
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]


INTERRUPTED = """
import asyncio, signal, trio
from tertulia.storage.bridge import open_bridge

async def work():
    try:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("cancelled")
        raise
    except BaseException as error:
        print("reached the thread:", repr(error))

async def main():
    async with open_bridge() as bridge:
        await bridge.call(work)

try:
    trio.run(main)
except BaseException as error:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    print(type(error).__name__)
"""


async def test_control_c_interrupts_trio_and_only_cancels_the_work() -> None:
    with trio.fail_after(BOUND * 2):
        ran = await trio.run_process([sys.executable, "-c", INTERRUPTED], capture_stdout=True)
    assert ran.stdout.decode().split() == ["cancelled", "KeyboardInterrupt"]
