"""Nothing gets slower unnoticed. In: the micro benchmarks and `guard.json`. Out: 1 where one costs 25 % more.

    python -m bench.guard             compare
    python -m bench.guard --update    keep what is measured now, to be reviewed and committed like code

The kept figures are ratios to a reference loop (`micro/reference.py`), by kind of Python and processor: another release
of Python has other ratios, and needs figures of its own. A figure that is too high is measured again before it is
believed, and the lowest counts: noise only ever adds.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import trio

from .micro.all import BENCHES, available
from .micro.measuring import measure

KEPT = Path(__file__).with_name("guard.json")
TOLERANCE = 1.25  # times the kept ratio
MEASUREMENTS = 3  # at most, to compare; always, to update
WIDTH = max(len(bench.name) for bench in BENCHES)

Ratios = Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """One benchmark, beside what is kept of it; None where nothing is."""

    name: str
    kept: float | None
    now: float

    @property
    def slower(self) -> bool:
        return self.kept is not None and self.now > self.kept * TOLERANCE

    def __str__(self) -> str:
        if self.kept is None:
            return f"{self.name:{WIDTH}} {'':10} {self.now:10.2f}   has no figure yet: python -m bench.guard --update"
        change = f"{self.now / self.kept - 1:+7.0%}"
        verdict = f"   slower by more than {TOLERANCE - 1:.0%}" if self.slower else ""
        return f"{self.name:{WIDTH}} {self.kept:10.2f} {self.now:10.2f} {change}{verdict}"


def compare(kept: Ratios, measured: Ratios) -> list[Comparison]:
    """What was measured, in its order."""
    return [Comparison(name, kept.get(name), ratio) for name, ratio in measured.items()]


def lowest(first: Ratios, second: Ratios) -> dict[str, float]:
    """Of two measurements, what of each was disturbed less."""
    return {name: min(ratio, second[name]) for name, ratio in first.items()}


def this_machine() -> str:
    """What figures belong to."""
    major, minor, _ = platform.python_version_tuple()
    return f"{platform.python_implementation()} {major}.{minor} {platform.machine()}".lower()


def read(path: Path = KEPT) -> dict[str, dict[str, float]]:
    """Ratios by name, by machine."""
    if not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, float]])


def write(figures: Mapping[str, Ratios], path: Path = KEPT) -> None:
    """Keep ratios, in a form that shows in a diff what changed."""
    rounded = {machine: {name: round(ratio, 3) for name, ratio in of.items()} for machine, of in figures.items()}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(rounded), indent=2) + b"\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, or update."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.guard", description="Compare the micro benchmarks with the kept figures."
    )
    parser.add_argument("--update", action="store_true", help="keep the figures of now")
    given = parser.parse_args(arguments)
    benches, reasons = available()
    for name, reason in reasons.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)

    def measured() -> dict[str, float]:
        return {figure.name: figure.ratio for figure in trio.run(partial(measure, benches))}

    figures, machine = read(), this_machine()
    if given.update:
        write({**figures, machine: renewed(figures.get(machine, {}), [measured() for _ in range(MEASUREMENTS)])})
        return judge(read()[machine], measured)
    if machine not in figures:
        print(f"No figures are kept for {machine}, so nothing is compared: python -m bench.guard --update")
        return 0
    return judge(figures[machine], measured)


def judge(kept: Ratios, measured: Callable[[], Ratios]) -> int:
    """Measure, again where something seems slower, and print the comparison; 1 where it is to be refused."""
    ratios = measured()
    for _ in range(MEASUREMENTS - 1):
        if not any(each.slower for each in compare(kept, ratios)):
            break
        ratios = lowest(ratios, measured())
    comparisons = compare(kept, ratios)
    print(f"{'':{WIDTH}} {'kept':>10} {'now':>10}  change   (steps of the reference loop per operation)")
    for comparison in comparisons:
        print(comparison)
    gone = sorted(set(kept) - {bench.name for bench in BENCHES})
    for name in gone:
        print(f"{name} is kept, and there is no such benchmark: python -m bench.guard --update")
    return 1 if gone or any(each.slower or each.kept is None for each in comparisons) else 0


def renewed(kept: Ratios, measurements: Sequence[Ratios]) -> dict[str, float]:
    """What to keep: the middle of several measurements, and the old figure of what cannot be measured here."""
    middle = {name: statistics.median(each[name] for each in measurements) for name in measurements[0]}
    return {bench.name: ratio for bench in BENCHES if (ratio := middle.get(bench.name, kept.get(bench.name)))}


if __name__ == "__main__":
    sys.exit(main())
