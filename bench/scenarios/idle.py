"""Idle connections: thousands that are subscribed and silent. What each one takes of memory, and of the processor.

Throughput and latency are those of connecting. Once all are in one room, which shows the connection alone; once each
visitor is in a conversation of its own, with its actor. What the kernel keeps for a socket is not in a process's
resident memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..load.dialect import Client
from ..results import Result
from ..stage import Stage, interval, result
from ..usage import KIB
from .scenario import Scenario

CONNECTIONS, QUICK_CONNECTIONS = 5000, 1000
SECONDS, QUICK_SECONDS = 7.0, 3.5  # the server says something to each every 3 seconds
#: Opened before memory is looked at for the first time: what the server makes once.
FIRST = 50


def measure(stage: Stage) -> Iterator[Result]:
    count = stage.count(CONNECTIONS, QUICK_CONNECTIONS)
    yield _idle(stage, count, "in one room", [Client(0)] * count, rooms=1)
    apart = [Client(room, visitor=True) for room in range(count)]
    yield _idle(stage, count, "each in its own", apart, rooms=count)


def _idle(stage: Stage, count: int, where: str, clients: list[Client], rooms: int) -> Result:
    stage.progress.begin(f"{count:,} idle connections, {where}")
    with stage.serve(rooms) as server:
        with stage.crowd(server, clients[:FIRST]) as first:
            first.open()
        before = server.usage()
        with stage.crowd(server, clients) as crowd:
            opened = crowd.open()
            measured = interval(server, crowd, stage.choose(SECONDS, QUICK_SECONDS))
            completeness = crowd.settle()
        grown = sum(measured.usage.resident.values()) - sum(before.resident.values())
        opened_per_second = count / opened.seconds
        measured_idle = result(
            "idle connections",
            server,
            f"{count:,}, {where}",
            measured,
            completeness,
            unit="connection",
            count=count,
            complaints=crowd.complaints,
            facts={
                "KiB per connection": grown / count / KIB,
                "CPU us per connection and second": 1e6 * sum(measured.cpu.values()) / count / measured.tally.seconds,
            },
            latencies=opened.greetings,
        )
        return replace(measured_idle, throughput=opened_per_second)


SCENARIO = Scenario("idle", "idle connections: memory of each", measure, (2, 2))
