"""Latencies, counted in buckets whose width grows with the value. In: nanoseconds. Out: percentiles; mergeable.

A bucket is at most 1/64 of its value wide (1.6 %), so that a percentile is right to two digits from 1 us to minutes,
in a list of some thousand numbers that processes can send to each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

UNIT_SHIFT = 10  # values are kept in units of 1,024 ns
PRECISION_BITS = 6
_LINEAR = 1 << (PRECISION_BITS + 1)  # below this many units, each unit has its own bucket
NANOSECONDS_PER_MS = 1e6


def bucket_of(nanoseconds: int) -> int:
    """The number of the bucket that holds the value; clocks that differ may make it negative, which counts as 0."""
    units = nanoseconds >> UNIT_SHIFT
    if units < _LINEAR:
        return units if units > 0 else 0
    shift = units.bit_length() - PRECISION_BITS - 1
    return (shift << PRECISION_BITS) + (units >> shift)


def milliseconds_of(bucket: int) -> float:
    """The middle of a bucket."""
    if bucket < _LINEAR:
        low, width = bucket, 1
    else:
        shift = (bucket >> PRECISION_BITS) - 1
        low, width = (bucket - (shift << PRECISION_BITS)) << shift, 1 << shift
    return (low + width / 2) * (1 << UNIT_SHIFT) / NANOSECONDS_PER_MS


class Histogram:
    """Counts by bucket. `counts` is open to the generator's hot path, which increments it by `bucket_of`."""

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def record(self, nanoseconds: int) -> None:
        bucket = bucket_of(nanoseconds)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def merge(self, others: Iterable[Histogram]) -> Histogram:
        for other in others:
            for bucket, count in other.counts.items():
                self.counts[bucket] = self.counts.get(bucket, 0) + count
        return self

    def percentile(self, percent: float) -> float:
        """The value, in milliseconds, that so many percent of all do not exceed; 0 where nothing was recorded."""
        needed = self.count * percent / 100
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= needed:
                return milliseconds_of(bucket)
        return 0.0

    def distribution(self) -> list[tuple[float, float]]:
        """Pairs (percent, milliseconds) for a plot: one for each bucket that holds something."""
        total, seen, pairs = self.count, 0, list[tuple[float, float]]()
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            pairs.append((100 * seen / total, milliseconds_of(bucket)))
        return pairs
