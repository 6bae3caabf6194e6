"""The process whose instructions are counted. In: names of micro benchmarks. Out: marks that `counting` knows.

    python -m bench.micro.counted NAME...

First comes the reference loop, then each benchmark in the order given. Rounds that fill caches go before; then a mark,
the rounds that count, and a mark again.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

import trio

from .all import available
from .bench import MicroBench, Round
from .reference import reference

WARM_UP, ROUNDS = 3, 6
REFERENCES = 20  # rounds of the reference loop

Mark: TypeAlias = Callable[[], object]


def mark() -> None:
    """Call a function of the C library that nothing else here calls (POSIX's `ctermid`): the counter writes a part."""
    os.ctermid()


async def go_through(benches: Sequence[MicroBench], mark: Mark = mark) -> None:
    """Everything once, with a mark before and after what counts."""
    await _counted(_refer, REFERENCES, mark)
    for bench in benches:
        async with bench.open() as run:
            await _counted(run, ROUNDS, mark)


async def _counted(run: Round, rounds: int, mark: Mark) -> None:
    for _ in range(WARM_UP):
        await run()
    gc.collect()  # so that where the next collection falls depends on these rounds alone
    gc.freeze()
    try:
        mark()
        for _ in range(rounds):
            await run()
        mark()
    finally:
        gc.unfreeze()


async def _refer() -> None:
    reference()


if __name__ == "__main__":
    trio.run(go_through, available(sys.argv[1:])[0])
