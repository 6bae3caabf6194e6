"""Figures as people read them. In: results. Out: lines and cells."""

from __future__ import annotations

from statistics import median

from ..results import Result


def line_of(result: Result) -> str:
    """One result in a line, for a terminal."""
    latency = result.latency
    waits = f"p50 {shown(latency.p50)} ms, p99 {shown(latency.p99)} ms" if latency else "no latency"
    facts = "".join(f", {name} {shown(value)}" for name, value in result.facts.items())
    verdict = "" if result.verdict == "ok" else f" {result.verdict.upper()}: {why(result)}"
    speed = f"{shown(result.throughput)} {plural(result.unit)}/s"
    return (
        f"{result.peer}, {result.scenario}, {result.point}: {speed}, {waits},"
        f" {shown(result.cpu_us_total)} us CPU each, {shown(result.resident_total)} MiB,"
        f" generator {100 * result.client_share:.0f} %{facts}{verdict}"
    )


def why(result: Result) -> str:
    """What is wrong with a result; empty where nothing is."""
    found = result.completeness
    counts = {"lost": found.lost, "duplicated": found.duplicated, "reordered": found.reordered}
    wrong = [f"{count:,} {name}" for name, count in counts.items() if count]
    wrong += result.complaints[:1]
    if result.verdict == "refused":
        wrong.append(f"the load generator used {100 * result.client_share:.0f} % of its core")
    return "; ".join(wrong)


def plural(unit: str) -> str:
    return "deliveries" if unit == "delivery" else f"{unit}s"


def shown(value: float) -> str:
    """Three digits that matter, and no more; a count is a count."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: list[float]) -> str:
    """The median, and how far all were from it at most: `16,900 ±3 %`; one value is itself."""
    middle = median(values)
    if len(values) == 1 or not middle:
        return shown(middle)
    return f"{shown(middle)} ±{100 * max(abs(value - middle) for value in values) / middle:.0f} %"
