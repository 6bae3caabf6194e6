"""The plots of a report. In: results. Out: SVG by file name: cost curves, and how latencies are distributed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from ..results import Outcome, Result
from .svg import Axis, Points, plot
from .table import groups, unique

#: Percentiles are drawn by what is missing to 100 %: 90, 99 and 99.9 % are one step apart.
TAIL = Axis("percentile", logarithmic=True, text=lambda odds: f"{100 - 100 / odds:.10g} %")
LAST_DRAWN = 99.999  # percent
MILLISECONDS = Axis("ms", logarithmic=True)


def plots_of(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Pairs (file name, SVG)."""
    for scenario in unique(result.scenario for result in outcome.results):
        results = [result for result in outcome.results if result.scenario == scenario]
        name = scenario.lower().replace(" ", "-")
        if any(result.axis for result in results):
            yield f"{name}-cpu.svg", _curve(results, "CPU us each", [result.cpu_us_total for result in results])
            p99 = [result.latency.p99 if result.latency else 0.0 for result in results]
            yield f"{name}-p99.svg", _curve(results, "p99 ms", p99)
        yield from _distributions(name, results)


def _curve(results: Sequence[Result], label: str, values: Sequence[float]) -> str:
    """The median of the runs at each place, a line for each peer."""
    lines: dict[str, Points] = {}
    for peer in unique(result.peer for result in results):
        places: dict[float, list[float]] = {}
        for result, value in zip(results, values, strict=True):
            if result.peer == peer and result.verdict == "ok":
                places.setdefault(result.x, []).append(value)
        lines[peer] = [(x, median(found)) for x, found in sorted(places.items())]
    title = f"{results[0].scenario}: {label}, per {results[0].unit}"
    xs = [result.x for result in results]
    across = Axis(results[0].axis, logarithmic=min(xs) > 0 and max(xs) / min(xs) > 20)
    return plot(title, lines, across, Axis(label, logarithmic=label.startswith("p99")))


def _distributions(name: str, results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """One plot with a line for each point; where peers are compared, one for each point with a line for each peer."""
    timed = [first for first, *_ in groups(results) if first.latency is not None]
    if len(unique(result.peer for result in timed)) == 1:
        lines = {result.point: _tail(result) for result in timed}
        yield f"{name}-latency.svg", plot(f"{timed[0].scenario}: latency", lines, TAIL, MILLISECONDS)
        return
    for number, point in enumerate(unique(result.point for result in timed), start=1):
        lines = {result.peer: _tail(result) for result in timed if result.point == point}
        title = f"{timed[0].scenario}, {point}: latency"
        yield f"{name}-latency-{number}.svg", plot(title, lines, TAIL, MILLISECONDS)


def _tail(result: Result) -> Points:
    distribution = result.latency.distribution if result.latency is not None else []
    return [(100 / (100 - percent), ms) for percent, ms in distribution if percent <= LAST_DRAWN]
