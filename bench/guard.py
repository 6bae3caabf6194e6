"""Nothing gets slower unnoticed. In: instruction counts and `guard.json`. Out: 1 where a benchmark costs 25 % more.

    python -m bench.guard             compare
    python -m bench.guard --update    keep what is counted now, to be reviewed and committed like code

The kept figures are ratios to a reference loop (`micro/reference.py`), by kind of Python and processor: another release
of Python has other ratios, and needs figures of its own. Where nothing can be counted or compared, it says so and
refuses nothing.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .micro import counting
from .micro.all import BENCHES, available

KEPT = Path(__file__).with_name("guard.json")
TOLERANCE = 1.25  # times the kept ratio
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
    if (reason := counting.missing()) is not None:
        print(f"The guard is left out, and nothing is compared: {reason}", file=sys.stderr)
        return 0
    figures, machine = read(), this_machine()
    if machine not in figures and not given.update:
        print(f"No figures are kept for {machine}, so nothing is compared: python -m bench.guard --update")
        return 0
    benches, reasons = available()
    for name, reason in reasons.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    counted = counting.count(benches)
    if given.update:
        figures[machine] = renewed(figures.get(machine, {}), counted)
        write(figures)
    return judge(figures[machine], counted)


def judge(kept: Ratios, counted: Ratios) -> int:
    """Print the comparison; 1 where it is to be refused."""
    comparisons = [Comparison(name, kept.get(name), ratio) for name, ratio in counted.items()]
    print(
        f"{'':{WIDTH}} {'kept':>10} {'now':>10}  change   (instructions per operation, in steps of the reference loop)"
    )
    for comparison in comparisons:
        print(comparison)
    gone = sorted(set(kept) - {bench.name for bench in BENCHES})
    for name in gone:
        print(f"{name} is kept, and there is no such benchmark: python -m bench.guard --update")
    return 1 if gone or any(each.slower or each.kept is None for each in comparisons) else 0


def renewed(kept: Ratios, counted: Ratios) -> dict[str, float]:
    """What to keep: what was counted, and the old figure of what cannot run here."""
    return {bench.name: ratio for bench in BENCHES if (ratio := counted.get(bench.name, kept.get(bench.name)))}


if __name__ == "__main__":
    sys.exit(main())
