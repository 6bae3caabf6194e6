"""Hearing of jobs over a connection that goes silent without a word. The rest is in `test_postgres_jobs.py`."""

from __future__ import annotations

import logging

import pytest
import trio

from tertulia.storage.postgres import open_postgres
from tertulia.storage.postgres_limits import PostgresLimits

from .postgres_nodes import PATIENCE, Database, through
from .proxy import proxy_of_postgres

IMPATIENT = PostgresLimits(
    connect_timeout=0.3,
    statement_timeout=0.1,
    answer_timeout=0.2,
    closing_timeout=0.1,
    wake_up_check=0.1,
    max_backoff=0.1,
)


async def test_a_connection_that_says_nothing_any_more_is_made_again(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    times = 0
    heard = trio.Event()

    def hear() -> None:
        nonlocal times
        times += 1
        heard.set()

    async with (
        proxy_of_postgres(database.url) as proxy,
        open_postgres(through(proxy, database.url), IMPATIENT) as store,
    ):
        with trio.fail_after(PATIENCE):
            async with store.job_wakeups(hear):
                await heard.wait()
                heard = trio.Event()
                with caplog.at_level(logging.WARNING, "tertulia.postgres"):
                    proxy.loses_requests = True
                    await proxy.stopped.wait()
                    assert times == 1
                    proxy.behave()
                    await heard.wait()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "Jobs of other nodes are found by looking only, for now"
    ]
