"""Nodes that write to one PostgreSQL database: each is a connection and its writer, as a server has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import trio

from tertulia.storage.bridge import Bridge
from tertulia.storage.migrations.apply_postgres import apply_migrations
from tertulia.storage.postgres_writer import Writer
from tertulia.storage.writes import Unit

from .proxy import Proxy
from .sample import fill

PATIENCE = 10  # seconds: something is broken that does not come


class Database:
    """The database at `emptied_postgres_url` with the schema, and what a test asks it directly."""

    def __init__(self, bridge: Bridge, url: str) -> None:
        self.bridge = bridge
        self.url = url
        self._observer: asyncpg.Connection | None = None

    async def fetch(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        assert self._observer is not None
        return [tuple(row) for row in await self.bridge.call(self._observer.fetch, query, *values)]

    async def value(self, query: str, *values: Any) -> Any:
        return (await self.fetch(query, *values))[0][0]

    async def until(self, query: str) -> None:
        """Wait until a query answers true."""
        with trio.fail_after(PATIENCE):
            while not await self.value(query):  # noqa: ASYNC110 - a server tells nobody
                await trio.sleep(0.005)

    async def until_waiting(self, count: int) -> None:
        """Wait until so many backends of this database wait for a lock."""
        await self.until(
            f"select count(*) = {count} from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )

    async def lay_out(self) -> None:
        """The schema, and the two accounts of `sample`."""
        async with self.connected() as connection:
            await self.bridge.call(apply_migrations, connection)
            await fill(_Committer(self.bridge, connection))

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[asyncpg.Connection]:
        connection: asyncpg.Connection = await self.bridge.call(_connect, self.url, PATIENCE)
        try:
            yield connection
        finally:
            await self.bridge.call(_terminate, connection)

    @asynccontextmanager
    async def observed(self) -> AsyncGenerator[Database]:
        async with self.connected() as self._observer:
            yield self

    @asynccontextmanager
    async def locked(self, query: str) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
        """Somebody else has a transaction open that ran `query`; what is yielded ends it."""
        async with self.connected() as connection:
            await self.bridge.call(connection.execute, f"begin; {query}")

            async def release() -> None:
                await self.bridge.call(connection.execute, "commit")

            yield release

    @asynccontextmanager
    async def node(
        self, proxy: Proxy | None = None, *, writer: Writer | None = None, command_timeout: float = PATIENCE
    ) -> AsyncGenerator[Node]:
        node = Node(self, proxy, writer or Writer(), command_timeout)
        await node.connect()
        try:
            yield node
        finally:
            await node.disconnect()


@dataclass(frozen=True, slots=True)
class _Committer:
    bridge: Bridge
    connection: asyncpg.Connection

    async def commit(self, units: Sequence[Unit]) -> dict[int, Exception]:
        return await self.bridge.call(Writer().commit, self.connection, units)


class Node:
    """A writer, and the connection that it has now."""

    def __init__(self, database: Database, proxy: Proxy | None, writer: Writer, command_timeout: float) -> None:
        self._database = database
        self._command_timeout = command_timeout
        self._url = database.url if proxy is None else through(proxy, database.url)
        self._connection: asyncpg.Connection | None = None
        self.writer = writer

    async def connect(self) -> None:
        self._connection = await self._database.bridge.call(_connect, self._url, self._command_timeout)

    async def connect_again(self) -> None:
        """As soon as the server answers."""
        while True:
            try:
                return await self.connect()
            except (asyncpg.PostgresError, OSError):
                await trio.sleep(0.05)

    async def disconnect(self) -> None:
        if self._connection is not None:
            await self._database.bridge.call(_terminate, self._connection)

    @property
    def pid(self) -> int:
        assert self._connection is not None
        return self._connection.get_server_pid()

    async def commit(self, *units: Unit) -> dict[int, Exception]:
        assert self._connection is not None
        with trio.fail_after(PATIENCE):
            return await self._database.bridge.call(self.writer.commit, self._connection, units)

    async def refusals(self, *units: Unit) -> dict[int, str]:
        return {index: type(error).__name__ for index, error in (await self.commit(*units)).items()}

    async def execute(self, query: str) -> None:
        assert self._connection is not None
        await self._database.bridge.call(self._connection.execute, query)


def answers(refused: dict[int, Exception]) -> Sequence[tuple[int, str, str]]:
    """An answer in a form that can be compared."""
    return sorted((index, type(error).__name__, str(error)) for index, error in refused.items())


async def _connect(url: str, command_timeout: float) -> asyncpg.Connection:
    return await asyncpg.connect(url, command_timeout=command_timeout)


async def _terminate(connection: asyncpg.Connection) -> None:
    connection.terminate()


def through(proxy: Proxy, url: str) -> str:
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{proxy.port}", query=""))
