"""Slow consumers: a tenth of a room never reads. What the others feel of it, next to the same room without them.

The texts are long, so that the buffers of those who do not read are full within seconds and the server has to act.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..load.dialect import Client
from ..results import Result
from ..stage import Stage, interval, result
from ..usage import open_files
from .scenario import Scenario, publishes

SUBSCRIBERS, QUICK_SUBSCRIBERS = 100, 50
RATE = 200.0  # messages a second; fewer from who cannot keep up
WINDOW = 32
TEXT = 8000  # characters
SHARES = (0.0, 0.1)
WARM_UP, SECONDS = 1.0, 15.0
QUICK_WARM_UP, QUICK_SECONDS = 0.3, 4.0


def measure(stage: Stage) -> Iterator[Result]:
    subscribers = stage.count(SUBSCRIBERS, QUICK_SUBSCRIBERS)
    for share in SHARES:
        slow = int(subscribers * share)
        stage.progress.begin(f"{slow} of {subscribers} subscribers never read")
        readers = [Client(0, sender=0, window=WINDOW, paced=True), *[Client(0)] * (subscribers - slow - 1)]
        clients = [*readers, *[Client(0, reads=False)] * slow]
        with stage.serve(rooms=1) as server:
            with stage.crowd(server, clients, server.dialect.with_text("x" * TEXT)) as crowd:
                crowd.open()
                files = open_files(server.roots)
                crowd.start(RATE)
                crowd.run(stage.choose(WARM_UP, QUICK_WARM_UP))
                measured = interval(server, crowd, stage.choose(SECONDS, QUICK_SECONDS))
                completeness = crowd.settle()
                closed = max(0, files - open_files(server.roots))
            yield result(
                "slow consumers",
                server,
                f"{slow} of {subscribers} never read",
                measured,
                completeness,
                unit="delivery",
                count=measured.tally.delivered,
                complaints=crowd.complaints,
                facts={"slow ones that the server let go": min(slow, closed)},
            )


SCENARIO = Scenario("slow-consumers", "10 % never read: what the others feel", measure, (2, 2), fits=publishes)
