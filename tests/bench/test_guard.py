"""The regression guard: what it refuses, what it lets pass, and that its figures are those of the work done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from bench import guard
from bench.micro import all as micro
from bench.micro.bench import MicroBench, Round
from bench.micro.measuring import measure
from bench.micro.reference import OPERATIONS, reference

KEPT = {bench.name: 10.0 for bench in micro.BENCHES}
NEEDS_A_SERVER = {"commit postgres"}


def measurements(*each: dict[str, float]) -> Callable[[], dict[str, float]]:
    """Measurements that were made before, one at each call."""
    return partial(next, iter([{**KEPT, **changed} for changed in each]))


def test_a_bench_that_costs_more_than_a_quarter_more_is_refused_by_name_with_both_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    slower = {"policy": 12.6}
    assert guard.judge(KEPT, measurements(slower, slower, slower)) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "slower" in line]
    assert line.split()[:4] == ["policy", "10.00", "12.60", "+26%"]


def test_what_stays_within_a_quarter_passes_at_the_first_measurement() -> None:
    assert guard.judge(KEPT, measurements({"policy": 12.4, "ask": 3.0})) == 0


def test_a_disturbance_is_measured_again_before_it_is_believed() -> None:
    assert guard.judge(KEPT, measurements({"ask": 20.0}, {"ask": 20.0}, {"ask": 10.1})) == 0


def test_two_benches_that_are_disturbed_in_turn_pass() -> None:
    assert guard.judge(KEPT, measurements({"ask": 20.0}, {"policy": 20.0})) == 0


def test_a_bench_without_a_figure_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    kept = {name: ratio for name, ratio in KEPT.items() if name != "policy"}
    assert guard.judge(kept, measurements({})) == 1
    assert "has no figure yet" in capsys.readouterr().out


def test_a_figure_without_a_bench_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.judge({**KEPT, "telepathy": 1.0}, measurements({})) == 1
    assert "telepathy is kept" in capsys.readouterr().out


def test_what_cannot_run_here_is_not_compared() -> None:
    def measured() -> dict[str, float]:
        return {name: ratio for name, ratio in KEPT.items() if name not in NEEDS_A_SERVER}

    assert guard.judge(KEPT, measured) == 0


def test_an_update_keeps_the_middle_of_what_was_measured_and_the_figures_of_what_was_not() -> None:
    measured = [{"policy": 2.0, "ask": 5.0}, {"policy": 9.0, "ask": 5.1}, {"policy": 2.1, "ask": 4.0}]
    kept = guard.renewed({"policy": 1.0, "commit postgres": 30.0, "telepathy": 1.0}, measured)
    assert kept == {"policy": 2.1, "ask": 5.0, "commit postgres": 30.0}


def test_figures_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "guard.json"
    assert guard.read(path) == {}
    guard.write({"a": {"policy": 1.23456}, "b": {"ask": 2.0}}, path)
    assert guard.read(path) == {"a": {"policy": 1.235}, "b": {"ask": 2.0}}


def test_every_bench_has_a_figure_for_every_machine_that_has_any() -> None:
    names = {bench.name for bench in micro.BENCHES}
    assert {machine: set(kept) for machine, kept in guard.read().items()} == dict.fromkeys(guard.read(), names)


def loops(times: int) -> MicroBench:
    """As much work as the reference does, so many times."""

    @asynccontextmanager
    async def setup() -> AsyncGenerator[Round]:
        async def run() -> None:
            for _ in range(times):
                reference()

        yield run

    return MicroBench(f"{times} loops", "a step", OPERATIONS, setup)


async def test_a_ratio_says_how_many_times_the_work_of_the_reference_was_done() -> None:
    one, three = await measure([loops(1), loops(3)], rounds=15)
    assert one.ratio == pytest.approx(1, rel=0.25)
    assert three.ratio == pytest.approx(3, rel=0.25)
    assert guard.Comparison("loops", one.ratio, three.ratio).slower


async def test_every_bench_runs() -> None:
    benches = [bench for bench in micro.BENCHES if bench.name not in NEEDS_A_SERVER]
    figures = await measure(benches, rounds=1)
    assert [figure.name for figure in figures] == [bench.name for bench in benches]
    assert all(figure.ratio > 0 for figure in figures)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match=r"no micro benchmark polcy; there are .*policy"):
        micro.available(["polcy"])
