"""`python -m bench.micro [NAME...]`: what single operations cost, in CPU time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import msgspec
import trio

from .all import available
from .measuring import ROUNDS, Figure, measure


def table(figures: Sequence[Figure]) -> str:
    """The figures as Markdown."""
    lines = ["| benchmark | us | steps | spread | one operation |", "|---|---:|---:|---:|---|"]
    lines += [
        f"| {figure.name} | {figure.microseconds:.2f} | {figure.ratio:.2f} | {figure.spread:.0%} | {figure.about} |"
        for figure in figures
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description=__doc__)
    parser.add_argument("name", nargs="*", help="all where none is named")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args(arguments)
    try:
        benches, reasons = available(given.name)
    except LookupError as error:
        parser.error(str(error))
    figures = trio.run(partial(measure, benches, given.rounds))
    print(msgspec.json.format(msgspec.json.encode(figures)).decode() if given.json else table(figures))
    for name, reason in reasons.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
