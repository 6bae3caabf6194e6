"""Where a run takes place: PostgreSQL, Redis, a demo account, and nodes. All of it real, all of it new."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from ..processes.server_process import run
from ..servers import PostgresServer, RedisServer, execute, run_postgres, run_redis
from .nodes import Node, running
from .verdict import Entry, Log

LOGS = """
select conversation_id, seq, client_id, private from messages where conversation_id in ({ids})
union all select conversation_id, seq, null, private from events where conversation_id in ({ids})
order by 1, 2
"""


@dataclass
class Stage:
    """The servers of one run."""

    postgres: PostgresServer
    redis: RedisServer
    database_url: str
    demo: Mapping[str, Any]
    nodes: list[Node]

    async def read_logs(self, conversation_ids: Sequence[int]) -> Mapping[int, Log]:
        """What is stored, straight from PostgreSQL."""
        statement = LOGS.format(ids=",".join(map(str, conversation_ids)))
        rows = await trio.to_thread.run_sync(execute, self.database_url, statement)
        logs: dict[int, list[Entry]] = {id: [] for id in conversation_ids}
        for row in rows.splitlines():
            id, seq, client_id, private = row.split("\t")
            logs[int(id)].append(Entry(int(seq), client_id or None, private == "t"))
        return logs


@asynccontextmanager
async def open_stage(
    folder: Path, *, nodes: int, conversations: int, settings: Mapping[str, str] | None = None
) -> AsyncGenerator[Stage]:
    """Everything runs and accepts connections. The nodes' logs are in `folder`."""
    # These block for a second or two while they start and stop, and nothing else goes on meanwhile.
    with run_postgres() as postgres, run_redis() as redis:
        async with on_servers(
            postgres, redis, folder, nodes=nodes, conversations=conversations, settings=settings
        ) as stage:
            yield stage


@asynccontextmanager
async def on_servers(
    postgres: PostgresServer,
    redis: RedisServer,
    folder: Path,
    *,
    nodes: int,
    conversations: int,
    settings: Mapping[str, str] | None = None,
) -> AsyncGenerator[Stage]:
    """The same on servers that run already, with a database of its own."""
    database_url = postgres.new_database()
    demo = make_demo(database_url, conversations)
    arguments = ("--database", database_url, "--redis", redis.url)
    async with running(nodes, arguments, folder, settings) as started:
        yield Stage(postgres, redis, database_url, demo, started)


def make_demo(database_url: str, conversations: int) -> dict[str, Any]:
    """Fill a database; the people, ids and tokens in it."""
    done = run("demo", "--database", database_url, "--conversations", str(conversations), "--json")
    assert done.returncode == 0, done.stderr
    filled: dict[str, Any] = json.loads(done.stdout)
    return filled
