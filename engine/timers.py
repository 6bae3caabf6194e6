"""What actors mail to themselves later. In: `Context.after`. Out: alarms that are due, for `directory` to post.

A timer is mail to one incarnation (as Akka's restart timers carry the count they saw): when that is over, so is the
timer. One heap for all of them, looked at by the directory's sweep.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

from .desk import Desk
from .mailbox import Alarm, Lane


class Timers:
    """Alarms by the instant at which they are due, on trio's clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Desk, Alarm, Lane]] = []
        self._ticket = itertools.count()  # those due at one instant ring in the order in which they were set

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: float, desk: Desk, alarm: Alarm, lane: Lane) -> None:
        heapq.heappush(self._heap, (at, next(self._ticket), desk, alarm, lane))

    def due(self, now: float) -> Iterator[tuple[Desk, Alarm, Lane]]:
        """Remove and give what is due; the alarms of incarnations that have ended are dropped."""
        while self._heap and self._heap[0][0] <= now:
            _, _, desk, alarm, lane = heapq.heappop(self._heap)
            if desk.incarnation == alarm.incarnation:
                yield desk, alarm, lane
