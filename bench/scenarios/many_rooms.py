"""Many rooms: 1,000 conversations of two people, all at once. A visitor speaks, waits until it comes, goes on.

What a message costs where nothing is shared but the process and the disk: 1,000 mailboxes, two deliveries each.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..load.dialect import Client
from ..results import Result
from ..stage import Stage, interval, result
from .scenario import Scenario, publishes

ROOMS, QUICK_ROOMS = 1000, 200
WARM_UP, SECONDS = 1.0, 8.0
QUICK_WARM_UP, QUICK_SECONDS = 0.3, 2.0


def measure(stage: Stage) -> Iterator[Result]:
    rooms = stage.count(ROOMS, QUICK_ROOMS)
    stage.progress.begin(f"{rooms:,} rooms with two people each")
    visitors = [Client(room, sender=room, window=1, visitor=True) for room in range(rooms)]
    agents = [Client(room) for room in range(rooms)]
    with stage.serve(rooms) as server, stage.crowd(server, [*visitors, *agents]) as crowd:
        crowd.open()
        crowd.start()
        crowd.run(stage.choose(WARM_UP, QUICK_WARM_UP))
        measured = interval(server, crowd, stage.choose(SECONDS, QUICK_SECONDS))
        completeness = crowd.settle()
        yield result(
            "many rooms",
            server,
            f"{rooms:,} rooms of 2",
            measured,
            completeness,
            unit="message",
            count=measured.tally.acknowledged,
            complaints=crowd.complaints,
        )


SCENARIO = Scenario("many-rooms", "1,000 rooms of two people, all talking", measure, fits=publishes)
