"""What PostgreSQL adds to the store's promises: nodes that start together, servers that go and come, plain errors."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import trio

from tertulia.engine.errors import Invalid, TertuliaError, Unavailable
from tertulia.storage.bridge import open_bridge
from tertulia.storage.contracts import Store
from tertulia.storage.database_url import BadDatabaseUrl
from tertulia.storage.migrations.apply import ForeignDatabase, NewerSchema, numbered_files
from tertulia.storage.migrations.apply_postgres import POSTGRES_FILES, apply_migrations
from tertulia.storage.open import open_store
from tertulia.storage.postgres import open_postgres
from tertulia.storage.postgres_connections import APPLICATION
from tertulia.storage.postgres_limits import PostgresLimits
from tertulia.storage.records import TABLES, AccountEventRow, Contact, Conversation, EventRow, MessageRow
from tertulia.storage.rows import columns_of

from ..servers import PASSWORD, PostgresServer, execute
from .postgres_nodes import Database
from .sample import OURS, commit_all, fill, inserting, log_unit, message

#: For tests that wait for the end of someone's patience.
IMPATIENT = PostgresLimits(
    connect_timeout=0.5, acquire_timeout=0.5, statement_timeout=0.3, answer_timeout=0.5, closing_timeout=0.2
)

NEWEST = numbered_files(POSTGRES_FILES)[-1][0]  # of the migrations


async def sql(url: str, statement: str) -> str:
    return await trio.to_thread.run_sync(execute, url, statement)


# Starting


async def test_two_nodes_that_start_together_on_an_empty_database_make_it_once(postgres_url: str) -> None:
    epochs: list[str] = []
    together = trio.Event()

    async def node() -> None:
        async with open_store(postgres_url) as store:
            epochs.append(await store.epoch())
            if len(epochs) == 3:
                together.set()
            await together.wait()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(node)
    assert len(set(epochs)) == 1
    assert await sql(postgres_url, "select version from tertulia_schema") == f"{NEWEST}\n"


async def test_a_store_that_is_opened_again_has_its_epoch_and_its_records(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        await fill(store)
        epoch = await store.epoch()
    async with open_store(postgres_url) as store:
        assert await store.epoch() == epoch
        assert await store.user(1) is not None


async def test_a_newer_schema_is_refused_and_left_as_it_is(postgres_url: str) -> None:
    async with open_store(postgres_url):
        pass
    await sql(postgres_url, "update tertulia_schema set version = 99")
    with pytest.raises(NewerSchema, match="has schema 99, this program knows"):
        async with open_store(postgres_url):
            pass
    assert await sql(postgres_url, "select version from tertulia_schema") == "99\n"


async def test_another_program_s_database_is_refused_and_left_as_it_is(postgres_url: str) -> None:
    await sql(postgres_url, "create table theirs (x int)")
    with pytest.raises(ForeignDatabase):
        async with open_store(postgres_url):
            pass
    assert await sql(postgres_url, "select tablename from pg_tables where schemaname = 'public'") == "theirs\n"


async def test_a_migration_that_fails_leaves_nothing_of_itself(postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / f"{NEWEST + 1:04}_broken.sql").write_text("create table half (x int); create table half (x int);")
    async with open_postgres(postgres_url) as store:
        with pytest.raises(Unavailable, match="already exists"):
            await store.connections.write(apply_migrations, tmp_path)
    assert (
        await sql(postgres_url, "select version, to_regclass('half') is null from tertulia_schema") == f"{NEWEST}\tt\n"
    )


async def test_a_next_migration_is_applied_once(postgres_url: str, tmp_path: Path) -> None:
    async with open_postgres(postgres_url) as store:
        epoch = await store.epoch()
        (tmp_path / f"{NEWEST + 1:04}_next.sql").write_text("create table next (x int);")
        assert await store.connections.write(apply_migrations, tmp_path) == NEWEST + 1
        assert await store.connections.write(apply_migrations, tmp_path) == NEWEST + 1
        assert await store.epoch() == epoch


async def test_a_database_of_an_older_version_keeps_its_rows_and_gets_the_new_columns(
    postgres_url: str, tmp_path: Path
) -> None:
    (_, initial), *_ = numbered_files(POSTGRES_FILES)
    (tmp_path / initial.name).write_text(initial.read_text())
    async with open_bridge() as bridge, Database(bridge, postgres_url).connected() as connection:
        assert await bridge.call(apply_migrations, connection, tmp_path) == 1
    tables = ("accounts (id, name, created_at)", "inboxes (id, account_id, name, identifier, created_at, updated_at)")
    await sql(postgres_url, f"insert into {tables[0]} values (1, 'Ours', 0)")
    await sql(postgres_url, f"insert into {tables[1]} values (1, 1, 'Web', 'web', 0, 0)")
    await sql(
        postgres_url, "insert into contacts (id, account_id, name, created_at, updated_at) values (1, 1, '', 0, 0)"
    )
    await sql(
        postgres_url,
        "insert into conversations (id, account_id, inbox_id, contact_id, display_id, last_activity_at, created_at,"
        " updated_at) values (1, 1, 1, 1, 1, 0, 0, 0)",
    )
    async with open_store(postgres_url) as store:
        found = await store.conversation(OURS, 1)
        assert found is not None
        assert (found.conversation.waiting_since, found.conversation.reminded_at) == (None, None)


async def test_the_schema_has_every_record_s_columns_and_the_log_s_in_their_order(emptied_postgres_url: str) -> None:
    async with open_store(emptied_postgres_url):
        rows = await sql(
            emptied_postgres_url,
            "select table_name, column_name from information_schema.columns where table_schema = 'public'"
            " order by table_name, ordinal_position",
        )
    columns: dict[str, list[str]] = {}
    for row in rows.splitlines():
        table, column = row.split("\t")
        columns.setdefault(table, []).append(column)
    for kind, (table, _) in TABLES.items():
        assert set(columns_of(kind)) == set(columns[table]), table
    for row_kind, table in ((MessageRow, "messages"), (EventRow, "events"), (AccountEventRow, "account_events")):
        assert row_kind.__struct_fields__ == tuple(columns[table])


def test_both_kinds_of_database_have_migrations_with_the_same_numbers() -> None:
    assert [path.name for _, path in numbered_files(POSTGRES_FILES)] == [path.name for _, path in numbered_files()]


# What bad input gets


def renamed(url: str, old: str, new: str) -> str:
    assert old in url
    return url.replace(old, new)


async def why_not_opened(url: str) -> TertuliaError:
    with pytest.raises(TertuliaError) as caught, trio.fail_after(10):
        async with open_store(url, IMPATIENT):
            pass
    assert "\n" not in caught.value.detail
    return caught.value


async def test_a_wrong_password_is_told_without_it(postgres_server: PostgresServer) -> None:
    error = await why_not_opened(renamed(postgres_server.url, f":{PASSWORD}@", ":Wr0ng-secret@"))
    assert isinstance(error, BadDatabaseUrl)
    assert "password authentication failed" in error.detail
    assert "Wr0ng" not in error.detail


async def test_a_database_that_does_not_exist_is_named(postgres_url: str) -> None:
    error = await why_not_opened(postgres_url.rpartition("/")[0] + "/nowhere")
    assert isinstance(error, BadDatabaseUrl)
    assert 'database "nowhere" does not exist' in error.detail


async def test_a_server_that_is_not_there_is_named() -> None:
    error = await why_not_opened("postgresql://me:secret@127.0.0.1:1/chat")
    assert isinstance(error, Unavailable)
    assert "PostgreSQL at 127.0.0.1:1/chat cannot be reached" in error.detail


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@host:port/chat",
        "postgresql://me:1/s3cret@127.0.0.1/chat",
        "postgresql://me:1#s3cret@127.0.0.1/chat",
        "postgresql://me:1?s3cret@127.0.0.1/chat",
        "postgresql://me@[::1/chat?password=s3cret",
        "postgresql://me:s3cret@127.0.0.1:1/chat?sslmode=perhaps",
        "postgres:/me:s3cret@127.0.0.1/chat",
        "postgre://me:s3cret@127.0.0.1/chat",
        "mysql://me@127.0.0.1/chat?password=s3cret",
    ],
)
async def test_a_url_that_cannot_be_used_is_told_without_the_password(url: str) -> None:
    error = await why_not_opened(url)
    assert isinstance(error, BadDatabaseUrl)
    assert "s3cret" not in error.detail
    cause: BaseException | None = error
    while cause is not None:  # what a log with a traceback would show
        assert "s3cret" not in str(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


async def test_an_option_that_the_server_does_not_know_is_named(postgres_url: str) -> None:
    error = await why_not_opened(f"{postgres_url}?no_such_option=1")
    assert isinstance(error, BadDatabaseUrl)
    assert "no_such_option" in error.detail


@pytest.mark.parametrize("name", [item.name for item in fields(PostgresLimits)])
def test_a_limit_that_is_not_greater_than_zero_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be greater than zero"):
        PostgresLimits(**{name: 0})


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="min_backoff must not be greater"):
        PostgresLimits(min_backoff=2, max_backoff=1)
    with pytest.raises(ValueError, match="answer_timeout must be greater"):
        PostgresLimits(answer_timeout=1, statement_timeout=1)


# Text, ids, sessions


async def test_a_nul_character_in_a_question_is_refused(emptied_postgres_url: str) -> None:
    async with open_store(emptied_postgres_url) as store:
        with pytest.raises(Invalid):
            await store.contact_by_identifier(OURS, "a\0b")
        await store.ping()


async def test_nodes_that_reserve_at_the_same_time_get_different_ids(emptied_postgres_url: str) -> None:
    taken: list[int] = []

    async def reserve(store: Store) -> None:
        for count in (1, 3, 2, 5):
            ids = await store.reserve(Conversation, count)
            assert len(ids) == count
            taken.extend(ids)

    url = emptied_postgres_url
    async with open_store(url) as one, open_store(url) as two, trio.open_nursery() as nursery:
        for store in (one, two) * 6:
            nursery.start_soon(reserve, store)
    assert sorted(taken) == list(range(1, 12 * 11 + 1))


async def test_sessions_carry_the_program_s_name(emptied_postgres_url: str) -> None:
    async with open_store(emptied_postgres_url, IMPATIENT) as store:
        await fill(store)
        names = await sql(
            emptied_postgres_url,
            "select distinct application_name from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()",
        )
    assert names == f"{APPLICATION}\n"


# A server that goes and comes

#: `emptied_postgres_url` comes before `postgres_server`: it is emptied after the server was started again.


async def test_reads_and_writes_go_on_after_the_server_restarted(
    emptied_postgres_url: str, postgres_server: PostgresServer
) -> None:
    async with open_store(emptied_postgres_url) as store:
        await fill(store)
        async with trio.open_nursery() as nursery:  # so that several connections lose their server
            for _ in range(8):
                nursery.start_soon(store.account, OURS)
        await trio.to_thread.run_sync(postgres_server.kill)
        await trio.to_thread.run_sync(postgres_server.start)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(store.account, OURS)
            await commit_all(store, log_unit(0, message(1)))


async def test_a_read_waits_for_a_server_that_comes_back_in_time(
    emptied_postgres_url: str, postgres_server: PostgresServer
) -> None:
    async with open_store(emptied_postgres_url, PostgresLimits(acquire_timeout=20)) as store:
        await fill(store)
        await trio.to_thread.run_sync(postgres_server.kill)
        with trio.fail_after(25):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.account, OURS)
                await trio.sleep(0.1)
                await trio.to_thread.run_sync(postgres_server.start)


async def test_a_server_that_is_away_is_unavailable_within_the_time_and_answers_again_when_it_is_back(
    emptied_postgres_url: str, postgres_server: PostgresServer
) -> None:
    async with open_store(emptied_postgres_url, IMPATIENT) as store:
        await fill(store)
        await trio.to_thread.run_sync(postgres_server.kill)
        for _ in range(2):
            with trio.fail_after(3), pytest.raises(Unavailable) as caught:
                await store.contacts(OURS)
            assert f":{PASSWORD}" not in caught.value.detail
        await trio.to_thread.run_sync(postgres_server.start)
        with trio.fail_after(3):
            assert [found.id for found in await store.contacts(OURS)] == [1]


async def test_a_frozen_server_is_unavailable_within_the_time(
    emptied_postgres_url: str, postgres_server: PostgresServer
) -> None:
    async with open_store(emptied_postgres_url, IMPATIENT) as store:
        await fill(store)
        await trio.to_thread.run_sync(postgres_server.freeze)
        try:
            with trio.fail_after(5), pytest.raises(Unavailable):
                await store.account(OURS)
            with trio.move_on_after(0.1) as hurry, trio.fail_after(5):
                await store.conversation(OURS, 1)  # a caller whose patience is shorter
            assert hurry.cancelled_caught
            with trio.fail_after(5), pytest.raises(Unavailable):
                await store.commit([inserting(Contact(id=9, account_id=OURS, name="x", created_at=1, updated_at=1))])
        finally:
            await trio.to_thread.run_sync(postgres_server.thaw)
        with trio.fail_after(5):
            assert await store.conversation(OURS, 1) is not None


async def test_sessions_that_the_server_ended_are_replaced_unseen(emptied_postgres_url: str) -> None:
    async with open_store(emptied_postgres_url) as store:
        await fill(store)
        await sql(
            emptied_postgres_url,
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()",
        )
        assert await store.account(OURS) is not None
        assert await store.account(OURS) is not None


async def test_a_question_that_takes_too_long_is_unavailable_and_others_are_answered(postgres_url: str) -> None:
    async with open_store(postgres_url, IMPATIENT) as store:
        await fill(store)
        await sql(postgres_url, "alter table contacts rename to held")
        await sql(postgres_url, "create view contacts as select held.* from held, pg_sleep(30)")
        with trio.fail_after(5), pytest.raises(Unavailable, match="timeout"):
            await store.contact(OURS, 1)
        with trio.fail_after(5):
            assert await store.user(1) is not None


async def test_callers_that_give_up_leave_no_connection_behind(emptied_postgres_url: str) -> None:
    limits = PostgresLimits(connections=2)
    async with open_store(emptied_postgres_url, limits) as store:
        await fill(store)
        for _ in range(20):
            with trio.move_on_after(0.001):
                async with trio.open_nursery() as nursery:
                    for _ in range(5):
                        nursery.start_soon(store.account, OURS)
        with trio.fail_after(5):
            assert await store.account(OURS) is not None


async def test_a_closed_store_is_unavailable(emptied_postgres_url: str) -> None:
    async with open_store(emptied_postgres_url) as store:
        pass
    with pytest.raises(Unavailable):
        await store.ping()
    with pytest.raises(Unavailable):
        await store.commit([inserting()])
