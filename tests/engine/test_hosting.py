from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tertulia.engine.hosting import open_shielded_nursery


async def test_tasks_outlive_the_cancellation_of_the_block_until_it_has_been_left(autojump_clock: MockClock) -> None:
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(trio.current_time())
            await trio.sleep(1)

    began = trio.current_time()
    with trio.move_on_after(5):
        async with open_shielded_nursery() as nursery:
            nursery.start_soon(tick)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
    assert ticks[-1] - began >= 9
    assert trio.current_time() - began == pytest.approx(10)


async def test_a_task_that_fails_cancels_the_block_and_is_reported(autojump_clock: MockClock) -> None:
    async def fail() -> None:
        await trio.sleep(1)
        raise OSError("no disk")

    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        async with open_shielded_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()
