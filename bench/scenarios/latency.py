"""Latency under load: first the most that the server can take, then 25, 50, 75 and 90 % of it, steadily.

In one shape the most is that of `ingest`: 100 senders in rooms of their own, each with so many messages on the way that
the server is never without work. In the other, 400 rooms of two, a sender waits until its message came to say the next,
so that no message travels with another of the same sender, and two people hear each.

At the steady rate nobody waits for anybody: a message is sent at its instant, whether or not the last one came back, so
that a server that pauses is seen to pause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ..load.dialect import Client
from ..peers import Peer
from ..results import Result
from ..servers import Running
from ..stage import Stage, interval, result
from . import ingest
from .scenario import Scenario, publishes

PAIRS = 400
PERCENTS = (25, 50, 75, 90)
QUICK_PERCENTS = (75,)
WARM_UP, SECONDS = 1.0, 8.0
QUICK_WARM_UP, QUICK_SECONDS = 0.3, 1.2


@dataclass(frozen=True)
class Shape:
    """Who talks to whom.

    Attributes:
        name: what the result is of.
        window: of the senders when the most is looked for.
        clients: by their senders' window, 0 for the paced, and the first of their senders' numbers.
    """

    name: str
    rooms: int
    window: Callable[[Peer | None], int]
    clients: Callable[[int, int], list[Client]]


def pairs(window: int, first: int) -> list[Client]:
    """A visitor who talks and an agent who listens, in each room."""
    rooms = range(PAIRS)
    talking = [Client(room, sender=first + room, window=window, paced=not window, visitor=True) for room in rooms]
    return [*talking, *(Client(room) for room in rooms)]


ALONE = Shape("latency", ingest.SENDERS, ingest.window_of, ingest.senders)
IN_PAIRS = Shape("latency in rooms of two", PAIRS, lambda _: 1, pairs)


def measure(shape: Shape, stage: Stage) -> Iterator[Result]:
    with stage.serve(shape.rooms) as server:
        stage.progress.begin(f"{shape.name}: the most that {shape.rooms} rooms can say")
        maximum = _most(shape, stage, server)
        for number, percent in enumerate(QUICK_PERCENTS if stage.quick else PERCENTS, start=1):
            stage.progress.begin(f"{shape.name} at {percent} % of {maximum:,.0f} messages a second")
            yield _steadily(shape, stage, server, maximum, percent, first=number * shape.rooms)


def _most(shape: Shape, stage: Stage, server: Running) -> float:
    """Messages per second."""
    with stage.crowd(server, shape.clients(shape.window(stage.peer), 0)) as crowd:
        crowd.open()
        crowd.start()
        crowd.run(stage.choose(WARM_UP, QUICK_WARM_UP))
        most = crowd.run(stage.choose(SECONDS, QUICK_SECONDS))
        crowd.settle()
    return most.acknowledged / most.seconds


def _steadily(shape: Shape, stage: Stage, server: Running, maximum: float, percent: int, first: int) -> Result:
    """The senders of each crowd have numbers, and so ids of messages, of their own."""
    with stage.crowd(server, shape.clients(0, first)) as crowd:
        crowd.open()
        crowd.start(maximum * percent / 100)
        crowd.run(stage.choose(WARM_UP, QUICK_WARM_UP))
        measured = interval(server, crowd, stage.choose(SECONDS, QUICK_SECONDS))
        completeness = crowd.settle()
    return result(
        shape.name,
        server,
        f"{percent} % of the maximum",
        measured,
        completeness,
        unit="message",
        count=measured.tally.acknowledged,
        complaints=crowd.complaints,
        axis="percent of the maximum",
        x=percent,
        facts={"maximum, messages per second": maximum},
    )


POINTS = (len(PERCENTS), len(QUICK_PERCENTS))
SCENARIO = Scenario(
    "latency", "at 25 to 90 % of the maximum of `ingest`", partial(measure, ALONE), POINTS, fits=publishes
)
OF_PAIRS = Scenario(
    "latency-in-pairs", "the same in 400 rooms of two people", partial(measure, IN_PAIRS), POINTS, fits=publishes
)
