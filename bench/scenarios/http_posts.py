"""HTTP posts: 32 clients, each posts a message, waits for the answer, posts the next. Somebody listens in every room.

The latency is that of the answer. That every message reached its room, too, the listeners tell.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..load.dialect import Client
from ..peers import Peer
from ..results import Result
from ..stage import Stage
from .full_speed import at_full_speed
from .scenario import Scenario

CLIENTS = 32


def measure(stage: Stage) -> Iterator[Result]:
    stage.progress.begin(f"HTTP posts from {CLIENTS} clients")
    posting = [Client(room, sender=room, window=1, http=True) for room in range(CLIENTS)]
    listening = [Client(room) for room in range(CLIENTS)]
    with stage.serve(rooms=CLIENTS) as server, stage.crowd(server, [*listening, *posting]) as crowd:
        yield at_full_speed(stage, server, crowd, "HTTP posts", f"{CLIENTS} clients", answers=True)


def fits(peer: Peer) -> bool:
    return peer.wire.post is not None


SCENARIO = Scenario("http-posts", "32 clients post messages by HTTP", measure, fits=fits)
