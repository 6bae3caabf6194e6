"""The write-ahead log is copied beside the writer, begins anew when it is long, and never holds a commit up."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tertulia.storage import sqlite_checkpoints
from tertulia.storage.sqlite_checkpoints import Checkpoints, copy
from tertulia.storage.sqlite_connections import Connections, connect
from tertulia.storage.writer_thread import WriterThread

TIMEOUT = 10  # seconds of real time: a test that waits for threads must not hang
PAGE = 4096
LETTER = "a letter to my aunt "


class Blocked:
    """`copy`, which waits before it begins, for one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> int:
        if connection is self.connection:
            self.begun.set()
            assert self.go_on.wait(TIMEOUT)
        return copy(connection)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def writer(path: Path) -> sqlite3.Connection:
    writer = connect(str(path), patient=False)
    writer.execute("create table letters (contents)")
    return writer


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "ROWS", 3)


def write(database: sqlite3.Connection) -> None:
    database.execute("insert into letters values (?)", (LETTER * 100,))


def begin(database: sqlite3.Connection) -> int:
    database.execute("begin immediate")
    write(database)
    return threading.get_ident()


def finish(database: sqlite3.Connection) -> None:
    database.execute("commit")


def letters_in(path: Path) -> int:
    return path.read_bytes().count(LETTER.encode())


def pages_of_log(path: Path) -> float:
    return Path(f"{path}-wal").stat().st_size / PAGE


def files_beside(path: Path) -> list[str]:
    return sorted(file.name.removeprefix(path.name) for file in path.parent.iterdir())


async def until_copied(checkpoints: Checkpoints) -> None:
    with trio.fail_after(TIMEOUT):
        while checkpoints.under_way:
            await trio.to_thread.run_sync(os.sched_yield)


@asynccontextmanager
async def checkpoints_of(writer: sqlite3.Connection, path: Path) -> AsyncGenerator[Checkpoints]:
    thread, connection = WriterThread("writer"), connect(str(path))
    checkpoints = Checkpoints(connection, writer, thread)
    yield checkpoints
    await checkpoints.aclose()
    await thread.aclose()
    connection.close()
    writer.close()


def connections_of(writer: sqlite3.Connection, path: Path) -> Connections:
    return Connections(writer, [connect(str(path), read_only=True)], checkpoints=connect(str(path)))


async def test_what_was_committed_reaches_the_database_while_it_is_in_use(
    path: Path, writer: sqlite3.Connection
) -> None:
    async with checkpoints_of(writer, path) as checkpoints:
        for _ in range(3):
            assert letters_in(path) == 0
            write(writer)
            checkpoints.after_commit()
        await until_copied(checkpoints)
        assert letters_in(path) == 300


async def test_fewer_rows_than_are_worth_it_are_not_copied(path: Path, writer: sqlite3.Connection) -> None:
    async with checkpoints_of(writer, path) as checkpoints:
        for _ in range(2):
            write(writer)
            checkpoints.after_commit()
        assert not checkpoints.under_way


async def test_a_log_that_has_become_long_begins_anew(
    path: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "LONG", 20)
    async with checkpoints_of(writer, path) as checkpoints:
        for _ in range(100):
            for _ in range(3):
                write(writer)
            checkpoints.after_commit()
            await until_copied(checkpoints)
        assert writer.execute("select count(*) from letters").fetchone()[0] == 300
        assert pages_of_log(path) < 60, "300 commits are more pages than that"


async def test_commits_go_on_while_the_log_is_copied_and_a_long_one_is_copied_to_its_end(
    path: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "LONG", 1)
    async with checkpoints_of(writer, path) as checkpoints:
        blocked = Blocked(checkpoints.connection)
        monkeypatch.setattr(sqlite_checkpoints, "copy", blocked)
        for _ in range(3):
            write(writer)
        checkpoints.after_commit()
        assert await trio.to_thread.run_sync(blocked.begun.wait, TIMEOUT)
        for _ in range(9):
            write(writer)
            checkpoints.after_commit()
        blocked.go_on.set()
        await until_copied(checkpoints)
        # The next commit finds everything copied, and writes over the log's beginning.
        pages = pages_of_log(path)
        write(writer)
        assert pages_of_log(path) == pages


async def test_a_commit_in_place_waits_for_the_last_part_and_is_in_place_all_the_same(
    path: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "LONG", 1)
    blocked = Blocked(writer)
    monkeypatch.setattr(sqlite_checkpoints, "copy", blocked)
    connections = connections_of(writer, path)
    begun: list[int | None] = []

    async def commit() -> None:
        begun.append(await connections.write_in_halves(begin, finish))

    for _ in range(3):
        await commit()
    assert await trio.to_thread.run_sync(blocked.begun.wait, TIMEOUT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit)
        await wait_all_tasks_blocked()
        assert len(begun) == 3
        blocked.go_on.set()
    assert begun == [threading.get_ident()] * 4
    await connections.aclose()


async def test_a_copy_that_fails_is_told_and_tried_again_and_costs_no_commit(
    path: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: sqlite3.Connection) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite_checkpoints, "copy", fail)
    async with checkpoints_of(writer, path) as checkpoints:
        for times in (1, 2):
            for _ in range(3):
                write(writer)
            checkpoints.after_commit()
            await until_copied(checkpoints)
            assert caplog.text.count("could not be copied into the database: disk I/O error.") == times
        assert writer.execute("select count(*) from letters").fetchone()[0] == 6


async def test_closing_waits_for_a_copy_and_leaves_one_file(
    path: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "LONG", 1)
    connections = connections_of(writer, path)
    checkpoints = connections.checkpoints
    assert checkpoints is not None
    blocked = Blocked(checkpoints.connection)
    monkeypatch.setattr(sqlite_checkpoints, "copy", blocked)
    for _ in range(3):
        await connections.write_in_halves(begin, finish)
    assert await trio.to_thread.run_sync(blocked.begun.wait, TIMEOUT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connections.aclose)
        await wait_all_tasks_blocked()
        assert files_beside(path) == ["", "-shm", "-wal"]
        blocked.go_on.set()
    assert not checkpoints.under_way
    assert files_beside(path) == [""]
