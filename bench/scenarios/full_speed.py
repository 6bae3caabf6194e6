"""What scenarios share in which everybody sends as fast as the server answers: warm up, measure, and count all."""

from __future__ import annotations

from ..load.crowd import Crowd
from ..results import Result
from ..servers import Running
from ..stage import Stage, interval, result

WARM_UP, SECONDS = 1.0, 8.0
QUICK_WARM_UP, QUICK_SECONDS = 0.3, 1.2


def at_full_speed(
    stage: Stage, server: Running, crowd: Crowd, scenario: str, point: str, *, answers: bool = False
) -> Result:
    """Let the crowd send for a while. With `answers`, the latencies are those of answers and not of deliveries."""
    crowd.open()
    crowd.start()
    crowd.run(stage.choose(WARM_UP, QUICK_WARM_UP))
    measured = interval(server, crowd, stage.choose(SECONDS, QUICK_SECONDS))
    completeness = crowd.settle()
    return result(
        scenario,
        server,
        point,
        measured,
        completeness,
        unit="request" if answers else "message",
        count=measured.tally.acknowledged,
        complaints=crowd.complaints,
        latencies=measured.tally.answers if answers else None,
    )
