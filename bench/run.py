"""One call: the chosen scenarios, for Tertulia and each chosen peer, so often as asked. In: a plan. Out: an outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from .load.crowd import CrowdFailed
from .machine import this_machine
from .peers import Peer
from .peers.running import DoesNotStart
from .progress import Progress
from .results import Outcome, Result
from .scenarios.scenario import Scenario
from .servers import TERTULIA, DidNotStart, Place
from .stage import Stage, in_run


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        contenders: None stands for Tertulia.
        spare_peers: with `quick`, let peers take part in what shows them briefly, and in nothing else: all of them
            in everything would take many minutes.
    """

    scenarios: Sequence[Scenario]
    contenders: Sequence[Peer | None] = (None,)
    runs: int = 1
    quick: bool = False
    spare_peers: bool = False
    place: Place = field(default_factory=Place)
    client_cores: Sequence[int] = ()

    @property
    def points(self) -> int:
        """How many results there will be."""
        return self.runs * sum(self._points(each, peer) for each in self.scenarios for peer in self.contenders)

    def _points(self, scenario: Scenario, peer: Peer | None) -> int:
        if peer is not None and not scenario.fits(peer):
            return 0
        return scenario.briefly if peer is not None and self.quick and self.spare_peers else scenario.points[self.quick]


def carry_out(plan: Plan, progress: Progress, show: Callable[[Result], None]) -> Outcome:
    """Measure everything; `show` is called with each result when it is there.

    Peers take turns within a run, so that what changes on the machine meanwhile changes for all of them.
    """
    began = datetime.now(UTC).isoformat(timespec="seconds")
    results, skipped = list[Result](), dict[str, str]()
    stage = Stage(plan.place, progress, quick=plan.quick, spare_peers=plan.spare_peers, client_cores=plan.client_cores)
    for run in range(plan.runs):
        for scenario in plan.scenarios:
            for peer in plan.contenders:
                _measure(replace(stage, peer=peer), scenario, run, results, skipped, show)
    progress.end()
    return Outcome(this_machine(), began, results, skipped)


def _measure(
    stage: Stage,
    scenario: Scenario,
    run: int,
    results: list[Result],
    skipped: dict[str, str],
    show: Callable[[Result], None],
) -> None:
    name = TERTULIA if stage.peer is None else stage.peer.name
    if stage.peer is not None and stage.quick and stage.spare_peers and not scenario.briefly:
        skipped[f"{name}, other scenarios"] = "not with --quick, unless they are named"
        return
    if stage.peer is not None and not scenario.fits(stage.peer):
        skipped[f"{name}, {scenario.name}"] = "it has nothing like that"
        return
    try:
        for result in scenario.measure(stage):
            results += in_run([result], run)
            show(result)
            stage.progress.step()
    except (CrowdFailed, DidNotStart, DoesNotStart) as error:
        skipped[f"{name}, {scenario.name}"] = str(error)
        stage.progress.say(f"{name}, {scenario.name}: {error}")


def missing(peers: Sequence[Peer]) -> Mapping[str, str]:
    """Why some of them cannot run here."""
    return {peer.name: peer.missing for peer in peers if peer.missing is not None}
