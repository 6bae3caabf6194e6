"""Ingest: 100 senders, each in a room of its own, as fast as a window lets them. What a durable message costs.

A sender hears its message when it is stored; so does nobody else, because nobody else is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..load.dialect import Client
from ..results import Result
from ..stage import Stage
from .full_speed import at_full_speed
from .scenario import Scenario, publishes

SENDERS = 100
WINDOW = 16


def measure(stage: Stage) -> Iterator[Result]:
    stage.progress.begin(f"ingest from {SENDERS} senders")
    clients = [Client(room, sender=room, window=WINDOW, visitor=True) for room in range(SENDERS)]
    with stage.serve(rooms=SENDERS) as server, stage.crowd(server, clients) as crowd:
        yield at_full_speed(stage, server, crowd, "ingest", f"{SENDERS} senders, window {WINDOW}")


SCENARIO = Scenario("ingest", "100 senders at full speed, each in its own room", measure, fits=publishes)
