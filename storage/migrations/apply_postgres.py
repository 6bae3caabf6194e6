"""The same for PostgreSQL: the numbered files of the folder `postgres`. In: a connection. Out: an up-to-date schema."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from .apply import FILES, ForeignDatabase, NewerSchema, fresh_epoch, numbered_files

POSTGRES_FILES = FILES / "postgres"

#: Whoever migrates holds this advisory lock: "tertulia" in ASCII.
_LOCK = int.from_bytes(b"tertulia", "big")

#: Tables that somebody made here; those of extensions are nobody's.
_ANY_TABLE = """
select exists (
    select from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'f')
       and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid
                          and deptype = 'e')
)
"""


async def apply_migrations(
    connection: asyncpg.Connection, folder: Path = POSTGRES_FILES, *, timeout: float = 600.0
) -> int:
    """Bring the schema up to date; returns its version.

    Two nodes that start together are safe: all of it is one transaction, which begins by taking a lock.

    Args:
        timeout: seconds for the lock, which another node may hold, and for each file.

    Raises:
        NewerSchema: a newer program has migrated the database.
        ForeignDatabase: these are another program's tables.
        asyncpg.PostgresError: the server does not do it.
    """
    async with connection.transaction():
        await connection.execute(f"set local statement_timeout = {round(timeout * 1000)}")
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK, timeout=timeout)
        version = await version_of(connection)
        if version == 0 and await connection.fetchval(_ANY_TABLE):
            raise ForeignDatabase
        files = numbered_files(folder)
        newest = files[-1][0]
        if version > newest:
            raise NewerSchema(f"The database has schema {version}, this program knows {newest}; upgrade the program.")
        for number, path in files:
            if number > version:
                await connection.execute(path.read_text(encoding="utf-8"), timeout=timeout)
        if newest > version:
            await connection.execute("delete from tertulia_schema")
            await connection.execute("insert into tertulia_schema values ($1)", newest)
        await connection.execute("insert into meta values ('epoch', $1) on conflict do nothing", fresh_epoch())
        return newest


async def version_of(connection: asyncpg.Connection) -> int:
    """The number of the last migration; 0 where there was none."""
    table = "to_regclass(quote_ident(current_schema()) || '.tertulia_schema')"
    if await connection.fetchval(f"select {table} is null"):
        return 0
    return int(await connection.fetchval("select version from tertulia_schema") or 0)
