"""asyncpg behind the bridge, with a real server: what it does, and what it does not do any longer, comes through."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

import asyncpg
import pytest
import trio

from tertulia.storage.bridge import Bridge, open_bridge

from ..servers import PostgresServer, execute

BOUND = 5.0  # seconds: long before a test would hang


@pytest.fixture
async def bridge() -> AsyncGenerator[Bridge]:
    async with open_bridge() as bridge:
        yield bridge


async def connect(url: str) -> asyncpg.Connection:
    return await asyncpg.connect(url, command_timeout=0.3)


async def ask(connection: asyncpg.Connection, query: str) -> object:
    return await connection.fetchval(query)


async def drop(connection: asyncpg.Connection) -> None:
    connection.terminate()


async def test_a_hundred_calls_at_once_share_a_pool(bridge: Bridge, postgres_url: str) -> None:
    async def open_pool() -> asyncpg.Pool:
        return await asyncpg.create_pool(postgres_url, min_size=1, max_size=8)

    pool = await bridge.call(open_pool)
    answers: list[object] = []

    async def caller(number: int) -> None:
        answers.append(await bridge.call(pool.fetchval, f"SELECT {number}"))

    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(caller, number)
        await bridge.call(pool.close)
    assert sorted(map(str, answers)) == sorted(map(str, range(100)))


async def test_with_a_frozen_server_the_librarys_timeout_comes_through_in_time(
    bridge: Bridge, postgres_url: str, postgres_server: PostgresServer
) -> None:
    connection = await bridge.call(connect, postgres_url)
    await trio.to_thread.run_sync(postgres_server.freeze)
    began = time.monotonic()
    with trio.fail_after(BOUND), pytest.raises(TimeoutError):
        await bridge.call(ask, connection, "SELECT 1")
    assert time.monotonic() - began < 2
    await bridge.call(drop, connection)


async def test_with_a_frozen_server_a_cancelled_caller_is_free_in_time(
    bridge: Bridge, postgres_url: str, postgres_server: PostgresServer
) -> None:
    connection = await bridge.call(asyncpg.connect, postgres_url)
    await trio.to_thread.run_sync(postgres_server.freeze)
    began = time.monotonic()
    with trio.move_on_after(0.1) as scope:
        await bridge.call(ask, connection, "SELECT 1")
    assert scope.cancelled_caught
    assert time.monotonic() - began < 2
    await bridge.call(drop, connection)


async def test_a_connection_that_breaks_in_the_middle_of_a_query_is_an_error_at_once(
    bridge: Bridge, postgres_url: str, postgres_server: PostgresServer
) -> None:
    connection = await bridge.call(asyncpg.connect, postgres_url)
    active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND wait_event = 'PgSleep'"
    errors: list[Exception] = []

    async def caller() -> None:
        try:
            await bridge.call(ask, connection, "SELECT pg_sleep(60)")
        except (OSError, asyncpg.PostgresError) as error:
            errors.append(error)

    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            while (await trio.to_thread.run_sync(execute, postgres_url, active)).strip() != "1":
                pass
            await trio.to_thread.run_sync(postgres_server.kill)
    assert len(errors) == 1
