"""A job and the message that causes it: the database itself fails between the two, and neither is there."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager

import pytest

from tertulia.storage.open import open_store
from tertulia.storage.records import JobState
from tertulia.storage.writes import Enqueue, Unit

from ..servers import execute
from .job_sample import found, job
from .sample import OURS, commit_all, fill, log_unit, message, refusals, seqs

SQLITE_FAULT = "create trigger fault before insert on {} begin select raise(abort, 'out of order'); end"
#: A check violation: what PostgreSQL says of a row that it does not take.
POSTGRES_FAULT = """
create function fault() returns trigger language plpgsql as
    $$ begin raise exception 'out of order' using errcode = '23514'; end $$;
create trigger fault before insert on {} for each row execute function fault()
"""


@contextmanager
def fault_in(url: str, table: str) -> Generator[None]:
    """The table takes no new row for as long as the block lasts."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            database.execute(SQLITE_FAULT.format(table))
            yield
            database.execute("drop trigger fault")
    else:
        execute(url, POSTGRES_FAULT.format(table))
        try:
            yield
        finally:
            execute(url, "drop function fault cascade")


def said_with_a_job() -> Unit:
    unit = log_unit(0, message(1))
    unit.writes = [Enqueue(job("a"))]
    return unit


@pytest.mark.parametrize("table", ["messages", "jobs"])
@pytest.mark.parametrize("database", ["file_url", "emptied_postgres_url"])
async def test_where_one_of_them_cannot_be_written_the_other_is_not_there_either(
    database: str, table: str, request: pytest.FixtureRequest
) -> None:
    url = str(request.getfixturevalue(database))
    async with open_store(url) as store:
        await fill(store)
        with fault_in(url, table):
            assert await refusals(store, said_with_a_job()) == {0: "Invalid"}
        assert (await seqs(store), await store.job(OURS, "a")) == ([], None)
        await commit_all(store, said_with_a_job())
        assert (await seqs(store), (await found(store, "a")).state) == ([1], JobState.AVAILABLE)
