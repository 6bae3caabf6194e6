"""A scenario from end to end: a server, a crowd, a verdict."""

from __future__ import annotations

import io

import pytest

from bench.peers import peer
from bench.progress import Progress
from bench.results import Result
from bench.run import Plan, carry_out
from bench.scenarios.catalogue import SCENARIOS


@pytest.mark.slow
def test_a_scenario_measures_a_real_server_and_finds_everything_complete() -> None:
    shown: list[Result] = []
    plan = Plan([SCENARIOS["http-posts"]], quick=True)
    outcome = carry_out(plan, Progress(plan.points, io.StringIO()), shown.append)
    (result,) = outcome.results
    assert shown == [result]
    assert result.complaints == ()
    assert result.completeness.perfect
    assert result.completeness.expected > 0
    assert result.latency is not None
    assert 0 < result.latency.p50 <= result.latency.p99 <= result.latency.max
    assert result.cpu_us_total > 0
    assert result.resident_total > 0


def test_a_plan_knows_how_many_results_there_will_be() -> None:
    fan_out = SCENARIOS["fan-out"]
    assert Plan([fan_out], quick=True, runs=2).points == 2 * fan_out.points[True]
    assert Plan(list(SCENARIOS.values())).points == sum(scenario.points[False] for scenario in SCENARIOS.values())


def test_a_bar_is_for_terminals_and_lines_are_for_files() -> None:
    output = io.StringIO()
    progress = Progress(2, output)
    progress.begin("fan-out")
    progress.step()
    progress.end()
    assert output.getvalue() == "fan-out\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_how_much_is_done() -> None:
    output = Terminal()
    progress = Progress(2, output)
    progress.step()
    progress.begin("ingest")
    assert output.getvalue().endswith("[############............] 1/2 ingest")


def test_peers_that_are_spared_are_shown_in_one_point_of_one_scenario() -> None:
    ws = peer("ws")
    spared = Plan(list(SCENARIOS.values()), [None, ws], quick=True, spare_peers=True)
    alone = Plan(list(SCENARIOS.values()), quick=True)
    assert spared.points == alone.points + 1
    named = Plan([SCENARIOS["ingest"]], [None, ws], quick=True)
    assert named.points == 2 * SCENARIOS["ingest"].points[True]


def test_why_a_peer_is_spared_is_told() -> None:
    plan = Plan([SCENARIOS["ingest"]], [peer("ws")], quick=True, spare_peers=True)
    outcome = carry_out(plan, Progress(plan.points, io.StringIO()), lambda result: None)
    assert outcome.results == []
    assert outcome.skipped == {"ws, other scenarios": "not with --quick, unless they are named"}
