"""PostgreSQL and Redis for every test that asks: one server of each for the whole run, started at the first need.

`postgres_url` and `redis_url` are for tests that use a database; they also work with a server that runs already, named
by TERTULIA_TEST_POSTGRES and TERTULIA_TEST_REDIS. `postgres_server` and `redis_server` are for tests that stop, freeze
or kill it; after each test it runs again.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from .servers import (
    PostgresServer,
    RedisServer,
    drop_database,
    empty_redis,
    new_database,
    run_postgres,
    run_redis,
)

GIVEN_POSTGRES = os.environ.get("TERTULIA_TEST_POSTGRES")
GIVEN_REDIS = os.environ.get("TERTULIA_TEST_REDIS")


@pytest.fixture(scope="session")
def postgres_of_the_run() -> Generator[PostgresServer | None]:
    """None where the environment names one."""
    if GIVEN_POSTGRES:
        yield None
        return
    # Tests kill processes, not machines: what was written survives that without a flush to the disk.
    with run_postgres(fsync="off") as server:
        yield server


@pytest.fixture(scope="session")
def redis_of_the_run() -> Generator[RedisServer | None]:
    """None where the environment names one."""
    if GIVEN_REDIS:
        yield None
        return
    with run_redis() as server:
        yield server


@pytest.fixture
def postgres_server(postgres_of_the_run: PostgresServer | None) -> Generator[PostgresServer]:
    """The server of this run, to be stopped, frozen or killed."""
    if postgres_of_the_run is None:
        pytest.skip("TERTULIA_TEST_POSTGRES names a server that is not ours to stop")
    yield postgres_of_the_run
    postgres_of_the_run.ensure_running()


@pytest.fixture
def redis_server(redis_of_the_run: RedisServer | None) -> Generator[RedisServer]:
    """The server of this run, to be stopped, frozen or killed."""
    if redis_of_the_run is None:
        pytest.skip("TERTULIA_TEST_REDIS names a server that is not ours to stop")
    yield redis_of_the_run
    redis_of_the_run.ensure_running()


@pytest.fixture
def postgres_url(postgres_of_the_run: PostgresServer | None) -> Generator[str]:
    """The URL of a new, empty database."""
    server_url = postgres_of_the_run.url if postgres_of_the_run else GIVEN_POSTGRES or ""
    database_url = new_database(server_url)
    yield database_url
    if postgres_of_the_run:
        postgres_of_the_run.ensure_running()
    drop_database(server_url, database_url)


@pytest.fixture
def redis_url(redis_of_the_run: RedisServer | None) -> str:
    """The URL of an empty Redis."""
    if redis_of_the_run:
        redis_of_the_run.ensure_running()
    url = redis_of_the_run.url if redis_of_the_run else GIVEN_REDIS or ""
    empty_redis(url)
    return url
