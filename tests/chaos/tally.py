"""What happened to all participants of a run, counted. In: every participant. Out: the printed report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Anomaly(NamedTuple):
    """An event that did not follow the one before it."""

    kind: str  # "duplicate", "reordered", "gap"
    participant: str
    stream: str
    node: str
    seq: int
    previous: int
    seconds: float  # since the beginning of the run
    in_history: bool

    def __str__(self) -> str:
        where = "in history" if self.in_history else "live"
        return (
            f"{self.seconds:6.2f} s {self.kind}: {self.participant} in {self.stream} on node "
            f"{self.node} got {self.seq} after {self.previous}, {where}"
        )


class Ending(NamedTuple):
    """One connection that ended."""

    how: str
    node: str
    instant: float  # trio's clock


class Return(NamedTuple):
    """One participant that is connected again and has all that it missed."""

    left: str  # the node that it was on before
    instant: float  # trio's clock


class Wait(NamedTuple):
    """The time from the first attempt to send a message to its acknowledgement."""

    seconds: float
    began: float  # since the beginning of the run
    client_id: str
    attempts: Sequence[str]  # the nodes

    def __str__(self) -> str:
        return (
            f"{self.began:5.1f} s {self.client_id} was acknowledged after {self.seconds:.1f} s; "
            f"sent to: {', '.join(self.attempts)}"
        )


@dataclass
class Tally:
    """Counts of one run."""

    began: float  # trio's clock
    connects: int = 0
    resumes: int = 0  # connects that named a position
    resumes_with_news: int = 0  # those that were told something that they had missed
    recovered: int = 0  # events that came as history of a resume
    deliveries: int = 0  # events with a position
    attempts: int = 0  # commands that were sent, repetitions included
    sent: int = 0  # messages, each counted once
    endings: list[Ending] = field(default_factory=list[Ending])
    returns: list[Return] = field(default_factory=list[Return])
    failures: Counter[str] = field(default_factory=Counter[str])  # command.failed, by code
    anomalies: list[Anomaly] = field(default_factory=list[Anomaly])
    refusals: list[str] = field(default_factory=list[str])  # what no retry will mend
    unanswered: list[str] = field(default_factory=list[str])  # commands on connections that stayed
    waits: list[Wait] = field(default_factory=list[Wait])

    def slowest(self, count: int) -> list[Wait]:
        return sorted(self.waits, reverse=True)[:count]

    @property
    def by_ending(self) -> dict[str, int]:
        return dict(Counter(ending.how for ending in self.endings).most_common())
