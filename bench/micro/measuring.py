"""CPU time per operation. In: benchmarks. Out: what each costs, and its ratio to the reference loop.

Three things keep the ratios still on a machine that others use too:

- CPU time is counted, not time: waiting for a core, a disk or another process costs nothing. All threads count, a
  database's server does not.
- Rounds are short and interleaved: one of the reference, one of a benchmark, one of the reference, one of the next
  benchmark. Each is divided by the faster of the two references beside it, so that a machine which changes its speed
  between two rounds, as virtual ones do, changes no ratio.
- Of all these ratios the lowest fifth ends where the figure is. Whatever disturbs a round (a shared cache, a sibling
  thread, an interrupt, a collection of garbage) makes it longer and never shorter: the low end is what the code costs,
  the rest is the weather, and the median has some of it. The minimum would be a single observation, which a disturbed
  reference can make too low.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import trio

from .bench import MicroBench, Round
from .reference import OPERATIONS, reference

ROUNDS = 60
WARM_UP = 3  # rounds that do not count: caches, free lists and prepared statements are filled
QUANTILE = 0.2


@dataclass(frozen=True)
class Figure:
    """What one operation costs.

    Attributes:
        microseconds: CPU time, here and now.
        ratio: the same in steps of the reference loop, which is about the same everywhere.
        spread: by how much the median of the ratios is higher: how noisy it was.
    """

    name: str
    about: str
    microseconds: float
    ratio: float
    spread: float


async def measure(benches: Sequence[MicroBench], rounds: int = ROUNDS) -> list[Figure]:
    """Measure benchmarks beside each other, in the order given."""
    async with AsyncExitStack() as stack:
        opened: list[tuple[MicroBench, Round]] = []
        for bench in benches:
            opened.append((bench, await stack.enter_async_context(bench.open())))
        spent: list[list[tuple[float, float]]] = [[] for _ in opened]
        gc.collect()
        gc.freeze()  # a collection looks at what the rounds make, not at every module of the program
        try:
            for number in range(-WARM_UP, rounds):
                before = _time_reference()
                for index, (_, run) in enumerate(opened):
                    running, after = await _time(run), _time_reference()
                    if number >= 0:
                        spent[index].append((running, min(before, after)))
                    before = after
        finally:
            gc.unfreeze()
    return [_figure(bench, pairs) for (bench, _), pairs in zip(opened, spent, strict=True)]


def quantile(values: Sequence[float], share: float) -> float:
    """The value under which this share of them is; one of them, never between two."""
    return sorted(values)[int(share * (len(values) - 1))]


def _time_reference() -> float:
    before = time.process_time()
    reference()
    return time.process_time() - before


async def _time(run: Round) -> float:
    await trio.lowlevel.checkpoint()  # what the round before left behind is done first
    before = time.process_time()
    await run()
    return time.process_time() - before


def _figure(bench: MicroBench, pairs: Sequence[tuple[float, float]]) -> Figure:
    seconds = quantile([running for running, _ in pairs], QUANTILE) / bench.operations
    ratios = [running / bench.operations / (referring / OPERATIONS) for running, referring in pairs]
    ratio = quantile(ratios, QUANTILE)
    return Figure(bench.name, bench.about, seconds * 1e6, ratio, quantile(ratios, 0.5) / ratio - 1)
