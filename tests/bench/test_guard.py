"""The regression guard: what it refuses, and what it lets pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import guard
from bench.micro import all as micro
from bench.micro import counting

KEPT = {bench.name: 10.0 for bench in micro.BENCHES}
NEEDS_A_SERVER = {"commit postgres"}


def test_a_bench_that_costs_more_than_a_quarter_more_is_refused_by_name_with_both_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert guard.judge(KEPT, {**KEPT, "policy": 12.6}) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "slower" in line]
    assert line.split()[:4] == ["policy", "10.00", "12.60", "+26%"]


def test_what_stays_within_a_quarter_passes() -> None:
    assert guard.judge(KEPT, {**KEPT, "policy": 12.4, "ask": 3.0}) == 0


def test_a_bench_without_a_figure_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    kept = {name: ratio for name, ratio in KEPT.items() if name != "policy"}
    assert guard.judge(kept, KEPT) == 1
    assert "has no figure yet" in capsys.readouterr().out


def test_a_figure_without_a_bench_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.judge({**KEPT, "telepathy": 1.0}, KEPT) == 1
    assert "telepathy is kept" in capsys.readouterr().out


def test_what_cannot_run_here_is_not_compared() -> None:
    assert guard.judge(KEPT, {name: ratio for name, ratio in KEPT.items() if name not in NEEDS_A_SERVER}) == 0


def test_an_update_keeps_what_was_counted_and_the_figures_of_what_was_not() -> None:
    kept = guard.renewed({"policy": 1.0, "commit postgres": 30.0, "telepathy": 1.0}, {"policy": 2.1, "ask": 5.0})
    assert kept == {"policy": 2.1, "ask": 5.0, "commit postgres": 30.0}


def test_without_a_counter_or_figures_nothing_is_refused_and_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert guard.main([]) == 0
    assert "there is no valgrind here" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(counting, "missing", lambda: None)
    monkeypatch.setattr(guard, "this_machine", lambda: "abacus")
    assert guard.main([]) == 0
    assert "No figures are kept for abacus" in capsys.readouterr().out


def test_figures_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "guard.json"
    assert guard.read(path) == {}
    guard.write({"a": {"policy": 1.23456}, "b": {"ask": 2.0}}, path)
    assert guard.read(path) == {"a": {"policy": 1.235}, "b": {"ask": 2.0}}


def test_every_bench_has_a_figure_for_every_machine_that_has_any() -> None:
    names = {bench.name for bench in micro.BENCHES}
    assert {machine: set(kept) for machine, kept in guard.read().items()} == dict.fromkeys(guard.read(), names)
