"""How soon a key may have its next turn. In: desks whose mail is to gather. Out: the same, when their time has come.

A busy conversation gets a message every millisecond. Each alone would be a turn, a commit, and a write to every socket
of it; those of five milliseconds together are one of each, and nobody in a conversation sees the difference. So an
actor may name a pace, and is not woken for new mail before that much time has gone by since its last turn began. Mail
that comes after a longer silence has its turn at once, and so has what is `ENOUGH`: so do network cards moderate their
interrupts.

Where mail keeps coming, a little more of it is waited for, up to `PATIENCE` times the pace: a crowd that says hundreds
of things a second reads none of them sooner. Whoever waits for an answer before saying more is not held up by that:
nothing for a while (`QUIET`), and the turn begins.
"""

from __future__ import annotations

import heapq
import itertools
from typing import Protocol

import trio

#: Messages that wait no longer for company: more of them together are hardly cheaper. Eight cost a small room a fifth
#: more than this many.
ENOUGH = 32
#: Paces from one turn to the next, at most, while mail keeps coming. A hundred people who hear five hundred messages a
#: second cost a quarter less with two of them, 40 % less with three, and nearly half as much with four.
PATIENCE = 4
#: Paces without mail that end the waiting. Less of them, and the steps in which a busy node reads look like silence.
QUIET = 0.8


class Held(Protocol):
    """A desk whose mail gathers."""

    def look(self) -> None:
        """See what has gathered."""
        ...


class Pace:
    """Desks by the instant, on trio's clock, at which they look at their mail."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Held]] = []
        self._ticket = itertools.count()  # those of one instant go on in the order in which they came
        self._filled = trio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def hold(self, desk: Held, until: float) -> None:
        """Call its `look` then."""
        heapq.heappush(self._heap, (until, next(self._ticket), desk))
        self._filled.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._filled.wait()
            self._filled = trio.Event()
            while self._heap:
                await trio.sleep_until(self._heap[0][0])
                now = trio.current_time()
                while self._heap and self._heap[0][0] <= now:
                    heapq.heappop(self._heap)[2].look()
