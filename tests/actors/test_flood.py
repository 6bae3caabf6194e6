"""The token bucket: so many at once, so many a second, whatever the rhythm."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tertulia.actors.flood import TokenBucket


async def test_a_full_bucket_gives_its_burst_at_once(autojump_clock: MockClock) -> None:
    bucket = TokenBucket(rate=2, burst=5)
    assert [bucket.take() for _ in range(5)] == [0.0] * 5
    assert bucket.take() == pytest.approx(0.5)


async def test_a_refusal_takes_nothing_and_says_when_to_come_back(autojump_clock: MockClock) -> None:
    bucket = TokenBucket(rate=2, burst=1)
    bucket.take()
    waits = [bucket.take() for _ in range(10)]
    assert waits == [pytest.approx(0.5)] * 10
    await trio.sleep(waits[-1] + 1e-9)
    assert bucket.take() == 0.0


async def test_idleness_saves_up_no_more_than_the_burst(autojump_clock: MockClock) -> None:
    bucket = TokenBucket(rate=2, burst=5)
    await trio.sleep(1000)
    assert [bucket.take() > 0 for _ in range(7)] == [False] * 5 + [True] * 2


@given(pauses=st.lists(st.floats(0, 3), max_size=50))
@settings(deadline=None, max_examples=50)
def test_never_more_than_burst_and_rate_allow(pauses: list[float]) -> None:
    async def taken(autojump_clock: MockClock) -> tuple[int, float]:
        bucket = TokenBucket(rate=2, burst=3)
        count = 0
        for pause in pauses:
            await trio.sleep(pause)
            count += bucket.take() == 0.0
        return count, sum(pauses)

    clock = MockClock(autojump_threshold=0)
    count, seconds = trio.run(taken, clock, clock=clock)
    assert count <= 3 + 2 * seconds + 1e-6
