"""Fan-out: one sender, one room, 10 to 9,000 subscribers. What a delivery costs, and how that grows.

Steadily: so many messages that all subscribers together get 50,000 a second, or fewer from who cannot keep up: a
message that would be the 65th under way is not sent (by HTTP: the ninth). The generator has time to spare, so that the
CPU time of a delivery can be compared between peers. At full speed, one after the other as fast as a window of 8 lets
them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..load.dialect import Client
from ..results import Result
from ..stage import Stage, interval, result
from .scenario import Scenario, publishes

SUBSCRIBERS = (10, 100, 1000, 3000, 9000)
QUICK_SUBSCRIBERS = (100, 1000)
BRIEFLY = (100,)  # of a peer that is spared
AT_FULL_SPEED = 1000
DELIVERIES = 50_000.0  # per second
WINDOW = 8
STEADY_WINDOW = 64
WARM_UP, SECONDS = 1.0, 6.0
QUICK_WARM_UP, QUICK_SECONDS = 0.3, 1.0


def clients_of(subscribers: int, *, by_http: bool, paced: bool) -> list[Client]:
    """The sender is a subscriber as well; by HTTP, it is as many clients that wait for one answer each."""
    if by_http:
        senders = [Client(0, sender, 1, paced, http=True) for sender in range(WINDOW)]
        return [*[Client(0)] * subscribers, *senders]
    return [Client(0, 0, STEADY_WINDOW if paced else WINDOW, paced), *[Client(0)] * (subscribers - 1)]


def measure_steadily(stage: Stage) -> Iterator[Result]:
    quick = BRIEFLY if stage.peer is not None and stage.spare_peers else QUICK_SUBSCRIBERS
    for subscribers in quick if stage.quick else SUBSCRIBERS:
        yield _measure(stage, "fan-out", subscribers, DELIVERIES / subscribers)


def measure_full_speed(stage: Stage) -> Iterator[Result]:
    yield _measure(stage, "fan-out at full speed", AT_FULL_SPEED, None)


def _measure(stage: Stage, name: str, subscribers: int, rate: float | None) -> Result:
    stage.progress.begin(f"{name} to {subscribers:,} subscribers")
    by_http = stage.peer is not None and not publishes(stage.peer)
    clients = clients_of(subscribers, by_http=by_http, paced=rate is not None)
    with stage.serve(rooms=1) as server, stage.crowd(server, clients) as crowd:
        crowd.open()
        crowd.start(rate)
        crowd.run(stage.choose(WARM_UP, QUICK_WARM_UP))
        measured = interval(server, crowd, stage.choose(SECONDS, QUICK_SECONDS))
        completeness = crowd.settle()
        return result(
            name,
            server,
            f"{subscribers:,} subscribers",
            measured,
            completeness,
            unit="delivery",
            count=measured.tally.delivered,
            complaints=crowd.complaints,
            axis="subscribers" if rate else "",
            x=subscribers,
            facts={"messages per second": measured.tally.acknowledged / measured.tally.seconds},
        )


STEADY = Scenario(
    "fan-out",
    "one sender, 10 to 9,000 subscribers",
    measure_steadily,
    (len(SUBSCRIBERS), len(QUICK_SUBSCRIBERS)),
    briefly=len(BRIEFLY),
)
FULL_SPEED = Scenario("fan-out-full-speed", "one sender that does not pause, 1,000 subscribers", measure_full_speed)
