"""A writer of PostgreSQL whose server, connection or answer is lost: the same units again are answered as they would
have been, and no row exists twice."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from tertulia.engine.errors import OutcomeUnknown, Unavailable
from tertulia.storage.postgres_writer import Writer
from tertulia.storage.records import Account, Contact
from tertulia.storage.writes import Insert, Unit, Update

from ..servers import PostgresServer
from .postgres_nodes import PATIENCE, Database, Node, answers
from .proxy import Proxy, proxy_of_postgres
from .sample import OURS, T, account_event, contact, inserting, log_unit, message, writing

FROZEN = 0.3  # seconds after which a silent server is given up


@pytest.fixture
async def proxy(database: Database) -> AsyncGenerator[Proxy]:
    async with proxy_of_postgres(database.url) as proxy:
        yield proxy


@pytest.fixture
async def node(database: Database, proxy: Proxy) -> AsyncGenerator[Node]:
    async with database.node(proxy) as node:
        await node.commit(Unit(OURS))  # registered
        yield node


def logs() -> list[Unit]:
    """One statement: two units that follow each other, and one that is stale."""
    return [
        log_unit(0, message(1, "a")),
        log_unit(5, message(6, conversation_id=2), conversation_id=2),
        log_unit(1, message(2, "b")),
    ]


def records() -> list[Unit]:
    """A transaction; nothing of it has a fence."""
    return [
        inserting(contact(8)),
        inserting(contact(1)),
        writing(Update(Contact, {"account_id": OURS, "id": 8}, {"name": "x"})),
    ]


def mixture() -> list[Unit]:
    account = Unit(OURS, account_log=True, new_seq=1, account_events=[account_event(1)], writes=[Insert(contact(8))])
    account_again = Unit(OURS, account_log=True, new_seq=1, account_events=[account_event(1)])
    return [*logs(), account, account_again, inserting(Account(id=1, name="Taken", created_at=T))]


def nothing() -> list[Unit]:
    return [Unit(OURS)]


EXPECTED: dict[Callable[[], list[Unit]], list[tuple[int, str]]] = {
    logs: [(1, "StaleWrite")],
    records: [(1, "Conflict")],
    mixture: [(1, "StaleWrite"), (4, "StaleWrite"), (5, "Conflict")],
    nothing: [],
}

every_kind = pytest.mark.parametrize("units_of", EXPECTED)


async def rows(database: Database) -> list[list[tuple[object, ...]]]:
    """Everything that the units above may write."""
    queries = (
        "select conversation_id, seq, content from messages order by 1, 2",
        "select id, last_seq from conversations order by 1",
        "select id, name from contacts order by 1",
        "select account_id, seq from account_events order by 1, 2",
    )
    return [await database.fetch(query) for query in queries]


def kinds(refused: dict[int, Exception]) -> list[tuple[int, str]]:
    return [(index, kind) for index, kind, _ in answers(refused)]


@asynccontextmanager
async def an_unknown_outcome(node: Node, units: list[Unit], proxy: Proxy) -> AsyncGenerator[None]:
    """Commit while the block runs, and break the connection at its end."""

    async def commit() -> None:
        with pytest.raises(OutcomeUnknown):
            await node.commit(*units)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit)
        yield
        await proxy.cut()


@every_kind
async def test_an_answer_that_was_lost_is_given_again(
    database: Database, proxy: Proxy, node: Node, units_of: Callable[[], list[Unit]]
) -> None:
    units = units_of()
    if units_of in (logs, nothing):
        proxy.loses_answers = True
    else:
        proxy.loses_answers_after = b"COMMIT"
    async with an_unknown_outcome(node, units, proxy):
        await database.until("select exists (select from commits where batch = 2)")
    written = await rows(database)

    proxy.behave()
    await node.connect()
    assert kinds(await node.commit(*units)) == EXPECTED[units_of]
    assert await rows(database) == written
    assert await database.value("select max(batch) from commits") == 2


@every_kind
async def test_the_note_holds_the_answer_to_the_letter(database: Database, units_of: Callable[[], list[Unit]]) -> None:
    units = units_of()
    async with database.node(writer=Writer(7)) as node, database.node(writer=Writer(7)) as forgetful:
        first = await node.commit(*units)
        written = await rows(database)
        again = await forgetful.commit(*units)
    assert answers(again) == answers(first)
    assert kinds(again) == EXPECTED[units_of]
    assert await rows(database) == written


@every_kind
async def test_a_request_that_was_lost_is_written_when_it_is_repeated(
    proxy: Proxy, node: Node, units_of: Callable[[], list[Unit]]
) -> None:
    units = units_of()

    async def break_off() -> None:
        await proxy.stopped.wait()
        await proxy.cut()

    proxy.loses_requests = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(break_off)
        with pytest.raises(Unavailable):
            await node.commit(*units)
    proxy.behave()
    await node.connect()
    assert kinds(await node.commit(*units)) == EXPECTED[units_of]


async def test_a_batch_that_was_given_up_and_overtaken_is_never_written(
    database: Database, proxy: Proxy, node: Node
) -> None:
    """Its request stands still somewhere on the way, while the writer gives it up and goes on to its next batch."""
    first_pid = node.pid
    proxy.holds_requests = True
    async with an_unknown_outcome(node, [log_unit(0, message(1, "given up"))], proxy):
        await proxy.stopped.wait()
    async with database.node(writer=node.writer) as elsewhere:
        await elsewhere.commit(log_unit(0, message(1, "next", conversation_id=2), conversation_id=2))
    proxy.behave()  # the request arrives
    await database.until(f"select not exists (select from pg_stat_activity where pid = {first_pid})")
    assert await database.fetch("select conversation_id, content from messages") == [(2, "next")]


async def test_a_first_attempt_that_still_runs_is_waited_for(database: Database, proxy: Proxy, node: Node) -> None:
    units = logs()
    refused: list[dict[int, Exception]] = []

    async def again() -> None:
        refused.append(await node.commit(*units))

    async with database.locked("select from conversations where id = 1 for update") as release:
        async with an_unknown_outcome(node, units, proxy):
            await database.until_waiting(1)
        await node.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(again)
            await database.until_waiting(2)
            await release()
    assert kinds(refused[0]) == EXPECTED[logs]
    assert await database.fetch("select conversation_id, content from messages order by seq") == [(1, "a"), (1, "b")]


async def test_a_transaction_that_breaks_before_its_commit_wrote_nothing(
    database: Database, proxy: Proxy, node: Node
) -> None:
    before = await rows(database)

    async def commit() -> None:
        with pytest.raises(Unavailable) as raised:
            await node.commit(*mixture())
        assert not isinstance(raised.value, OutcomeUnknown)

    async with database.locked("select from conversations where id = 1 for update"), trio.open_nursery() as nursery:
        nursery.start_soon(commit)
        await database.until_waiting(1)
        await proxy.cut()
    assert await rows(database) == before


@pytest.mark.parametrize("units_of", [logs, mixture])
async def test_a_backend_that_is_ended_is_not_believed(
    database: Database, node: Node, units_of: Callable[[], list[Unit]]
) -> None:
    units = units_of()

    async def commit() -> None:
        with pytest.raises(Unavailable):
            await node.commit(*units)

    async with database.locked("select from conversations where id = 1 for update"), trio.open_nursery() as nursery:
        nursery.start_soon(commit)
        await database.until_waiting(1)
        await database.fetch("select pg_terminate_backend($1)", node.pid)
    await node.connect()
    assert kinds(await node.commit(*units)) == EXPECTED[units_of]


async def test_a_server_that_freezes_is_given_up_in_time_and_asked_again_when_it_thaws(
    database: Database, postgres_server: PostgresServer
) -> None:
    units = logs()
    async with database.node(command_timeout=FROZEN) as node:
        await node.commit(Unit(OURS))
        postgres_server.freeze()
        try:
            with trio.fail_after(FROZEN * 5), pytest.raises(OutcomeUnknown):
                await node.commit(*units)
        finally:
            postgres_server.thaw()
        await node.connect()
        assert kinds(await node.commit(*units)) == EXPECTED[logs]
    assert await database.value("select count(*) from messages") == 2


async def test_a_server_that_crashes_during_a_commit_is_asked_again_when_it_is_back(
    database: Database, postgres_server: PostgresServer
) -> None:
    units = logs()
    async with database.node() as node:
        await node.commit(Unit(OURS))

        async def commit() -> None:
            with pytest.raises(OutcomeUnknown):
                await node.commit(*units)

        async with database.locked("select from conversations where id = 1 for update"), trio.open_nursery() as nursery:
            nursery.start_soon(commit)
            await database.until_waiting(1)
            os.kill(node.pid, signal.SIGKILL)  # the server then restarts itself, as after a crash
        with trio.fail_after(PATIENCE):
            await node.connect_again()
        assert kinds(await node.commit(*units)) == EXPECTED[logs]
