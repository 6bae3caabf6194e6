"""The SQLite file: settings that durability rests on, readers beside the writer, one server, clear errors, the end."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tertulia.engine.errors import TertuliaError, Unavailable
from tertulia.storage import sqlite_connections, sqlite_writer
from tertulia.storage.contracts import ConversationFilter
from tertulia.storage.file_lock import DatabaseInUse
from tertulia.storage.migrations.apply import apply_migrations
from tertulia.storage.open import BadDatabaseUrl, open_store
from tertulia.storage.records import Conversation
from tertulia.storage.sqlite import READERS, SqliteStore
from tertulia.storage.sqlite_connections import Connections, connect
from tertulia.storage.writes import AmendMessage, Unit

from .sample import OURS, T, commit_all, contents, conversation, event, fill, inserting, log_unit, message, writing

LETTER = "a letter to my aunt " * 200
TIMEOUT = 10  # seconds of real time: a test that waits for threads must not hang


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect(str(path))
    yield connection
    connection.close()


# Durability


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1), ("busy_timeout", 1000)],
)
def test_a_connection_has_the_settings_that_the_promise_rests_on(
    connection: sqlite3.Connection, pragma: str, value: object
) -> None:
    assert connection.execute(f"pragma {pragma}").fetchone()[0] == value


def test_a_reader_cannot_write(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("create table t (x)")
    reader = connect(str(path), read_only=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("insert into t values (1)")
    reader.close()


async def test_what_was_committed_is_there_after_a_restart(file_url: str) -> None:
    async with open_store(file_url) as store:
        await fill(store)
        await commit_all(store, log_unit(0, message(1)))
        epoch = await store.epoch()
    async with open_store(file_url) as store:
        assert await contents(store) == ["hello"]
        assert await store.epoch() == epoch
        assert await store.reserve(Conversation) == range(23, 24)


async def test_a_new_epoch_survives_a_restart(file_url: str) -> None:
    async with open_store(file_url) as store:
        epoch = await store.new_epoch()
    async with open_store(file_url) as store:
        assert await store.epoch() == epoch


def content_of(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def write_letter(path: Path) -> None:
    path.write_text(LETTER)


async def test_erased_text_is_in_no_byte_of_the_file(file_url: str, path: Path) -> None:
    async with open_store(file_url) as store:
        await fill(store)
        rows = message(1, "the SECRET word"), event(2, '{"content":"the SECRET word"}', message_seq=1)
        await commit_all(store, log_unit(0, *rows))
    assert b"SECRET" in content_of(path)
    async with open_store(file_url) as store:
        await commit_all(store, writing(AmendMessage(OURS, 1, 1, None, deleted_at=T)))
    assert b"SECRET" not in content_of(path)
    assert content_of(path.with_name("chat.db-wal")) == b""


# Readers


async def test_a_read_does_not_wait_for_a_write_transaction(path: Path, file_url: str) -> None:
    async with open_store(file_url) as store:
        await fill(store)
        other = connect(str(path))
        other.execute("begin immediate")
        other.execute("update contacts set name = 'Uncommitted'")
        with trio.fail_after(TIMEOUT):
            found = await store.contact(OURS, 1)
        other.execute("rollback")
        other.close()
        assert found is not None
        assert found.name == "Contact 1"


async def test_a_read_goes_on_while_the_writer_s_own_thread_is_in_a_transaction(path: Path) -> None:
    writer = connect(str(path))
    writer.execute("create table t (x)")
    connections = Connections(writer, [connect(str(path), read_only=True)])
    open_transaction, finish = threading.Event(), threading.Event()

    def write(database: sqlite3.Connection) -> None:
        database.execute("begin immediate")
        database.execute("insert into t values (1)")
        open_transaction.set()
        finish.wait(TIMEOUT)
        database.execute("commit")

    def count(database: sqlite3.Connection) -> int:
        return int(database.execute("select count(*) from t").fetchone()[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connections.write, write)
        await trio.to_thread.run_sync(open_transaction.wait, TIMEOUT)
        with trio.fail_after(TIMEOUT):
            assert await connections.read(count) == 0
        finish.set()
    assert await connections.read(count) == 1
    await connections.aclose()


async def test_readers_are_limited_and_a_cancelled_caller_gives_its_reader_back(path: Path) -> None:
    connections = Connections(connect(str(path)), [connect(str(path), read_only=True) for _ in range(READERS)])
    finish = threading.Event()
    running: list[sqlite3.Connection] = []

    def query(database: sqlite3.Connection) -> None:
        running.append(database)
        finish.wait(TIMEOUT)

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            for _ in range(READERS + 3):
                nursery.start_soon(connections.read, query)
            await wait_all_tasks_blocked()
            while len(running) < READERS:
                await trio.to_thread.run_sync(os.sched_yield)
            assert len(set(running)) == READERS
            nursery.cancel_scope.cancel()
            await trio.lowlevel.cancel_shielded_checkpoint()
            finish.set()
    assert len(running) == READERS, "those that still waited for a reader have not begun"
    running.clear()
    for _ in range(READERS + 1):
        await connections.read(query)
    await connections.aclose()


async def test_closing_waits_for_reads_and_refuses_new_ones(path: Path) -> None:
    connections = Connections(connect(str(path)), [connect(str(path), read_only=True)])
    began, finish = threading.Event(), threading.Event()
    found: list[int] = []

    def query(database: sqlite3.Connection) -> None:
        began.set()
        finish.wait(TIMEOUT)
        found.append(database.execute("select 1").fetchone()[0])

    async def read_too_late() -> None:
        with pytest.raises(Unavailable, match="closed"):
            await connections.read(query)

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connections.read, query)
            await trio.to_thread.run_sync(began.wait, TIMEOUT)
            nursery.start_soon(read_too_late)  # waits for the only reader
            await wait_all_tasks_blocked()
            nursery.start_soon(connections.aclose)
            await wait_all_tasks_blocked()
            await read_too_late()
            finish.set()
    assert found == [1]
    with pytest.raises(Unavailable, match="closed"):
        await connections.write(query)


async def test_ids_that_are_reserved_at_the_same_time_are_different(file_url: str) -> None:
    async with open_store(file_url) as store:
        given: list[range] = []

        async def reserve(count: int) -> None:
            given.append(await store.reserve(Conversation, count))

        async with trio.open_nursery() as nursery:
            for count in range(1, 11):
                nursery.start_soon(reserve, count)
        assert sorted(id for ids in given for id in ids) == list(range(1, 56))


def test_a_unit_without_rows_finds_out_whether_the_file_can_be_written(connection: sqlite3.Connection) -> None:
    apply_migrations(connection)
    assert sqlite_writer.commit(connection, [Unit(1)]) == {}
    connection.execute("pragma query_only = on")
    with pytest.raises(Unavailable):
        sqlite_writer.commit(connection, [Unit(1)])


async def test_a_write_that_sqlite_cannot_do_is_unavailable_and_rolled_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connections, "BUSY_MILLISECONDS", 1)
    writer = connect(str(path), patient=False)
    apply_migrations(writer)
    connections = Connections(writer, [connect(str(path), read_only=True)])
    store = SqliteStore(connections)
    await fill(store)
    other = connect(str(path))
    other.execute("begin immediate")
    unit = log_unit(0, message(1))
    with pytest.raises(Unavailable, match="cannot be written: database is locked"):
        await store.commit([unit])
    other.execute("rollback")
    other.close()
    assert await contents(store) == []
    await commit_all(store, unit)
    assert await contents(store) == ["hello"]
    await connections.aclose()


# One server, and files that are none


async def test_a_second_opener_is_told_who_has_the_database(file_url: str, path: Path) -> None:
    async with open_store(file_url):
        with pytest.raises(DatabaseInUse) as caught:
            async with open_store(file_url):
                pass
    assert caught.value.detail == (
        f"The database {path} is open in another server (process {os.getpid()}); stop it, or name another database."
    )
    async with open_store(file_url) as store:
        await store.ping()


async def complaint(url: str) -> str:
    with pytest.raises(TertuliaError) as caught:
        async with open_store(url):
            pass
    assert "\n" not in caught.value.detail
    return caught.value.detail


async def test_a_missing_folder_is_one_clear_sentence(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'missing' / 'chat.db'}"
    assert "the folder" in await complaint(url)
    assert "does not exist" in await complaint(url)


async def test_a_folder_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    """A file in the folder's place: it stops even a superuser, whom permissions do not."""
    write_letter(tmp_path / "file")
    assert "cannot be written" in await complaint(f"sqlite:///{tmp_path / 'file' / 'chat.db'}")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not stop a superuser")
