"""A commit in two halves: its statements in the event loop, which never waits for them; the disk in the thread."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tertulia.engine.errors import Unavailable
from tertulia.storage import sqlite_connections, sqlite_writer
from tertulia.storage.migrations.apply import apply_migrations
from tertulia.storage.open import open_store
from tertulia.storage.records import Contact, Token
from tertulia.storage.sqlite import ROWS_IN_PLACE, SqliteStore
from tertulia.storage.sqlite_connections import Connections, connect
from tertulia.storage.writes import AmendMessage, Delete, EraseLog, Update, Write

from .sample import OURS, T, commit_all, contents, conversation, fill, inserting, log_unit, message, writing

TIMEOUT = 10  # seconds of real time: a test that waits for threads must not hang


class Database:
    """A store on a file, and where each of its writer's statements ran."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.writer = connect(self.path, patient=False)
        apply_migrations(self.writer)
        near = connect(self.path, read_only=True, patient=False)
        self.connections = Connections(self.writer, [connect(self.path, read_only=True)], near=near)
        self.store = SqliteStore(self.connections)
        self.here: list[str] = []
        self.elsewhere: list[str] = []
        loop = threading.get_ident()

        def note(statement: str) -> None:
            (self.here if threading.get_ident() == loop else self.elsewhere).append(statement.split()[0].lower())

        self.writer.set_trace_callback(note)

    def forget(self) -> None:
        self.here.clear()
        self.elsewhere.clear()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    database = Database(tmp_path / "chat.db")
    await fill(database.store)
    database.forget()
    yield database
    await database.connections.aclose()


async def test_the_statements_run_in_the_event_loop_and_only_the_commit_in_the_thread(database: Database) -> None:
    await commit_all(database.store, log_unit(0, message(1)))
    assert database.here == ["begin", "update", "insert"]
    assert database.elsewhere == ["commit"]
    assert await contents(database.store) == ["hello"]


async def test_a_large_batch_is_written_in_the_thread(database: Database) -> None:
    await commit_all(database.store, inserting(*(conversation(100 + n) for n in range(ROWS_IN_PLACE + 1))))
    assert database.here == []
    assert "insert" in database.elsewhere


@pytest.mark.parametrize(
    "write",
    [
        EraseLog(OURS, 1, 1),
        AmendMessage(OURS, 1, 1, None, deleted_at=T),
        Delete(Token, {"contact_id": 1}),
        Update(Contact, {"account_id": OURS}, {"blocked": True}),
    ],
    ids=lambda write: type(write).__name__,
)
async def test_what_may_touch_any_number_of_rows_is_written_in_the_thread(database: Database, write: Write) -> None:
    await commit_all(database.store, log_unit(0, message(1)), writing(write))
    assert database.here == []
    assert "begin" in database.elsewhere


async def test_the_event_loop_goes_on_while_another_program_has_the_database(file_url: str, tmp_path: Path) -> None:
    async with open_store(file_url) as store:
        await fill(store)
        with closing(connect(str(tmp_path / "chat.db"))) as other, trio.fail_after(TIMEOUT):
            other.execute("begin immediate")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(commit_all, store, log_unit(0, message(1)))
                began = time.monotonic()
                await wait_all_tasks_blocked()
                assert time.monotonic() - began < sqlite_connections.BUSY_MILLISECONDS / 2000
                assert await contents(store) == []
                other.execute("rollback")
        assert await contents(store) == ["hello"]


async def test_patience_ends_where_the_thread_has_done_its_work(database: Database) -> None:
    """Or else the next commit would wait for a lock in place."""
    await database.store.new_epoch()
    assert database.writer.execute("pragma busy_timeout").fetchone() == (0,)


async def test_a_unit_that_cannot_be_stored_is_left_out_as_the_thread_would_do(database: Database) -> None:
    good, bad = log_unit(0, message(1)), inserting(conversation(1))
    refused = await database.store.commit([bad, good])
    assert list(refused) == [0]
    assert database.elsewhere[0] == "pragma", "what went wrong in place is begun anew in the thread"
    assert await contents(database.store) == ["hello"]


async def test_a_commit_that_the_disk_refuses_is_unavailable_and_rolled_back(database: Database) -> None:
    def allow(action: int, operation: str | None, *_: object) -> int:
        return (
            sqlite3.SQLITE_DENY if (action, operation) == (sqlite3.SQLITE_TRANSACTION, "COMMIT") else sqlite3.SQLITE_OK
        )

    database.writer.set_authorizer(allow)
    unit = log_unit(0, message(1))
    with pytest.raises(Unavailable, match="cannot be written"):
        await database.store.commit([unit])
    database.writer.set_authorizer(None)
    assert not database.writer.in_transaction
    await commit_all(database.store, unit)
    assert await contents(database.store) == ["hello"]


async def test_a_caller_that_is_cancelled_leaves_no_half_behind(database: Database) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await database.store.commit([log_unit(0, message(1))])
    assert scope.cancelled_caught
    assert database.here == [], "who is cancelled before it begins begins nothing"

    async def commit(scope: trio.CancelScope) -> None:
        with scope:
            await database.store.commit([log_unit(0, message(1))])

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(commit, scope)
        while not database.here:
            await trio.lowlevel.checkpoint()
        scope.cancel()
    assert database.elsewhere == ["commit"]
    assert await contents(database.store) == ["hello"]


async def test_while_the_thread_is_at_work_nothing_is_begun_beside_it(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def other_work(writer: sqlite3.Connection) -> None:
        writer.execute("begin immediate")
        begun.set()
        go_on.wait(TIMEOUT)
        writer.execute("commit")

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.connections.write, other_work)
            await trio.to_thread.run_sync(begun.wait)
            nursery.start_soon(commit_all, database.store, log_unit(0, message(1)))
            await wait_all_tasks_blocked()
            go_on.set()
    assert database.here == []
    assert await contents(database.store) == ["hello"]


class Clocks:
    """In place of the module `time`: what the wall shows, and what the processor has spent."""

    def __init__(self) -> None:
        self.wall = 1000.0

    def monotonic(self) -> float:
        return self.wall

    def thread_time(self) -> float:
        return 0.0


async def test_after_a_wait_for_the_disk_the_thread_does_it_all_for_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks()
    monkeypatch.setattr(sqlite_connections, "time", clocks)

    def begin_slowly(writer: sqlite3.Connection) -> dict[int, Exception] | None:
        clocks.wall += 2 * sqlite_connections.WAITED_TOO_LONG
        return sqlite_writer.begin(writer, [log_unit(0, message(1))])

    write = database.connections.write_in_halves
    assert await write(begin_slowly, sqlite_writer.finish) == {}
    assert await contents(database.store) == ["hello"], "what was begun is finished"
    assert await write(sqlite_writer.begin, sqlite_writer.finish, []) is None
    clocks.wall += sqlite_connections.IN_THREAD_AFTER_THAT
    assert await write(sqlite_writer.begin, sqlite_writer.finish, []) == {}


async def test_who_opens_a_file_that_another_program_is_about_to_change_waits_for_it(
    file_url: str, tmp_path: Path
) -> None:
    with closing(connect(str(tmp_path / "chat.db"))) as other:
        other.execute("begin immediate")
        threading.Timer(0.1, other.execute, ("rollback",)).start()
        async with open_store(file_url) as store:
            assert await store.account(OURS) is None
