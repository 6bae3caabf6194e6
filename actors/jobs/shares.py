"""How the room of a pool is shared among queues. Pure: names and numbers in, numbers out.

A queue that gave all that it was asked for is hungry: it gets an equal part of what is left when every other queue was
given one place. Who is first changes with every claim, for where there is less room than there are queues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ...storage.records import Job
from .limits import JobLimits


class Shares:
    """The queues that one worker serves."""

    def __init__(self, limits: JobLimits) -> None:
        self._limits = limits
        self._queues: list[str] = list(dict.fromkeys(limits.queues))
        self._asked: Mapping[str, int] = {}
        self._hungry: set[str] = set()
        self._rates: Mapping[str, float] = {}
        self._turn = 0
        self._fruitless = 0  # how many queues, one after the other, gave less than they were asked for

    def know(self, own: Iterable[str], waiting: Iterable[str], rates: Mapping[str, float]) -> None:
        """Which queues there are: those of jobs that are known, those that have jobs; and how many a second of each."""
        waiting = set(waiting)
        if not self._limits.queues:
            self._queues = sorted({*own, *waiting})
        self._rates = {name: rate for name, rate in rates.items() if name in waiting and name in self._queues}

    def add(self, names: Iterable[str]) -> None:
        """These exist, too."""
        if not self._limits.queues:
            self._queues = sorted({*self._queues, *names})

    @property
    def pace(self) -> float:
        """Seconds after which a queue with a rate may give another job; endless where none has such jobs."""
        fastest = max(self._rates.values(), default=0.0)
        return max(1 / fastest, self._limits.pace) if fastest else float("inf")

    def of(self, room: int) -> Mapping[str, int]:
        """How many jobs to ask of each queue; together no more than there is room for."""
        if not self._queues or room < 1:
            return {}
        turn = self._turn % len(self._queues)
        queues = [*self._queues[turn:], *self._queues[:turn]]
        shares = dict.fromkeys(queues[:room], 1)
        self._turn = turn + (len(shares) if len(shares) < len(queues) else 1)
        left = room - len(shares)
        hungry = [queue for queue in shares if queue in self._hungry] or list(shares)
        for index, queue in enumerate(hungry):
            shares[queue] += left // len(hungry) + (index < left % len(hungry))
        self._asked = {queue: min(share, self._limits.batch) for queue, share in shares.items()}
        return self._asked

    def gave(self, jobs: Sequence[Job]) -> bool:
        """What came of it. Returns whether some queue may have more."""
        given = Counter(job.queue for job in jobs)
        self._hungry = {queue for queue, asked in self._asked.items() if given[queue] >= asked}
        self._fruitless = 0 if self._hungry else self._fruitless + len(self._asked)
        if self._fruitless >= len(self._queues):
            self._fruitless = 0
            return False
        return True
