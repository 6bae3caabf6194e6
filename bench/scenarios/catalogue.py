"""All scenarios, in the order in which they run."""

from __future__ import annotations

from . import (
    fan_out,
    http_posts,
    idle,
    ingest,
    jobs,
    latency,
    many_rooms,
    reconnect_storm,
    slow_consumers,
    typing_storm,
)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        fan_out.STEADY,
        fan_out.FULL_SPEED,
        ingest.SCENARIO,
        many_rooms.SCENARIO,
        latency.SCENARIO,
        latency.OF_PAIRS,
        typing_storm.SCENARIO,
        reconnect_storm.SCENARIO,
        slow_consumers.SCENARIO,
        idle.SCENARIO,
        http_posts.SCENARIO,
        jobs.SCENARIO,
    )
}
