"""The result of one run of a scenario, and how it becomes JSON and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from .load.crowd import SATURATED
from .load.histogram import Histogram
from .load.marks import Completeness

Verdict = Literal["ok", "FAILED", "refused"]


@dataclass(frozen=True)
class Latency:
    """Milliseconds; `distribution` holds pairs (percent, milliseconds) for a plot."""

    count: int
    p50: float
    p99: float
    p99_9: float
    max: float
    distribution: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]], repr=False)


@dataclass(frozen=True)
class Result:
    """One run of one point of a scenario.

    Attributes:
        scenario: its name.
        peer: who served: `tertulia` or a peer's name.
        version: of the peer.
        point: what was varied, as tables call it: `1,000 subscribers`.
        axis: what `x` counts, where the points make a curve.
        x: the place on the curve.
        unit: what throughput and CPU time are per: `delivery`, `message`, `request`, `connection`.
        throughput: units per second.
        cpu_us: CPU time of the server per unit, in us, by program.
        cpu_share: how much of one core the server's programs used together.
        resident_mib: memory of the server at the end, by program.
        client_share: the largest share of a core that a process of the generator used.
        facts: what only this scenario tells, such as `seconds until all are caught up`.
        complaints: what went wrong: refusals, connections that ended, targets that the scenario itself has.
        durable: whether messages were on disk before anybody heard of them.
        run: 0, 1, ...: several runs of the same point.
    """

    scenario: str
    peer: str
    version: str
    point: str
    unit: str
    throughput: float
    seconds: float
    latency: Latency | None
    cpu_us: Mapping[str, float]
    cpu_share: float
    resident_mib: Mapping[str, float]
    client_share: float
    completeness: Completeness
    durable: bool = True
    axis: str = ""
    x: float = 0.0
    facts: Mapping[str, float] = field(default_factory=dict[str, float])
    complaints: tuple[str, ...] = ()
    run: int = 0

    @property
    def verdict(self) -> Verdict:
        """`refused` where the generator was the bottleneck: then the figures say nothing about the server."""
        if self.complaints or not self.completeness.perfect:
            return "FAILED"
        return "refused" if self.client_share > SATURATED else "ok"

    @property
    def cpu_us_total(self) -> float:
        return sum(self.cpu_us.values())

    @property
    def resident_total(self) -> float:
        return sum(self.resident_mib.values())


def latency_of(histogram: Histogram) -> Latency | None:
    """None where nothing was recorded."""
    if not histogram.count:
        return None
    p50, p99, p99_9, longest = (histogram.percentile(percent) for percent in (50, 99, 99.9, 100))
    return Latency(histogram.count, p50, p99, p99_9, longest, histogram.distribution())


@dataclass(frozen=True)
class Machine:
    """Where the figures come from."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    allocator: str


@dataclass(frozen=True)
class Outcome:
    """Everything that one call of `python -m bench` measured."""

    machine: Machine
    began: str  # RFC 3339
    results: list[Result]
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])  # a peer or scenario, and why


def write(outcome: Outcome, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=1) + b"\n")


def read(path: Path) -> Outcome:
    """Raises `msgspec.MsgspecError` where the file holds something else."""
    return msgspec.json.decode(path.read_bytes(), type=Outcome)


def all_ok(results: Iterable[Result]) -> bool:
    return all(result.verdict == "ok" for result in results)
