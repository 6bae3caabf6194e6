"""What goes wrong during a run, and when. In: a stage. Out: a list of what was done."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import trio

from ..servers import Server
from .stage import Stage

Fault: TypeAlias = Callable[[Stage], Awaitable[str]]

#: Seconds that a server stays away.
AWAY = 1.0


@dataclass(frozen=True)
class Planned:
    at: float  # seconds after the beginning
    fault: Fault


def kill_node(index: int) -> Fault:
    async def fault(stage: Stage) -> str:
        node = stage.nodes[index % len(stage.nodes)]
        await node.note_counters()
        await node.kill()
        await trio.sleep(AWAY)
        await node.start_again()
        return f"kill -9 node {node.name}"

    return fault


async def restart_redis(stage: Stage) -> str:
    await _restart(stage.redis)
    return "kill -9 Redis"


async def restart_postgres(stage: Stage) -> str:
    await _restart(stage.postgres)
    return "kill -9 PostgreSQL"


def freeze_node(index: int, seconds: float) -> Fault:
    """The others give it up where this is longer than `TERTULIA_CLUSTER_NODE_TTL`; then it goes on."""

    async def fault(stage: Stage) -> str:
        node = stage.nodes[index % len(stage.nodes)]
        node.send_signal(signal.SIGSTOP)
        await trio.sleep(seconds)
        node.send_signal(signal.SIGCONT)
        return f"freeze node {node.name}"

    return fault


def freeze_redis(seconds: float) -> Fault:
    async def fault(stage: Stage) -> str:
        await _freeze(stage.redis, seconds)
        return "freeze Redis"

    return fault


def freeze_postgres(seconds: float) -> Fault:
    async def fault(stage: Stage) -> str:
        await _freeze(stage.postgres, seconds)
        return "freeze PostgreSQL"

    return fault


async def _freeze(server: Server, seconds: float) -> None:
    await trio.to_thread.run_sync(server.freeze)
    await trio.sleep(seconds)
    await trio.to_thread.run_sync(server.thaw)


async def _restart(server: Server) -> None:
    await trio.to_thread.run_sync(server.kill)
    await trio.sleep(AWAY)
    await trio.to_thread.run_sync(server.start)


def schedule(seconds: float, kill_every: float) -> list[Planned]:
    """A node is killed every so many seconds; between kills, Redis and PostgreSQL are restarted once each."""
    kills = int(seconds / kill_every - 0.5)
    planned = [Planned(kill_every * (n + 1), kill_node(n)) for n in range(kills)]
    half = kill_every / 2
    planned.append(Planned(kill_every * (kills // 3 + 1) + half, restart_redis))
    planned.append(Planned(kill_every * (2 * kills // 3 + 1) + half, restart_postgres))
    return sorted(planned, key=lambda each: each.at)


#: One after the other: what each does to the others is over before the next begins.
FREEZES = [
    Planned(3.0, freeze_node(0, 10.0)),
    Planned(18.0, freeze_redis(4.0)),
    Planned(27.0, freeze_postgres(8.0)),
]


async def run_faults(stage: Stage, planned: Sequence[Planned]) -> list[str]:
    """Let everything on the list happen; returns what did, and when."""
    began, done = trio.current_time(), list[str]()

    async def run_one(item: Planned) -> None:
        await trio.sleep(item.at)
        what = await item.fault(stage)
        done.append(f"{item.at:5.1f} s {what}, back after {trio.current_time() - began - item.at:.1f} s")

    async with trio.open_nursery() as nursery:
        for item in planned:
            nursery.start_soon(run_one, item)
    return sorted(done)
