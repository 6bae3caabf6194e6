"""The servers of the tests: what a test does to one is over after it, and none outlives its program."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from .servers import PostgresServer, RedisServer, execute, run_redis

ROOT = Path(__file__).parent.parent
BOUND = 10.0  # seconds

ABANDONED = """
import os, signal
from tests.servers import run_redis
with run_redis() as server:
    server.freeze()
    print(server.pid, server.folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + BOUND
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_a_server_that_was_killed_starts_again_with_what_was_committed(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    execute(postgres_url, "CREATE TABLE kept (number int)")
    execute(postgres_url, "INSERT INTO kept VALUES (7)")
    first = postgres_server.pid
    postgres_server.kill()
    postgres_server.start()
    assert postgres_server.pid != first
    assert execute(postgres_url, "SELECT number FROM kept").strip() == "7"


def test_each_test_has_an_empty_database_of_its_own(postgres_url: str) -> None:
    assert execute(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").strip() == "0"


def test_a_wrong_password_is_refused(postgres_server: PostgresServer) -> None:
    with pytest.raises(RuntimeError, match="password authentication failed"):
        execute(postgres_server.url.replace(":tertulia@", ":wrong@"), "SELECT 1")


def test_a_frozen_server_does_not_answer_until_it_is_thawed(redis_server: RedisServer, redis_url: str) -> None:
    with Redis.from_url(redis_url, socket_timeout=0.2) as client:  # pyright: ignore[reportUnknownMemberType]
        redis_server.freeze()
        with pytest.raises(RedisTimeout):
            client.get("anything")
        redis_server.thaw()
        client.set("anything", "here")
        assert client.get("anything") == b"here"


def test_a_setting_reaches_the_server() -> None:
    with run_redis(maxclients="17") as server, Redis.from_url(server.url) as client:  # pyright: ignore[reportUnknownMemberType]
        assert client.config_get("maxclients") == {"maxclients": "17"}  # pyright: ignore[reportUnknownMemberType]


def test_a_server_dies_with_the_program_that_started_it_even_frozen() -> None:
    ran = subprocess.run([sys.executable, "-c", ABANDONED], cwd=ROOT, capture_output=True, text=True, timeout=BOUND)
    pid, folder = ran.stdout.split()
    assert eventually(lambda: is_gone(int(pid)) and not Path(folder).exists())
