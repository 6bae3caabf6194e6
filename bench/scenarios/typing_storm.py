"""Typing storm: in 1,000 rooms somebody begins to type and stops, as fast as it comes back. Nothing of it is stored.

Events of typing carry no number and no text, so the check is weaker than elsewhere: that on and off come in turn to
everybody, and as many as were sent.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..cable import CableDialect
from ..load.dialect import Client
from ..results import Result
from ..stage import Stage
from .full_speed import at_full_speed
from .scenario import Scenario, no_peer

ROOMS, QUICK_ROOMS = 1000, 200


def measure(stage: Stage) -> Iterator[Result]:
    rooms = stage.count(ROOMS, QUICK_ROOMS)
    stage.progress.begin(f"typing in {rooms:,} rooms")
    with stage.serve(rooms) as server:
        assert isinstance(server.dialect, CableDialect)
        contacts = server.dialect.contacts
        typists = [Client(room, sender=contacts[room], window=1, visitor=True) for room in range(rooms)]
        agents = [Client(room) for room in range(rooms)]
        with stage.crowd(server, [*typists, *agents], server.dialect.typing()) as crowd:
            yield at_full_speed(stage, server, crowd, "typing storm", f"{rooms:,} rooms of 2")


SCENARIO = Scenario("typing-storm", "in 1,000 rooms somebody types on and off", measure, fits=no_peer)
