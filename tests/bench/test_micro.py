"""Micro benchmarks: that figures are those of the work done, in CPU time and in instructions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.micro import all as micro
from bench.micro.bench import MicroBench, Round
from bench.micro.counted import REFERENCES, ROUNDS, go_through
from bench.micro.counting import NotCounted, ratios, totals_in
from bench.micro.measuring import measure
from bench.micro.reference import OPERATIONS, reference

NEEDS_A_SERVER = {"commit postgres"}


class Loops:
    """As much work as the reference does, so many times; counts its rounds."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.rounds = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Round]:
        async def run() -> None:
            self.rounds += 1
            for _ in range(self.times):
                reference()

        yield run

    def bench(self) -> MicroBench:
        return MicroBench(f"{self.times} loops", "a step", OPERATIONS, self.open)


async def test_a_ratio_says_how_many_times_the_work_of_the_reference_was_done() -> None:
    one, three = await measure([Loops(1).bench(), Loops(3).bench()], rounds=15)
    assert one.ratio == pytest.approx(1, rel=0.25)
    assert three.ratio == pytest.approx(3, rel=0.25)


async def test_every_bench_runs() -> None:
    benches = [bench for bench in micro.BENCHES if bench.name not in NEEDS_A_SERVER]
    figures = await measure(benches, rounds=1)
    assert [figure.name for figure in figures] == [bench.name for bench in benches]
    assert all(figure.ratio > 0 for figure in figures)


async def test_the_rounds_that_are_counted_are_between_two_marks() -> None:
    loops, seen = Loops(0), list[int]()
    await go_through([loops.bench()], lambda: seen.append(loops.rounds))
    before_reference, after_reference, before, after = seen
    assert (before_reference, after_reference) == (0, 0)
    assert after - before == ROUNDS
    assert loops.rounds == after


def test_instructions_become_ratios_to_a_step_of_the_reference() -> None:
    per_step, startup, gap = 100, 7_000_000, 31
    of_reference = per_step * OPERATIONS * REFERENCES
    of_three = 3 * per_step * OPERATIONS * ROUNDS
    found = ratios([Loops(3).bench()], [startup, of_reference, gap, of_three])
    assert found == {"3 loops": pytest.approx(3)}


def test_each_part_s_total_is_read_in_the_order_of_the_marks(tmp_path: Path) -> None:
    for number in range(1, 12):
        (tmp_path / f"part.{number}").write_text(
            f"# callgrind format\npart: {number}\nevents: Ir\ntotals: {number}00\n"
        )
    assert totals_in(tmp_path / "part", 10) == [100 * number for number in range(1, 11)]


def test_a_mark_that_was_not_seen_is_said(tmp_path: Path) -> None:
    (tmp_path / "part.1").write_text("totals: 5\n")
    with pytest.raises(NotCounted, match=r"Part 2 of 4 is missing: .* ctermid"):
        totals_in(tmp_path / "part", 4)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match=r"no micro benchmark polcy; there are .*policy"):
        micro.available(["polcy"])
