"""HTTP posts: 32 clients, each posts a message, waits for the answer, posts the next. Somebody listens in every room.

The latency is that of the answer. That every message reached its room, too, the listeners tell.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..load.dialect import Client
from ..peers import Peer
from ..results import Result
from ..stage import Stage, interval, result
from .scenario import Scenario

CLIENTS = 32
WARM_UP, SECONDS = 1.0, 8.0
QUICK_WARM_UP, QUICK_SECONDS = 0.3, 2.0


def measure(stage: Stage) -> Iterator[Result]:
    stage.progress.begin(f"HTTP posts from {CLIENTS} clients")
    posting = [Client(room, sender=room, window=1, http=True) for room in range(CLIENTS)]
    listening = [Client(room) for room in range(CLIENTS)]
    with stage.serve(rooms=CLIENTS) as server, stage.crowd(server, [*listening, *posting]) as crowd:
        crowd.open()
        crowd.start()
        crowd.run(stage.choose(WARM_UP, QUICK_WARM_UP))
        measured = interval(server, crowd, stage.choose(SECONDS, QUICK_SECONDS))
        completeness = crowd.settle()
        yield result(
            "HTTP posts",
            server,
            f"{CLIENTS} clients",
            measured,
            completeness,
            unit="request",
            count=measured.tally.acknowledged,
            complaints=crowd.complaints,
            latencies=measured.tally.answers,
        )


def fits(peer: Peer) -> bool:
    return peer.wire.post is not None


SCENARIO = Scenario("http-posts", "32 clients post messages by HTTP", measure, fits=fits)
