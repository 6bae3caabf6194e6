"""Which node a conversation lives on, computed as the nodes do. In: the names that they keep in Redis."""

from __future__ import annotations

from typing import Any

import trio
from redis import Redis

from tertulia.actors.conversation import ConversationActor
from tertulia.engine.rendezvous import Nodes
from tertulia.storage.redis_limits import BusLimits

from .stage import Stage


async def home_among(stage: Stage, conversation_id: int) -> str:
    """The one-letter name of the node. Raises KeyError where that node is none of the stage's."""
    live = await trio.to_thread.run_sync(_live, stage.redis.url)
    by_pid = {node.pid: node.name for node in stage.nodes}
    key = (stage.demo["account_id"], conversation_id)
    home = Nodes(live).home_of(f"{ConversationActor.__name__}:{key}")
    return by_pid[pid_in(home)]


def _live(redis_url: str) -> list[str]:
    client: Any = Redis  # its types are partly unknown
    with client.from_url(redis_url) as redis:
        members: Any = redis.zrange(f"{BusLimits().prefix}nodes", 0, -1)
        return [member.decode() for member in members]


def pid_in(node: str) -> int:
    """A node's name ends with the number of its process and something random."""
    return int(node.split("-")[-2])
