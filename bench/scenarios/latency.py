"""Latency under load: first the most that 400 rooms of two can say, then 25, 50, 75 and 90 % of it, steadily.

The most is found with a sender in each room who waits until its message came, so that no message travels with another
of the same sender: as it is with people, and at a steady rate. At that rate nobody waits for anybody: a message is sent
when it is due, whether or not the last one came back, so that a server that pauses is seen to pause.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..load.dialect import Client
from ..results import Result
from ..stage import Stage, interval, result
from .scenario import Scenario, publishes

ROOMS = 400
WINDOW = 1
PERCENTS = (25, 50, 75, 90)
WARM_UP, SECONDS = 1.0, 8.0
QUICK_WARM_UP, QUICK_SECONDS = 0.3, 1.5


def clients_of(crowd: int, window: int) -> list[Client]:
    """The senders of each crowd have numbers, and so ids of messages, of their own."""
    talking = [Client(room, crowd * ROOMS + room, window, paced=not window, visitor=True) for room in range(ROOMS)]
    return [*talking, *(Client(room) for room in range(ROOMS))]


def measure(stage: Stage) -> Iterator[Result]:
    warm_up, seconds = stage.choose(WARM_UP, QUICK_WARM_UP), stage.choose(SECONDS, QUICK_SECONDS)
    with stage.serve(rooms=ROOMS) as server:
        stage.progress.begin(f"the most that {ROOMS} rooms can say")
        with stage.crowd(server, clients_of(0, WINDOW)) as crowd:
            crowd.open()
            crowd.start()
            crowd.run(warm_up)
            most = crowd.run(seconds)
            crowd.settle()
        maximum = most.acknowledged / most.seconds
        for number, percent in enumerate(PERCENTS, start=1):
            stage.progress.begin(f"latency at {percent} % of {maximum:,.0f} messages a second")
            with stage.crowd(server, clients_of(number, 0)) as crowd:
                crowd.open()
                crowd.start(maximum * percent / 100)
                crowd.run(warm_up)
                measured = interval(server, crowd, seconds)
                completeness = crowd.settle()
            yield result(
                "latency",
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


SCENARIO = Scenario(
    "latency", "end to end, at 25 to 90 % of the maximum", measure, (len(PERCENTS), len(PERCENTS)), fits=publishes
)