async def test_a_folder_without_permission_is_one_clear_sentence(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o500)
    assert "Permission denied" in await complaint(f"sqlite:///{tmp_path / 'chat.db'}")


async def test_a_folder_in_place_of_a_file_is_one_clear_sentence(tmp_path: Path) -> None:
    assert "it is a folder" in await complaint(f"sqlite:///{tmp_path}")


async def test_a_file_that_is_no_database_is_one_clear_sentence_and_stays_as_it_is(path: Path, file_url: str) -> None:
    write_letter(path)
    assert "file is not a database" in await complaint(file_url)
    assert content_of(path) == LETTER.encode()


async def test_another_program_s_database_is_left_alone(connection: sqlite3.Connection, file_url: str) -> None:
    connection.execute("create table recipes (x)")
    assert "another program" in await complaint(file_url)
    assert connection.execute("select name from sqlite_master").fetchall() == [("recipes",)]


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///", "sqlite:///:memory:", "chat.db", "oracle://x", "memory"]
)
async def test_a_url_that_names_no_store_is_one_clear_sentence(url: str) -> None:
    with pytest.raises(BadDatabaseUrl, match="names no store; use sqlite:///"):
        async with open_store(url):
            pass


async def test_a_store_that_could_not_be_opened_can_be_opened_once_it_is_mended(path: Path, file_url: str) -> None:
    write_letter(path)
    await complaint(file_url)
    os.unlink(path)
    async with open_store(file_url) as store:
        await store.ping()


async def test_many_records_are_written_in_one_unit(file_url: str) -> None:
    async with open_store(file_url) as store:
        await fill(store)
        await commit_all(store, inserting(*(conversation(id) for id in range(100, 5100))))
        assert await store.reserve(Conversation) == range(5100, 5101)


async def test_a_read_leaves_no_snapshot_open_that_would_keep_the_log_from_being_copied(
    file_url: str, path: Path
) -> None:
    async with open_store(file_url) as store:
        await fill(store)
        await store.account(1)
        await store.meta("epoch")
        await store.conversations(1, ConversationFilter())
        await store.log(1, 1, after=0, limit=10)
        await commit_all(store, inserting(conversation(900)))
        with closing(sqlite3.connect(path)) as other:
            busy, *_ = other.execute("pragma wal_checkpoint(truncate)").fetchone()
    assert busy == 0


async def test_a_look_up_by_key_is_done_in_place_and_waits_in_a_thread_only_for_a_lock(
    path: Path, file_url: str
) -> None:
    async with open_store(file_url) as store:
        await fill(store)
        threads_before = threading.active_count()
        for _ in range(50):
            assert await store.contact(OURS, 1) is not None
        assert threading.active_count() == threads_before
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("begin immediate")  # a write transaction of another program does not disturb it
            assert await store.contact(OURS, 1) is not None
            other.execute("rollback")
