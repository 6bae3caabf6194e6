"""Nodes, Redis and PostgreSQL are killed and started again while people chat: nobody notices in what they read.

This is `python -m tests.chaos`, shortened.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ..chaos.crowd import Crowd
from ..chaos.faults import Planned, kill_node, restart_postgres, restart_redis, run_faults
from ..chaos.report import errors_in
from ..chaos.stage import on_servers
from ..chaos.tally import Tally
from ..servers import PostgresServer, RedisServer

pytestmark = pytest.mark.slow

#: A dead node is given up after a second and a half instead of five.
QUICK = {
    "TERTULIA_CLUSTER_HEARTBEAT": "0.3",
    "TERTULIA_CLUSTER_NODE_TTL": "1.5",
    "TERTULIA_CLUSTER_POSITION_CHECK": "1",
}
SETTLE = 30.0  # seconds
PLAN = [Planned(0.5, kill_node(0)), Planned(2.0, restart_redis), Planned(4.0, restart_postgres)]


async def test_what_is_acknowledged_is_stored_once_and_seen_once_by_everybody_whatever_is_killed(
    tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer, redis_url: str
) -> None:
    async with on_servers(postgres_server, redis_server, tmp_path, nodes=3, conversations=10, settings=QUICK) as stage:
        tally = Tally(trio.current_time())
        crowd = Crowd(stage.demo, stage.nodes, tally, senders=20, subscribers=60, dashboards=3, rate=40)
        async with crowd.chatting():
            await run_faults(stage, PLAN)
            verdict = await crowd.settle(stage.read_logs, SETTLE)
        assert verdict.complaints == []
        assert errors_in(stage.nodes) == []
    assert verdict.acknowledged > 0
    assert verdict.stored >= verdict.acknowledged
    assert tally.by_ending["dropped"] > 0, "the killed node had clients"
    assert tally.resumes_with_news > 0, "somebody missed something, and was told"
