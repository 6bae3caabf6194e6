"""What a process of the load generator counted, between two moments. Tallies of several processes add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .histogram import Histogram

COMPLAINTS_KEPT = 5


@dataclass(slots=True)
class Tally:
    """Counts of one interval.

    Attributes:
        published: messages sent.
        acknowledged: of the senders' own messages, those they heard themselves, or had answered by HTTP.
        delivered: marks that came, to everybody.
        latencies: from sending to receiving, of every delivery.
        answers: from sending to the answer, by HTTP.
        greetings: from connecting until the greeting was over.
        failures: messages that the server refused, and connections that ended.
        retries: connections that were turned away in a storm, and came back.
        seconds: how long the interval was.
        shares: of one core, what each process of the generator used.
    """

    published: int = 0
    acknowledged: int = 0
    delivered: int = 0
    failures: int = 0
    retries: int = 0
    seconds: float = 0.0
    latencies: Histogram = field(default_factory=Histogram)
    answers: Histogram = field(default_factory=Histogram)
    greetings: Histogram = field(default_factory=Histogram)
    shares: tuple[float, ...] = ()
    complaints: list[str] = field(default_factory=list[str])

    def complain(self, text: str) -> None:
        self.failures += 1
        if len(self.complaints) < COMPLAINTS_KEPT:
            self.complaints.append(text)


def merged(tallies: Sequence[Tally]) -> Tally:
    """The sum; the interval is the longest."""
    return Tally(
        published=sum(tally.published for tally in tallies),
        acknowledged=sum(tally.acknowledged for tally in tallies),
        delivered=sum(tally.delivered for tally in tallies),
        failures=sum(tally.failures for tally in tallies),
        retries=sum(tally.retries for tally in tallies),
        seconds=max(tally.seconds for tally in tallies),
        latencies=Histogram().merge(tally.latencies for tally in tallies),
        answers=Histogram().merge(tally.answers for tally in tallies),
        greetings=Histogram().merge(tally.greetings for tally in tallies),
        shares=tuple(share for tally in tallies for share in tally.shares),
        complaints=[text for tally in tallies for text in tally.complaints][:COMPLAINTS_KEPT],
    )
