"""Instructions per operation. In: benchmarks. Out: the ratio of each to a step of the reference loop.

A processor runs the same instructions however busy the machine is, so this ratio depends neither on the weather nor on
how fast the processor is: one measurement is enough, on a machine that nobody has ever measured on. callgrind, one of
valgrind's programs, counts them, in one process for all (`counted`), fifty times as slowly as they run otherwise. What
the kernel does is not counted, and neither is waiting: CPU time is for people (`measuring`), instructions are for
the guard.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from . import counted
from .bench import MicroBench
from .reference import OPERATIONS

PROGRAM = "valgrind"
MARK = "ctermid"  # what `counted.mark` calls
TIMEOUT = 300.0  # seconds
TOTALS = re.compile(r"^totals: (\d+)$", re.MULTILINE)
OUTPUT_SHOWN = 2000  # characters of what a process said that failed


class NotCounted(Exception):
    """The process under valgrind failed, or left another number of parts than it should; says what it said."""


def missing() -> str | None:
    """Why nothing can be counted here; None: it can."""
    return None if shutil.which(PROGRAM) else f"there is no {PROGRAM} here"


def count(benches: Sequence[MicroBench]) -> dict[str, float]:
    """Instructions per operation of each, in steps of the reference loop.

    Raises:
        NotCounted: valgrind is missing, or the process failed.
    """
    if (reason := missing()) is not None:
        raise NotCounted(f"Instructions cannot be counted: {reason}.")
    with TemporaryDirectory(prefix="tertulia-count-") as folder:
        parts = Path(folder, "part")
        done = subprocess.run(
            [
                PROGRAM, "--tool=callgrind", f"--callgrind-out-file={parts}", f"--dump-before={MARK}",
                "--dump-line=no", "--quiet",
                sys.executable, "-m", counted.__name__, *(bench.name for bench in benches),
            ],
            env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, timeout=TIMEOUT,
        )  # fmt: skip
        if done.returncode:
            raise NotCounted(f"The process whose instructions are counted failed: {done.stderr[-OUTPUT_SHOWN:]}")
        return ratios(benches, totals_in(parts, 2 * (len(benches) + 1)))


def totals_in(parts: Path, marks: int) -> list[int]:
    """The instructions before each mark and after the one before, in order; what follows the last is left out.

    Raises:
        NotCounted: there are fewer.
    """
    totals = list[int]()
    for number in range(1, marks + 1):
        part = parts.with_name(f"{parts.name}.{number}")
        found = TOTALS.search(part.read_text(errors="replace")) if part.exists() else None
        if found is None:
            raise NotCounted(f"Part {number} of {marks} is missing: {PROGRAM} has not seen that {MARK} was called.")
        totals.append(int(found[1]))
    return totals


def ratios(benches: Sequence[MicroBench], totals: Sequence[int]) -> dict[str, float]:
    """By name; what is between a mark and the next is, in turn, not to be counted and to be counted."""
    step, *rounds = totals[1::2]
    per_step = step / counted.REFERENCES / OPERATIONS
    return {
        bench.name: total / counted.ROUNDS / bench.operations / per_step
        for bench, total in zip(benches, rounds, strict=True)
    }
