"""A rolling restart under load. In: a stage and a crowd. Out: when the clients of each node came back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import trio

from .stage import Stage
from .tally import Tally

BUCKETS = 10
PAUSE = 2.0  # seconds between a node's return and the next one's end


class Restarted(NamedTuple):
    """One node's restart. The last bucket counts those who came back after the drain window."""

    node: str
    status: int
    seconds: float  # from SIGTERM to the end of the process
    clients: int
    returns: Sequence[int]


async def roll(stage: Stage, tally: Tally, drain_window: float) -> list[Restarted]:
    """Restart every node in turn; the next one when the last one accepts."""
    done: list[Restarted] = []
    for node in stage.nodes:
        began = trio.current_time()
        status = await node.terminate()
        seconds = trio.current_time() - began
        await node.start()
        await trio.sleep(PAUSE)
        clients = sum(ending.node == node.name and ending.instant >= began for ending in tally.endings)
        returns = [back.instant - began for back in tally.returns if back.left == node.name and back.instant >= began]
        done.append(Restarted(node.name, status, seconds, clients, histogram(returns, drain_window)))
    return done


def histogram(instants: Sequence[float], window: float) -> list[int]:
    """Counts in ten equal parts of the window, and after it."""
    counts = [0] * (BUCKETS + 1)
    for instant in instants:
        counts[min(BUCKETS, int(BUCKETS * instant / window))] += 1
    return counts


def complaints_about(done: Sequence[Restarted], tally: Tally) -> list[str]:
    """What clients must not see of a rolling restart."""
    wrong = [f"node {node.node} exited with {node.status}" for node in done if node.status != 0]
    wrong += [
        f"{times} connections ended otherwise: {how}" for how, times in tally.by_ending.items() if how != EXPECTED
    ]
    wrong += [f"{times} commands were refused: {code}" for code, times in tally.failures.items()]
    wrong += [
        f"node {node.node} had {node.clients} clients, and {sum(node.returns)} of them came back"
        for node in done
        if sum(node.returns) != node.clients
    ]
    return wrong


#: What clients are told.
EXPECTED = "server_restart"


def line_of(restarted: Restarted) -> str:
    *within, late = restarted.returns
    return (
        f"node {restarted.node}: {restarted.clients} clients, exit {restarted.status} after {restarted.seconds:.1f} s; "
        f"came back in each tenth of the drain window: {' '.join(map(str, within))}, later: {late}"
    )
