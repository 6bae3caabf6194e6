"""Idle connections: thousands that are subscribed and silent. What each one takes of memory, and of the processor.

They come in five steps, and after each the memory of the server's processes is looked at (Pss: what is theirs alone,
and their part of what they share). `KiB per connection` is the slope of the line through these points, by least
squares: neither what the server has with nobody there is in it, nor a heap that grows in large pieces. Everything that
the server keeps is in it, garbage that waits to be collected too. What the kernel keeps for the socket is in no
process's memory: it stands beside it, where the kernel tells (`/proc/slabinfo`, for root).

Once all are in one room, which shows the connection alone: its session, its outbox, its subscription. Once each is a
visitor in a conversation of its own: then a conversation's actor is in it as well, with its mailbox, its row, its
cache of what was said last, and the visitor's record of rights.

Throughput and latency are those of connecting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from statistics import linear_regression
from time import monotonic

from ..load.dialect import Client
from ..load.histogram import Histogram
from ..load.marks import Completeness
from ..results import Result
from ..stage import Stage, interval, result
from ..usage import KIB, socket_size
from .scenario import Scenario

CONNECTIONS, QUICK_CONNECTIONS = 5000, 1000
STEPS = 5
SECONDS, QUICK_SECONDS = 7.0, 3.1  # the server says something to each every 3 seconds
#: Opened before memory is looked at for the first time: what the server makes once.
FIRST = 50


def measure(stage: Stage) -> Iterator[Result]:
    count = stage.count(CONNECTIONS, QUICK_CONNECTIONS)
    yield _idle(stage, "in one room", [Client(0)] * count, rooms=1)
    yield _idle(stage, "each in its own", [Client(room, visitor=True) for room in range(count)], rooms=count)


def _idle(stage: Stage, where: str, clients: list[Client], rooms: int) -> Result:
    count, step = len(clients), len(clients) // STEPS
    stage.progress.begin(f"{count:,} idle connections, {where}")
    with stage.serve(rooms) as server, ExitStack() as stack:
        with stage.crowd(server, clients[:FIRST]) as first:
            first.open()
        greetings, seconds, sizes = Histogram(), 0.0, list[float]()
        crowds = [stack.enter_context(stage.crowd(server, clients[at : at + step])) for at in range(0, count, step)]
        for crowd in crowds:
            began = monotonic()
            greetings.merge([crowd.open().greetings])
            seconds += monotonic() - began
            sizes.append(sum(server.usage().resident.values()))
        measured = interval(server, crowds[-1], stage.choose(SECONDS, QUICK_SECONDS))
        completeness = Completeness()
        for crowd in crowds:
            completeness += crowd.settle()
        idle = result(
            "idle connections",
            server,
            f"{count:,}, {where}",
            measured,
            completeness,
            unit="connection",
            count=count,
            complaints=[complaint for crowd in crowds for complaint in crowd.complaints],
            facts={
                "KiB per connection": slope(step, sizes) / KIB,
                **({} if (kernel := socket_size()) is None else {"KiB of the kernel's": kernel / KIB}),
                "CPU us per connection and second": 1e6 * sum(measured.cpu.values()) / count / measured.tally.seconds,
            },
            latencies=greetings,
        )
        return replace(idle, throughput=count / seconds)


def slope(step: int, sizes: Sequence[float]) -> float:
    """Bytes per connection, where so many more were there each time that the memory was looked at."""
    return linear_regression([step * number for number in range(len(sizes))], sizes).slope


SCENARIO = Scenario("idle", "idle connections: memory of each", measure, (2, 2))
