"""Slow consumers: a tenth of a room never reads. What the others feel of it, next to the same room without them.

The texts are long, so that the buffers of those who do not read are full within seconds and the server has to act.
Tertulia promises to let go of them: where it does not, its result FAILED. Of the others it is told how many they do.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..load.dialect import Client
from ..peers import Peer
from ..results import Result
from ..stage import Stage, interval, result
from .scenario import Scenario, publishes

SUBSCRIBERS, QUICK_SUBSCRIBERS = 100, 50
RATE = 200.0  # messages a second; fewer from who cannot keep up
WINDOW = 32
TEXT = 8000  # characters
SHARES = (0.0, 0.1)
WARM_UP, SECONDS = 1.0, 15.0
QUICK_WARM_UP, QUICK_SECONDS = 0.3, 3.0


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
                crowd.start(RATE)
                crowd.run(stage.choose(WARM_UP, QUICK_WARM_UP))
                measured = interval(server, crowd, stage.choose(SECONDS, QUICK_SECONDS))
                completeness = crowd.settle()
                let_go = crowd.let_go()
            yield result(
                "slow consumers",
                server,
                f"{slow} of {subscribers} never read",
                measured,
                completeness,
                unit="delivery",
                count=measured.tally.delivered,
                complaints=[*crowd.complaints, *kept(stage.peer, slow, let_go)],
                facts={"slow ones that the server let go": let_go},
            )


def kept(peer: Peer | None, slow: int, let_go: int) -> list[str]:
    """A complaint where some were not let go of by a server that promises it."""
    if peer is not None or let_go == slow:
        return []
    return [
        f"{slow - let_go} of {slow} that never read were not let go of: the server keeps them, or the kernel's buffers "
        "(net.ipv4.tcp_wmem) take all that was sent"
    ]


SCENARIO = Scenario("slow-consumers", "10 % never read: what the others feel", measure, (2, 2), fits=publishes)
