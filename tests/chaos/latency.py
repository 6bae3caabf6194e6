"""How long a message takes from its sender's socket on one node to subscribers on the others. In: a stage."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import trio

from .homes import home_among
from .nodes import Node
from .participant import Event, Participant, person_of
from .stage import Stage
from .tally import Tally

MESSAGES = 200
RATE = 20.0  # a second
WARM_UP = 20  # messages that are not counted


class Measured(NamedTuple):
    """Milliseconds."""

    what: str
    messages: int
    median: float
    p99: float
    longest: float


async def measure(stage: Stage) -> list[Measured]:
    """With the sender on the conversation's home node, and then elsewhere."""
    sending, *others = stage.nodes
    ids = [contact["conversation_id"] for contact in stage.demo["contacts"]]
    homes = {id: await home_among(stage, id) for id in ids}
    here = next(id for id in ids if homes[id] == sending.name)
    there = next(id for id in ids if homes[id] != sending.name)
    found = await _measure(stage, here, "sender on the home node", sending, others)
    return found + await _measure(stage, there, f"sender on {sending.name}, home {homes[there]}", sending, others)


async def _measure(stage: Stage, id: int, what: str, sending: Node, others: Sequence[Node]) -> list[Measured]:
    tally = Tally(trio.current_time())
    person = person_of(stage.demo["users"][0])
    began: dict[str, float] = {}
    delays: dict[str, list[float]] = {}

    def listener(node: Node) -> Participant:
        mine = delays[node.name] = []

        def heard(event: Event) -> None:
            client_id = event.data.client_id
            if event.type == "message.created" and client_id in began:
                mine.append(1000 * (time.perf_counter() - began[client_id]))

        return Participant(f"on-{node.name}-{id}", id, person, lambda: node, tally, heard)

    listeners = [listener(node) for node in (sending, *others)]
    sender = Participant(f"sender-{id}", id, person, lambda: sending, tally)
    async with trio.open_nursery() as nursery:
        for participant in (sender, *listeners):
            nursery.start_soon(participant.run)
            await participant.online.wait()
        due = trio.current_time()
        for n in range(WARM_UP + MESSAGES):
            client_id = f"{id}-{n}"
            began[client_id] = time.perf_counter()
            await sender.perform("send_message", content="x" * 80, client_id=client_id)
            due += 1 / RATE
            await trio.sleep_until(due)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return [
        _measured(f"{what}; subscriber on {'the same node' if name == sending.name else name}", ms[WARM_UP:])
        for name, ms in delays.items()
    ]


def _measured(what: str, values: Sequence[float]) -> Measured:
    ordered = sorted(values)
    assert len(ordered) == MESSAGES, f"{what}: {len(ordered)} of {MESSAGES} messages arrived"
    return Measured(what, len(ordered), median(ordered), ordered[math.ceil(0.99 * len(ordered)) - 1], ordered[-1])


def line_of(measured: Measured) -> str:
    return (
        f"{measured.median:7.2f} ms median {measured.p99:7.2f} ms p99 {measured.longest:7.2f} ms longest  "
        f"{measured.what} ({measured.messages} messages)"
    )
