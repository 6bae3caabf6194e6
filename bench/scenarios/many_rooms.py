"""Many rooms: 1,000 conversations of two people, all at once. A visitor speaks, waits until it comes, goes on.

What a message costs where nothing is shared but the process and the disk: 1,000 mailboxes, two deliveries each.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..load.dialect import Client
from ..results import Result
from ..stage import Stage
from .full_speed import at_full_speed
from .scenario import Scenario, publishes

ROOMS, QUICK_ROOMS = 1000, 200


def measure(stage: Stage) -> Iterator[Result]:
    rooms = stage.count(ROOMS, QUICK_ROOMS)
    stage.progress.begin(f"{rooms:,} rooms with two people each")
    visitors = [Client(room, sender=room, window=1, visitor=True) for room in range(rooms)]
    agents = [Client(room) for room in range(rooms)]
    with stage.serve(rooms) as server, stage.crowd(server, [*visitors, *agents]) as crowd:
        yield at_full_speed(stage, server, crowd, "many rooms", f"{rooms:,} rooms of 2")


SCENARIO = Scenario("many-rooms", "1,000 rooms of two people, all talking", measure, fits=publishes)
