"""A node that is frozen (SIGSTOP), given up by the others and then goes on: it still believes what it believed."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
import trio

from ..chaos.homes import home_among
from ..chaos.nodes import Node
from ..chaos.participant import Event, Participant, person_of
from ..chaos.stage import Stage, on_servers
from ..chaos.tally import Tally
from ..chaos.verdict import visible
from ..servers import PostgresServer, RedisServer

pytestmark = pytest.mark.slow

#: A node is given up after a second instead of five.
QUICK = {
    "TERTULIA_CLUSTER_HEARTBEAT": "0.2",
    "TERTULIA_CLUSTER_NODE_TTL": "1",
    "TERTULIA_CLUSTER_POSITION_CHECK": "1",
}
#: Clients of the frozen node stay with it.
PATIENT = 60.0  # seconds
DEADLINE = 20.0


class Speaker:
    """A client of one node."""

    def __init__(self, stage: Stage, node: Node, id: int, tally: Tally) -> None:
        self.heard: Counter[str] = Counter()
        self.refused: list[str] = []
        person = person_of(stage.demo["users"][0])
        self.participant = Participant(f"on-{node.name}", id, person, lambda: node, tally, self._hear, silence=PATIENT)
        self._news = trio.Event()

    def _hear(self, event: Event) -> None:
        if event.type == "command.failed":
            self.refused.append(f"{event.data.client_id}: {event.data.detail}")
        elif event.type == "message.created" and event.data.client_id is not None:
            self.heard[event.data.client_id] += 1
        self._news.set()

    async def send(self, client_id: str) -> None:
        await self.participant.perform("send_message", content="x", client_id=client_id)

    async def hears(self, client_id: str) -> None:
        while client_id not in self.heard:
            self._news = trio.Event()
            await self._news.wait()

    async def say(self, client_id: str) -> None:
        await self.send(client_id)
        await self.hears(client_id)


async def test_a_frozen_node_that_goes_on_cannot_write_with_a_stale_fence(
    tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer, redis_url: str
) -> None:
    tally = Tally(trio.current_time())
    async with (
        on_servers(postgres_server, redis_server, tmp_path, nodes=2, conversations=16, settings=QUICK) as stage,
        trio.open_nursery() as nursery,
    ):
        frozen, other = stage.nodes
        homes = {id: await home_among(stage, id) for id in (each["conversation_id"] for each in stage.demo["contacts"])}
        id = next(id for id, home in homes.items() if home == frozen.name)
        here, there = Speaker(stage, frozen, id, tally), Speaker(stage, other, id, tally)
        with trio.fail_after(DEADLINE):
            for speaker in (here, there):
                nursery.start_soon(speaker.participant.run)
                await speaker.participant.online.wait()
            await here.say("the home node knows this")
            await there.hears("the home node knows this")

            frozen.send_signal(signal.SIGSTOP)
            await there.say("the other node takes over")
            await there.say("and the log moves on")
            await here.send("read by the home node when it goes on")
            frozen.send_signal(signal.SIGCONT)

            await here.say("sent to the home node afterwards")
            await there.say("and to the other node")
            for speaker in (here, there):
                await speaker.hears("read by the home node when it goes on")
                await speaker.hears("and to the other node")
        log = (await stage.read_logs([id]))[id]
        nursery.cancel_scope.cancel()
        assert "The log moved on" in frozen.log.read_text(), "it did not even try"

    assert [entry.seq for entry in log] == list(range(1, 8))
    assert [entry.client_id for entry in log[:4]] == [
        None,
        "the home node knows this",
        "the other node takes over",
        "and the log moves on",
    ]
    assert sorted(str(entry.client_id) for entry in log[4:]) == [
        "and to the other node",
        "read by the home node when it goes on",
        "sent to the home node afterwards",
    ]
    for speaker in (here, there):
        assert speaker.participant.log_of(id) == visible(log, speaker.participant)
        assert set(speaker.heard.values()) == {1}
        assert speaker.refused == []
    assert tally.anomalies == []
    assert tally.endings == [], "everybody stayed connected"
