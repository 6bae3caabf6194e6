"""The SQLite store: its connections, its lock, its migrations. In: `contracts.Reads` calls and `group_commit` batches.

WAL and `synchronous=FULL`: a commit is on the disk when it returns, and readers never wait behind it, because each sees the
state that was committed when its read began. All of SQLite's work happens in worker threads; the event loop only hands
batches over. A lock file beside the database keeps a second server out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from ..engine.errors import Unavailable
from . import sqlite_reads as reads
from . import sqlite_writer
from .contracts import AccountRecords, ConversationFilter, ConversationRecords
from .file_lock import FileLock
from .migrations.apply import apply_migrations
from .records import (
    AccountEventRow,
    AccountUser,
    Contact,
    Conversation,
    Inbox,
    LogRow,
    MessageRow,
    Record,
    Token,
    User,
)
from .writes import Unit

T = TypeVar("T")

READERS = 4
CACHED_STATEMENTS = 256
#: Pages of the write-ahead log (4 KiB each) before it is copied into the database: 16 MiB, so that a busy server does so
#: a few times a second at most.
CHECKPOINT_PAGES = 4096


def connect(database: str, *, read_only: bool = False) -> sqlite3.Connection:
    """Open one connection with the settings that the store relies on."""
    connection = sqlite3.connect(
        database,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma busy_timeout = 5000")
    connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
    if read_only:
        connection.execute("pragma query_only = on")
    return connection


class SqliteStore:
    """One database file, opened by one server. Made by `open_sqlite`."""

    def __init__(
        self, writer: sqlite3.Connection, readers: Sequence[sqlite3.Connection], *, threads: bool = True
    ) -> None:
        self._writer = writer
        self._idle_readers = list(readers)
        self._limiter = trio.CapacityLimiter(len(readers))
        self._writer_limiter = trio.CapacityLimiter(1)
        self._threads = threads
        self._next_ids: dict[type[Record], int] = {}

    # The writer's side of `group_commit`.

    async def commit(self, units: Sequence[Unit]) -> dict[int, Exception]:
        """See `group_commit.Committer`."""
        if not self._threads:
            return sqlite_writer.commit(self._writer, units)
        return await trio.to_thread.run_sync(sqlite_writer.commit, self._writer, units, limiter=self._writer_limiter)

    async def _read(self, query: Callable[..., T], *arguments: object) -> T:
        try:
            if not self._threads:
                return query(self._idle_readers[0], *arguments)
            async with self._limiter:
                reader = self._idle_readers.pop()
                try:
                    return await trio.to_thread.run_sync(partial(query, reader, *arguments))
                finally:
                    self._idle_readers.append(reader)
        except sqlite3.Error as error:
            raise Unavailable(f"The database cannot be read: {error}.") from error

    # Reads; see `contracts.Reads`.

    async def epoch(self) -> str:
        return await self._read(reads.epoch)

    async def reserve(self, kind: type[Record], count: int = 1) -> range:
        first = self._next_ids.get(kind)
        if first is None:
            highest = await self._read(reads.highest_id, kind)
            first = self._next_ids.get(kind, highest + 1)
        self._next_ids[kind] = first + count
        return range(first, first + count)

    async def account(self, account_id: int) -> AccountRecords | None:
        return await self._read(reads.account, account_id)

    async def user(self, user_id: int) -> User | None:
        return await self._read(reads.user, user_id)

    async def user_by_email(self, email: str) -> User | None:
        return await self._read(reads.user_by_email, email)

    async def memberships(self, user_id: int) -> Sequence[AccountUser]:
        return await self._read(reads.memberships, user_id)

    async def token(self, digest: str) -> Token | None:
        return await self._read(reads.token, digest)

    async def tokens_of(self, *, user_id: int | None = None, contact_id: int | None = None) -> Sequence[Token]:
        return await self._read(reads.tokens_of, user_id, contact_id)

    async def inbox_by_identifier(self, identifier: str) -> Inbox | None:
        return await self._read(reads.inbox_by_identifier, identifier)

    async def contact(self, account_id: int, contact_id: int) -> Contact | None:
        return await self._read(reads.contact, account_id, contact_id)

    async def contact_by_identifier(self, account_id: int, identifier: str) -> Contact | None:
        return await self._read(reads.contact_by_identifier, account_id, identifier)

    async def contacts(
        self, account_id: int, *, query: str | None = None, after: int = 0, limit: int = 25
    ) -> Sequence[Contact]:
        return await self._read(reads.contacts, account_id, query, after, limit)

    async def conversation(self, account_id: int, conversation_id: int) -> ConversationRecords | None:
        return await self._read(reads.conversation, account_id, conversation_id)

    async def conversations(
        self, account_id: int, which: ConversationFilter, *, before: tuple[int, int] | None = None, limit: int = 25
    ) -> Sequence[Conversation]:
        return await self._read(reads.conversations, account_id, which, before, limit)

    async def messages(
        self,
        account_id: int,
        conversation_id: int,
        *,
        after: int | None = None,
        before: int | None = None,
        include_private: bool = True,
        limit: int = 50,
    ) -> Sequence[MessageRow]:
        return await self._read(reads.messages, account_id, conversation_id, after, before, include_private, limit)

    async def message(self, account_id: int, conversation_id: int, seq: int) -> MessageRow | None:
        return await self._read(reads.message, account_id, conversation_id, seq)

    async def sent(self, account_id: int, conversation_id: int, client_ids: Collection[str]) -> Sequence[MessageRow]:
        return await self._read(reads.sent, account_id, conversation_id, client_ids)

    async def log(self, account_id: int, conversation_id: int, *, after: int, limit: int) -> Sequence[LogRow]:
        return await self._read(reads.log, account_id, conversation_id, after, limit)

    async def last_seq_before(self, account_id: int, conversation_id: int, since: int) -> int:
        return await self._read(reads.last_seq_before, account_id, conversation_id, since)

    async def changed(
        self, account_id: int, inbox_ids: Collection[int] | None, *, since: int, limit: int
    ) -> Sequence[Conversation]:
        return await self._read(reads.changed, account_id, inbox_ids, since, limit)

    async def account_log(
        self, account_id: int, *, after: int | None = None, since: int | None = None, limit: int = 1000
    ) -> Sequence[AccountEventRow]:
        return await self._read(reads.account_log, account_id, after, since, limit)


@asynccontextmanager
async def open_sqlite(path: str) -> AsyncIterator[SqliteStore]:
    """Open a database file, made and migrated where necessary, for this server alone.

    Raises:
        DatabaseInUse: another server has the file open.
        NewerSchema: a newer program wrote the file.
        Unavailable: the file cannot be opened.
    """
    lock = FileLock(Path(f"{path}-lock"))
    lock.acquire(path)
    connections: list[sqlite3.Connection] = []
    try:
        try:
            connections.append(connect(path))
            await trio.to_thread.run_sync(apply_migrations, connections[0])
            connections.extend(connect(path, read_only=True) for _ in range(READERS))
        except sqlite3.Error as error:
            raise Unavailable(f"The database {path} cannot be opened: {error}.") from error
        yield SqliteStore(connections[0], connections[1:])
    finally:
        for connection in reversed(connections):
            connection.close()
        lock.release()


@asynccontextmanager
async def open_memory() -> AsyncIterator[SqliteStore]:
    """The same store without a file and without threads: for tests, whose clock must not run ahead of a thread."""
    database = connect(":memory:")
    try:
        apply_migrations(database)
        yield SqliteStore(database, [database], threads=False)
    finally:
        database.close()
