"""What a durable message costs its store: one unit of one message each, many in a commit, as under load."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from tempfile import TemporaryDirectory

import trio
from tests.servers import drop_database, new_database, postgres_program, run_postgres
from tests.storage.sample import fill, log_unit, message

from tertulia.storage.group_commit import GroupCommit
from tertulia.storage.open import open_store
from tertulia.storage.writes import Unit

from .bench import MicroBench, Round
from .wire import TEXT

UNITS = 400  # in a commit
POSTGRES = "TERTULIA_TEST_POSTGRES"  # a server that runs already


@asynccontextmanager
async def commits(url: Callable[[ExitStack], str]) -> AsyncGenerator[Round]:
    """Rounds of one commit each."""
    with ExitStack() as stack:
        async with open_store(url(stack)) as store, trio.open_nursery() as nursery:
            await fill(store)
            journal = GroupCommit(store)
            nursery.start_soon(journal.run)
            last = 0

            async def run() -> None:
                nonlocal last
                first, last = last, last + UNITS
                for seq in range(first, last - 1):
                    journal.submit(_unit(seq))
                await journal.write(_unit(last - 1))

            yield run
            journal.close()


def _unit(old: int) -> Unit:
    return log_unit(old, message(old + 1, TEXT, client_id=f"client-{old}"))


def _memory(_: ExitStack) -> str:
    return "memory:"


def _file(stack: ExitStack) -> str:
    return f"sqlite:///{stack.enter_context(TemporaryDirectory())}/bench.db"


def _postgres(stack: ExitStack) -> str:
    server = os.environ.get(POSTGRES) or stack.enter_context(run_postgres()).url
    url = new_database(server)
    stack.callback(drop_database, server, url)
    return url


def _no_postgres() -> str | None:
    if os.environ.get(POSTGRES):
        return None
    try:
        postgres_program("postgres")
    except FileNotFoundError as error:
        return str(error)
    return None


def _setup(url: Callable[[ExitStack], str]) -> Callable[[], AbstractAsyncContextManager[Round]]:
    return partial(commits, url)


BENCHES = (
    MicroBench("commit memory", "a message is committed to memory", UNITS, _setup(_memory)),
    MicroBench("commit sqlite", "a message is committed to a file, flushed", UNITS, _setup(_file)),
    MicroBench("commit postgres", "a message is sent to PostgreSQL", UNITS, _setup(_postgres), _no_postgres),
)
