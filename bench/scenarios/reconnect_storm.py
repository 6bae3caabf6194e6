"""Reconnect storm: everybody's connection drops, 20 messages are said in each room, everybody comes back at once.

Each client names its position, and is caught up when the server says that the history is complete; that it is, the
marks tell. Who is turned away because so many come tries again a little later, and its time runs from its first try.
Meanwhile bystanders, who never lost their connections, go on talking in rooms of their own: what they feel is their
p99 before and during the storm. Their process is not that of the storm: in that one, what they hear would wait until
the generator has read what thousands of others were told before.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..load.dialect import Client
from ..results import Result
from ..stage import Interval, Stage, interval, result
from .scenario import Scenario, no_peer

ROOMS, QUICK_ROOMS = 100, 20
CLIENTS_PER_ROOM, QUICK_CLIENTS_PER_ROOM = 50, 25
MISSED = 20  # messages
WINDOW = 4  # of those who say them
BYSTANDER_ROOMS, BYSTANDERS_PER_ROOM, BYSTANDERS_RATE = 20, 5, 200.0
SECONDS_BEFORE, QUICK_SECONDS_BEFORE = 4.0, 1.0


def those_who_drop(rooms: int, per_room: int) -> list[Client]:
    """And who talks to them meanwhile."""
    dropped = [Client(room, watched=False) for room in range(rooms) for _ in range(per_room)]
    return [*dropped, *(Client(room, sender=room, window=WINDOW, watched=False) for room in range(rooms))]


def bystanders_beyond(rooms: int) -> list[Client]:
    """In rooms of their own."""
    beyond = range(rooms, rooms + BYSTANDER_ROOMS)
    hearers = [Client(room) for room in beyond for _ in range(BYSTANDERS_PER_ROOM - 1)]
    return [*(Client(room, sender=room, paced=True) for room in beyond), *hearers]


def measure(stage: Stage) -> Iterator[Result]:
    rooms = stage.count(ROOMS, QUICK_ROOMS)
    per_room = stage.count(CLIENTS_PER_ROOM, QUICK_CLIENTS_PER_ROOM)
    count, stormy = rooms * per_room, range(rooms)
    stage.progress.begin(f"reconnect storm of {count:,} clients")
    with (
        stage.serve(rooms + BYSTANDER_ROOMS) as server,
        stage.crowd(server, those_who_drop(rooms, per_room)) as crowd,
        stage.crowd(server, bystanders_beyond(rooms)) as bystanders,
    ):
        crowd.open()
        bystanders.open()
        crowd.say(stormy, 1)  # from now on everybody has a position
        crowd.settle()
        crowd.drop(stormy)
        crowd.say(stormy, MISSED)
        bystanders.start(BYSTANDERS_RATE)
        before = interval(server, bystanders, stage.choose(SECONDS_BEFORE, QUICK_SECONDS_BEFORE))
        with bystanders.running() as during:
            began = server.usage()
            tally = crowd.resume()
            usage = server.usage()
        completeness = crowd.settle()
        completeness += bystanders.settle()
        yield result(
            "reconnect storm",
            server,
            f"{count:,} clients, {MISSED} missed",
            Interval(tally, usage.since(began), usage),
            completeness,
            unit="connection",
            count=count,
            complaints=[*crowd.complaints, *bystanders.complaints],
            facts={
                "seconds until all are caught up": tally.greetings.percentile(100) / 1000,
                "turned away once more": tally.retries,
                "bystanders' p99 before, ms": before.tally.latencies.percentile(99),
                "bystanders' p99 during, ms": during[0].latencies.percentile(99),
            },
            latencies=tally.greetings,
        )


SCENARIO = Scenario("reconnect-storm", "5,000 clients drop and resume at once", measure, fits=no_peer)
