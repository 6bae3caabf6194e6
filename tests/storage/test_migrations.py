"""Numbered files, each applied once, whoever starts at the same time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tertulia.storage import sqlite_jobs, sqlite_webhooks, sqlite_writer
from tertulia.storage import sqlite_reads as reads
from tertulia.storage.migrations.apply import (
    FILES,
    ForeignDatabase,
    NewerSchema,
    apply_migrations,
    numbered_files,
    version_of,
)
from tertulia.storage.records import TABLES, AccountEventRow, EventRow, MessageRow
from tertulia.storage.rows import columns_of, values_of
from tertulia.storage.sqlite_connections import connect
from tertulia.storage.writes import Enqueue

from .job_sample import job
from .sample import OURS, T, account_records, log_unit, message

FIRST = "create table meta (key text primary key, value text);\ncreate table a (x);\n"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect(str(tmp_path / "chat.db"))
    yield connection
    connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one migration."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_first.sql").write_text(FIRST)
    return folder


def tables(database: sqlite3.Connection) -> set[str]:
    return {row[0] for row in database.execute("select name from sqlite_master where type = 'table'")}


def test_the_schema_has_every_record_s_columns_in_any_order_and_the_log_s_in_theirs(
    database: sqlite3.Connection,
) -> None:
    apply_migrations(database)

    def columns(table: str) -> tuple[str, ...]:
        return tuple(row[1] for row in database.execute(f"pragma table_info({table})"))

    for kind, (table, _) in TABLES.items():
        assert set(columns_of(kind)) == set(columns(table)), table
    assert columns("messages") == MessageRow.__struct_fields__
    assert columns("events") == EventRow.__struct_fields__
    assert columns("account_events") == AccountEventRow.__struct_fields__


def test_every_table_of_the_domain_has_an_account(database: sqlite3.Connection) -> None:
    apply_migrations(database)
    without = {"meta", "accounts", "users", "job_queues", "sqlite_sequence"}
    for table in tables(database) - without:
        assert "account_id" in [row[1] for row in database.execute(f"pragma table_info({table})")], table


def test_the_files_are_numbered_from_1_without_a_gap() -> None:
    assert [number for number, _ in numbered_files()] == list(range(1, len(numbered_files()) + 1))


def test_a_migration_is_applied_once(database: sqlite3.Connection, folder: Path) -> None:
    assert apply_migrations(database, folder) == 1
    epoch = database.execute("select value from meta where key = 'epoch'").fetchone()
    assert apply_migrations(database, folder) == 1
    assert database.execute("select value from meta where key = 'epoch'").fetchone() == epoch


def test_a_database_gets_the_migrations_that_it_lacks_in_order(database: sqlite3.Connection, folder: Path) -> None:
    apply_migrations(database, folder)
    (folder / "0003_third.sql").write_text("alter table b rename to c;")
    (folder / "0002_second.sql").write_text("-- a comment; with a semicolon\ncreate table b (\n  x -- why\n);\n")
    assert apply_migrations(database, folder) == 3
    assert {"a", "c"} <= tables(database)


def test_a_database_of_an_older_schema_keeps_its_rows_and_takes_new_ones(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    (tmp_path / "0001_initial.sql").write_text((FILES / "0001_initial.sql").read_text())
    apply_migrations(database, tmp_path)
    records = account_records(OURS)
    for record in records:
        table, _ = TABLES[type(record)]
        had = [row[1] for row in database.execute(f"pragma table_info({table})")]
        row = dict(zip(columns_of(type(record)), values_of(record), strict=True))
        values = [row[name] for name in had]
        database.execute(f"insert into {table} ({','.join(had)}) values ({','.join('?' * len(had))})", values)
    places = ",".join("?" * len(MessageRow.__struct_fields__))
    database.execute(f"insert into messages values ({places})", msgspec.structs.astuple(message(1, "hi")))
    assert apply_migrations(database) == len(numbered_files())
    for kind in {type(record) for record in records}:
        assert reads.select(database, kind, "true", ()) == [record for record in records if type(record) is kind]
    assert [row.content for row in reads.messages(database, OURS, 1, None, None, True, 9)] == ["hi"]
    waits = log_unit(0, message(2), waiting_since=T)
    waits.writes = [Enqueue(job("a"))]
    assert sqlite_writer.commit(database, [waits]) == {}
    assert sqlite_webhooks.waiting_conversations(database, OURS, T, (0, 0), 9) == [(T, 1)]
    assert sqlite_jobs.job(database, OURS, "a") == job("a")


def test_a_migration_that_fails_leaves_nothing_of_itself(database: sqlite3.Connection, folder: Path) -> None:
    apply_migrations(database, folder)
    (folder / "0002_second.sql").write_text("create table b (x);\nnonsense;\n")
    with pytest.raises(sqlite3.OperationalError, match="nonsense"):
        apply_migrations(database, folder)
    assert version_of(database) == 1
    assert "b" not in tables(database)
    (folder / "0002_second.sql").write_text("create table b (x)")
    assert apply_migrations(database, folder) == 2, "and a last statement needs no semicolon"
    assert "b" in tables(database)


def test_a_newer_database_is_left_alone(database: sqlite3.Connection) -> None:
    apply_migrations(database)
    database.execute("pragma user_version = 99")
    newest = len(numbered_files())
    with pytest.raises(NewerSchema, match=f"schema 99, this program knows {newest}; upgrade the program"):
        apply_migrations(database)


def test_another_program_s_tables_are_left_alone(database: sqlite3.Connection) -> None:
    database.execute("create table recipes (x)")
    with pytest.raises(ForeignDatabase):
        apply_migrations(database)
    assert tables(database) == {"recipes"}
    assert not database.in_transaction


def test_programs_that_start_together_apply_each_migration_once(tmp_path: Path) -> None:
    together = 4
    connections = [connect(str(tmp_path / "chat.db")) for _ in range(together)]
    barrier = threading.Barrier(together)
    versions: list[int] = []
    errors: list[Exception] = []

    def start(connection: sqlite3.Connection) -> None:
        try:
            barrier.wait(10)
            versions.append(apply_migrations(connection))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    epochs = {
        connection.execute("select value from meta where key = 'epoch'").fetchone()[0] for connection in connections
    }
    for connection in connections:
        connection.close()
    assert errors == []
    assert versions == [len(numbered_files())] * together
    assert len(epochs) == 1
