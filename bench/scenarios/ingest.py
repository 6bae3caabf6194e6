"""Ingest: 100 senders, each in a room of its own, as fast as a window lets them. What a durable message costs.

A sender hears its message when it is stored; so does nobody else, because nobody else is there. With a peer that does
not keep the order of a sender's messages, a sender waits for each before it sends the next, as its users would have to.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..load.dialect import Client
from ..peers import Peer
from ..results import Result
from ..stage import Stage
from .full_speed import at_full_speed
from .scenario import Scenario, publishes

SENDERS = 100
WINDOW = 16


def window_of(peer: Peer | None) -> int:
    """How many messages of one sender may be on the way."""
    return WINDOW if peer is None or peer.ordered else 1


def senders(window: int, first: int = 0) -> list[Client]:
    """Visitors whose numbers begin with `first`; those without a window are paced."""
    rooms = range(SENDERS)
    return [Client(room, sender=first + room, window=window, paced=not window, visitor=True) for room in rooms]


def measure(stage: Stage) -> Iterator[Result]:
    stage.progress.begin(f"ingest from {SENDERS} senders")
    window = window_of(stage.peer)
    with stage.serve(rooms=SENDERS) as server, stage.crowd(server, senders(window)) as crowd:
        yield at_full_speed(stage, server, crowd, "ingest", f"{SENDERS} senders, window {window}")


SCENARIO = Scenario("ingest", "100 senders at full speed, each in its own room", measure, fits=publishes)
