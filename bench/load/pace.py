"""Whose turn it is to send, at a rate. In: the time. Out: who sends now, and how long until the next one does.

Senders take turns at even distances, and each message has an instant of its own. A generator that comes late makes up
for it, a little in each turn, so that it still reads: the rate is kept, and little of it comes at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from .connection import Connection

SENDS_PER_TURN = 64


class Pace:
    """Times are nanoseconds of one clock."""

    def __init__(self) -> None:
        self._senders: Sequence[Connection] = ()
        self._interval = self._due = self._next = 0

    def __bool__(self) -> bool:
        """Whether anybody sends at a rate."""
        return bool(self._senders)

    def start(self, senders: Sequence[Connection], per_second: float, now: int) -> None:
        """From now on they send so many messages a second together."""
        self._senders, self._interval, self._due = senders, int(1e9 / per_second), now

    def stop(self) -> None:
        self._senders = ()

    def turns(self, now: int) -> list[Connection]:
        """Those whose instant has come, in its order; not more than a turn of the reactor may send."""
        whose = list[Connection]()
        while self._due <= now and len(whose) < SENDS_PER_TURN:
            whose.append(self._senders[self._next % len(self._senders)])
            self._next += 1
            self._due += self._interval
        return whose

    def wait(self, now: int) -> float:
        """Seconds until the next instant."""
        return max(0, self._due - now) / 1e9
