"""The Markdown of a report. In: an outcome. Out: a table for each scenario, medians of all runs with their spread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from ..results import Outcome, Result
from .lines import plural, shown, spread, why

HEAD = ("who", "point", "per second", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "CPU us each", "MiB", "generator")
#: The peer that does nothing but send what it reads: what others need of CPU time is shown in multiples of it.
FLOOR, OF_FLOOR = "c-loop", "times the floor"
NOT_DURABLE = " \\*"
DURABLE_NOTE = f"{NOT_DURABLE.strip()} keeps nothing: what it sends is on no disk"


def table_of(outcome: Outcome) -> str:
    """Everything that was measured, by scenario."""
    machine = outcome.machine
    lines = [
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB; Linux {machine.kernel},"
        f" Python {machine.python}, Tertulia on {machine.allocator}; {outcome.began}.",
    ]
    for scenario in unique(result.scenario for result in outcome.results):
        lines += ["", f"## {scenario}", "", *_table([each for each in outcome.results if each.scenario == scenario])]
    if outcome.skipped:
        lines += ["", "## Not measured", ""]
        lines += (f"- {name}: {' '.join(reason.split())[:300]}" for name, reason in sorted(outcome.skipped.items()))
    return "\n".join(lines) + "\n"


def unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def groups(results: Sequence[Result]) -> Iterator[list[Result]]:
    """The runs of one point of one peer, together."""
    for peer, point in dict.fromkeys((result.peer, result.point) for result in results):
        yield [result for result in results if (result.peer, result.point) == (peer, point)]


def _table(results: Sequence[Result]) -> Iterator[str]:
    yield f"Per {results[0].unit}; {plural(results[0].unit)} per second."
    yield ""
    facts = unique(name for result in results for name in result.facts)
    split = unique(name for result in results if len(result.cpu_us) > 1 for name in result.cpu_us)
    floors = floors_of(results)
    head = [*HEAD, *([OF_FLOOR] if floors else []), *facts, *(["CPU by program"] if split else []), "complete"]
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for runs in groups(results):
        yield f"| {' | '.join(_cells(runs, facts, floors, by_program=bool(split)))} |"
    if not all(result.durable for result in results):
        yield ""
        yield DURABLE_NOTE


def floors_of(results: Sequence[Result]) -> dict[str, float]:
    """The floor's CPU time of a delivery at each point, in us; of anything else it does too little to compare with."""
    costs: dict[str, list[float]] = {}
    for result in results:
        if result.peer == FLOOR and result.unit == "delivery" and result.verdict == "ok":
            costs.setdefault(result.point, []).append(result.cpu_us_total)
    return {point: cost for point, found in costs.items() if (cost := median(found))}


def _cells(
    runs: Sequence[Result], facts: Sequence[str], floors: Mapping[str, float], *, by_program: bool
) -> Iterator[str]:
    """One row. Runs that failed or were refused give no figures as long as others did better."""
    good = [run for run in runs if run.verdict == "ok"] or runs
    yield f"{good[0].peer} {good[0].version}{'' if good[0].durable else NOT_DURABLE}"
    yield good[0].point
    yield spread([run.throughput for run in good])
    latencies = [run.latency for run in good if run.latency is not None]
    for name in ("p50", "p99", "p99_9", "max"):
        yield spread([getattr(latency, name) for latency in latencies]) if latencies else "-"
    yield spread([run.cpu_us_total for run in good])
    yield spread([run.resident_total for run in good])
    yield f"{100 * max(run.client_share for run in good):.0f} %"
    if floors:
        floor = floors.get(good[0].point)
        yield f"{median(run.cpu_us_total for run in good) / floor:.2f}" if floor else "-"
    for name in facts:
        values = [run.facts[name] for run in good if name in run.facts]
        yield spread(values) if values else "-"
    if by_program:
        yield ", ".join(f"{name} {shown(cost)}" for name, cost in good[0].cpu_us.items())
    wrong = [run for run in runs if run.verdict != "ok"]
    yield f"**{wrong[0].verdict}** ({len(wrong)} of {len(runs)}): {_safe(why(wrong[0]))}" if wrong else "yes"


def _safe(text: str) -> str:
    """Text that does not end the cell."""
    return " ".join(text.split()).replace("|", "\\|")[:200]
