from __future__ import annotations

import pytest

from bench.load.histogram import Histogram, bucket_of, milliseconds_of

MS = 1_000_000


@pytest.mark.parametrize("nanoseconds", [5_000, 130_000, 3 * MS, 47 * MS, 1_234 * MS, 60_000 * MS])
def test_a_bucket_is_within_two_percent_of_what_it_holds(nanoseconds: int) -> None:
    found = milliseconds_of(bucket_of(nanoseconds)) * MS
    assert abs(found - nanoseconds) <= max(0.02 * nanoseconds, 1024)


def test_buckets_grow_with_the_value() -> None:
    buckets = [bucket_of(nanoseconds) for nanoseconds in range(0, 50 * MS, 997)]
    assert buckets == sorted(buckets)


def test_what_clocks_that_differ_make_negative_counts_as_nothing() -> None:
    assert bucket_of(-5_000) == 0


def test_percentiles_are_those_of_the_values() -> None:
    histogram = Histogram()
    for ms in range(1, 1001):
        histogram.record(ms * MS)
    found = [histogram.percentile(percent) for percent in (50, 99, 99.9, 100)]
    assert found == pytest.approx([500, 990, 999, 1000], rel=0.02)


def test_histograms_of_processes_add_up() -> None:
    slow, fast = Histogram(), Histogram()
    for _ in range(99):
        fast.record(1 * MS)
    slow.record(100 * MS)
    both = Histogram().merge([slow, fast])
    assert both.count == 100
    assert both.percentile(50) == pytest.approx(1, rel=0.02)
    assert both.percentile(100) == pytest.approx(100, rel=0.02)


def test_a_distribution_ends_with_everything() -> None:
    histogram = Histogram()
    for ms in (1, 2, 3):
        histogram.record(ms * MS)
    assert [round(percent) for percent, _ in histogram.distribution()] == [33, 67, 100]


def test_nothing_has_no_percentile() -> None:
    assert Histogram().percentile(99) == 0
