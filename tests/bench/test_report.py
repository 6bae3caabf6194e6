from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.load.marks import Completeness
from bench.report import folder
from bench.report.lines import line_of, spread
from bench.report.svg import Axis, plot
from bench.report.table import table_of
from bench.results import Latency, Machine, Outcome, Result, all_ok, read

MACHINE = Machine("a processor", 2, 24.0, "6.1", "3.11", "malloc")
RESULT = Result(
    "fan-out",
    "tertulia",
    "0.1.0",
    "10 subscribers",
    "delivery",
    throughput=50_000.0,
    seconds=6.0,
    latency=Latency(4, 1.0, 2.0, 3.0, 4.0, [(50.0, 1.0), (99.0, 2.0), (100.0, 4.0)]),
    cpu_us={"python": 5.0},
    cpu_share=0.25,
    resident_mib={"python": 45.0},
    client_share=0.5,
    completeness=Completeness(expected=4),
    axis="subscribers",
    x=10,
)
LOST = replace(RESULT, completeness=Completeness(expected=4, lost=1))
REFUSED = replace(RESULT, client_share=0.95)


def outcome(*results: Result) -> Outcome:
    return Outcome(MACHINE, "2026-01-01T00:00:00+00:00", list(results), {"nchan": "not installed"})


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (RESULT, "ok"),
        (LOST, "FAILED"),
        (replace(RESULT, completeness=Completeness(expected=4, duplicated=1)), "FAILED"),
        (replace(RESULT, completeness=Completeness(expected=4, reordered=1)), "FAILED"),
        (replace(RESULT, complaints=("refused: HTTP/1.1 503",)), "FAILED"),
        (REFUSED, "refused"),
    ],
)
def test_a_result_counts_only_when_it_is_complete_and_the_generator_had_time_to_spare(
    result: Result, verdict: str
) -> None:
    assert result.verdict == verdict
    assert all_ok([result]) is (verdict == "ok")


def test_what_is_wrong_is_said_in_the_line_and_in_the_table() -> None:
    assert "FAILED: 1 lost" in line_of(LOST)
    assert "REFUSED: the load generator used 95 % of its core" in line_of(REFUSED)
    assert "**FAILED** (1 of 1): 1 lost" in table_of(outcome(LOST))


def test_a_row_shows_the_median_of_the_runs_and_how_far_they_were_from_it() -> None:
    runs = [replace(RESULT, run=run, throughput=value) for run, value in enumerate((90.0, 100.0, 130.0))]
    assert "| 10 subscribers | 100 ±30 % |" in table_of(outcome(*runs))


def test_a_run_that_failed_spoils_no_figure_but_is_told() -> None:
    table = table_of(outcome(RESULT, replace(LOST, run=1, throughput=1.0)))
    assert "| 10 subscribers | 50,000 |" in table
    assert "**FAILED** (1 of 2)" in table


def test_who_keeps_nothing_is_marked() -> None:
    assert "\\*" not in table_of(outcome(RESULT))
    assert "| ws 8.0 \\* |" in table_of(outcome(replace(RESULT, peer="ws", version="8.0", durable=False)))


def test_the_cpu_time_of_a_delivery_is_told_in_multiples_of_the_floor_at_the_same_point() -> None:
    floor = replace(RESULT, peer="c-loop", cpu_us={"c-loop": 2.0})
    farther = replace(RESULT, point="100 subscribers")
    rows = [line.split(" | ") for line in table_of(outcome(RESULT, floor, farther)).splitlines() if "|" in line]
    column = rows[0].index("times the floor")
    assert [row[column] for row in rows[2:]] == ["2.50", "1.00", "-"]


def test_without_the_floor_nothing_is_told_in_multiples_of_it() -> None:
    broken = replace(LOST, peer="c-loop")
    stored = replace(RESULT, peer="c-loop", unit="message")
    assert "times the floor" not in table_of(outcome(RESULT, broken))
    assert "times the floor" not in table_of(outcome(replace(RESULT, unit="message"), stored))


def test_what_was_not_measured_is_listed_with_its_reason() -> None:
    assert "- nchan: not installed" in table_of(outcome(RESULT))


def test_one_value_has_no_spread() -> None:
    assert spread([5.25]) == "5.25"


def test_the_folder_holds_the_figures_the_table_and_the_plots_that_it_shows(tmp_path: Path) -> None:
    measured = outcome(RESULT, replace(RESULT, point="100 subscribers", x=100), replace(RESULT, peer="ws"))
    page = folder.write(measured, tmp_path / "report")
    assert read(page.parent / folder.JSON) == measured
    shown = [line.partition("](")[2].rstrip(")") for line in page.read_text().splitlines() if line.startswith("![")]
    assert sorted(shown) == sorted(path.name for path in page.parent.glob("*.svg"))
    assert {"fan-out-cpu.svg", "fan-out-p99.svg", "fan-out-latency-1.svg"} <= set(shown)
    for name in shown:
        ElementTree.parse(page.parent / name)


def test_a_plot_draws_a_line_for_each_name_within_its_axes() -> None:
    picture = plot("a < b", {"one": [(1, 5.0), (1000, 50.0)], "two": []}, Axis("x", logarithmic=True), Axis("y"))
    root = ElementTree.fromstring(picture)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a < b", "one", "two", "1", "10", "100", "1,000", "0", "50"} <= set(texts)
    paths = [element.get("d") for element in root.iter("{http://www.w3.org/2000/svg}path")]
    assert paths == ["M72.0 353.2 L580.0 40.0"]


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show() -> None:
    picture = plot("t", {"one": [(0, 0.0), (10, 1.0)]}, Axis("x"), Axis("y", logarithmic=True))
    assert picture.count("<circle") == 1
