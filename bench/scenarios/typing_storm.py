"""Typing storm: in 1,000 rooms somebody begins to type and stops, as fast as it comes back. Nothing of it is stored.

Events of typing carry no number and no text, so the check is weaker than elsewhere: that on and off come in turn to
everybody, and as many as were sent.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..cable import CableDialect
from ..load.dialect import Client
from ..results import Result
from ..stage import Stage, interval, result
from .scenario import Scenario, no_peer

ROOMS, QUICK_ROOMS = 1000, 200
WARM_UP, SECONDS = 1.0, 6.0
QUICK_WARM_UP, QUICK_SECONDS = 0.3, 1.5


def measure(stage: Stage) -> Iterator[Result]:
    rooms = stage.count(ROOMS, QUICK_ROOMS)
    stage.progress.begin(f"typing in {rooms:,} rooms")
    with stage.serve(rooms) as server:
        assert isinstance(server.dialect, CableDialect)
        contacts = server.dialect.contacts
        typists = [Client(room, sender=contacts[room], window=1, visitor=True) for room in range(rooms)]
        agents = [Client(room) for room in range(rooms)]
        with stage.crowd(server, [*typists, *agents], server.dialect.typing()) as crowd:
            crowd.open()
            crowd.start()
            crowd.run(stage.choose(WARM_UP, QUICK_WARM_UP))
            measured = interval(server, crowd, stage.choose(SECONDS, QUICK_SECONDS))
            completeness = crowd.settle()
            yield result(
                "typing storm",
                server,
                f"{rooms:,} rooms of 2",
                measured,
                completeness,
                unit="message",
                count=measured.tally.acknowledged,
                complaints=crowd.complaints,
            )


SCENARIO = Scenario("typing-storm", "in 1,000 rooms somebody types on and off", measure, fits=no_peer)
