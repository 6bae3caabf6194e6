"""The connections of one SQLite database: one that writes, a few that read. In: synchronous queries. Out: their
results.

WAL and `synchronous=FULL`: a commit is on the disk when it returns, and readers never wait behind it, because each
sees the state that was committed when its read began. One connection more copies the write-ahead log into the database
(`sqlite_checkpoints`).

What waits for the disk, or may wait for another program, happens in worker threads; a caller that is cancelled waits
for its thread, so no connection is ever used by two. What SQLite does in memory, and soon has done, is done in place: a
thread would have to get the interpreter back for each statement, and on a busy server takes longer to do that than to
run it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import trio

from ..engine.errors import Invalid, NotFound, Unavailable
from .sqlite_checkpoints import TOO_LONG, Checkpoints
from .writer_thread import WriterThread

T = TypeVar("T")

# For a type without an adapter, Python's module looks for one in three places, for each value: 0.3 us that a row with
# three nulls and a flag has to spare.
_NOTHING: dict[None, None] = {}
sqlite3.register_adapter(type(None), _NOTHING.get)
sqlite3.register_adapter(bool, int)

CACHED_STATEMENTS = 256
#: How long one attempt to write waits for another program to let go of the file. The writer tries again for longer; in
#: between, readers that have to know what is durable go on.
BUSY_MILLISECONDS = 1000
#: In place, a write that had to wait for so long (for pages that were not in memory, or for other threads) was one too
#: many: for a while, all of it happens in the thread.
WAITED_TOO_LONG, IN_THREAD_AFTER_THAT = 0.01, 1.0  # seconds


class FrugalConnection(sqlite3.Connection):
    """A connection that runs everything on one cursor.

    A cursor for each statement costs time, and leaves a weak reference behind: the connection keeps up to 200 of them,
    made at different times, and each holds a page of memory that could otherwise be given back after a busy hour. So a
    result must be read before the next statement is run, which is how every query here is written.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursor = self.cursor()

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return self._cursor.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        return self._cursor.executemany(sql, parameters)

    def close(self) -> None:
        self._cursor.close()  # with a result that was not read to its end, SQLite would keep the file open
        super().close()


def connect(database: str, *, read_only: bool = False, patient: bool = True) -> sqlite3.Connection:
    """Open one connection with the settings that the store relies on; one that is not patient never waits for a lock.

    Raises:
        sqlite3.Error: the file cannot be opened, or is no database.
    """
    connection = sqlite3.connect(
        database,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
        factory=FrugalConnection,
    )
    try:
        connection.execute(f"pragma busy_timeout = {BUSY_MILLISECONDS}")
        mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
        if mode not in ("wal", "memory"):
            raise sqlite3.OperationalError(f"its file system does not allow a write-ahead log (journal mode {mode})")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma foreign_keys = on")
        connection.execute("pragma secure_delete = on")  # what is erased does not stay behind in free pages
        connection.execute(f"pragma wal_autocheckpoint = {TOO_LONG}")
        if read_only:
            connection.execute("pragma query_only = on")
        if not patient:
            connection.execute("pragma busy_timeout = 0")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _told_plainly() -> Generator[None]:
    """Errors of SQLite as errors of the store."""
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(f"The database cannot be read: {error}.") from error
    except OverflowError:
        raise NotFound from None
    except UnicodeEncodeError:
        raise Invalid("A text in the request is not valid Unicode.") from None


def patiently(work: Callable[..., T], connection: sqlite3.Connection, *arguments: object) -> T:
    """Run the work with a connection that waits for locks meanwhile."""
    connection.execute(f"pragma busy_timeout = {BUSY_MILLISECONDS}")
    try:
        return work(connection, *arguments)
    finally:
        connection.execute("pragma busy_timeout = 0")


class Connections:
    """Runs reads on any idle reader and writes on the one writer. `threads=False` runs both in place (memory).

    Args:
        writer: not patient; in the thread it is made so.
        readers: patient ones, each for one thread at a time.
        near: not patient; used by the event loop itself, where there is one.
        checkpoints: copies the write-ahead log; without it, the writer does.
    """

    def __init__(
        self,
        writer: sqlite3.Connection,
        readers: Sequence[sqlite3.Connection],
        *,
        near: sqlite3.Connection | None = None,
        checkpoints: sqlite3.Connection | None = None,
        threads: bool = True,
    ) -> None:
        self._writer = writer
        self._near = near
        self._idle = list(readers)
        self._readers = trio.CapacityLimiter(len(readers))
        self._writer_thread = WriterThread("tertulia writer")
        self.checkpoints: Checkpoints | None = None
        if checkpoints is not None:
            self.checkpoints = Checkpoints(checkpoints, writer, self._writer_thread)
        self._all = dict.fromkeys((*readers, near, checkpoints, writer))  # in memory all are one
        self._threads = threads
        self._not_here_before = 0.0  # on the clock of `time.monotonic`
        self._closed = False

    async def read(self, query: Callable[..., T], *arguments: object) -> T:
        """Run `query(connection, *arguments)` on a reader.

        Raises:
            Unavailable: SQLite cannot read, or the store is closed.
            NotFound: a number among the arguments is beyond 64 bits, where nothing is.
            Invalid: a text among the arguments is not Unicode.
        """
        self._check_open()
        with _told_plainly():
            if not self._threads:
                await trio.lowlevel.checkpoint()
                return query(self._idle[0], *arguments)
            async with self._readers:
                self._check_open()
                reader = self._idle.pop()
                try:
                    return await trio.to_thread.run_sync(partial(query, reader, *arguments))
                finally:
                    self._idle.append(reader)

    async def look_up(self, query: Callable[..., T], *arguments: object) -> T:
        """Run a query that reads a few rows by their keys, in place. Raises as `read`.

        The way to a thread and back costs several times as much as such a query. Worse, a thread has to wait for the
        interpreter each time SQLite gives it a row: on a busy server an actor was seconds in starting.
        """
        if self._near is None:
            return await self.read(query, *arguments)
        await trio.lowlevel.checkpoint()
        self._check_open()
        try:
            with _told_plainly():
                return query(self._near, *arguments)
        except Unavailable:
            # Another program has the file: it is for a thread to wait for that, or to say what is wrong.
            return await self.read(query, *arguments)

    async def write(self, work: Callable[..., T], *arguments: object) -> T:
        """Run `work(connection, *arguments)` on the writer, after whatever runs there now.

        Raises:
            Unavailable: the store is closed.
        """
        self._check_open()
        if not self._threads:
            await trio.lowlevel.checkpoint()
            return work(self._writer, *arguments)
        written: T = await self._writer_thread.run(patiently, work, self._writer, *arguments)
        self._after_commit()
        return written

    async def write_in_halves(
        self, begin: Callable[..., T | None], finish: Callable[[sqlite3.Connection], object], *arguments: object
    ) -> T | None:
        """Run `begin(connection, *arguments)` in place, then `finish(connection)` on the writer; returns what began.

        None where nothing was done, and `write` is the way: the writer is busy, `begin` returned None, the last one
        waited for the disk, or there are no threads.

        Raises:
            Unavailable: the store is closed.
        """
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.checkpoints is not None:
            await self.checkpoints.writer_is_free()
        if not self._threads or self._writer_thread.busy or time.monotonic() < self._not_here_before:
            return None
        waited = time.monotonic() - time.thread_time()
        begun = begin(self._writer, *arguments)
        now = time.monotonic()
        if now - time.thread_time() - waited > WAITED_TOO_LONG:
            self._not_here_before = now + IN_THREAD_AFTER_THAT
        if begun is not None:
            await self._writer_thread.run_now(finish, self._writer)
            self._after_commit()
        return begun

    async def aclose(self) -> None:
        """Wait for what runs, then close. The last connection to close copies the write-ahead log into the database."""
        self._closed = True
        with trio.CancelScope(shield=True):
            for _ in range(int(self._readers.total_tokens)):
                await self._readers.acquire_on_behalf_of(object())
            if self.checkpoints is not None:
                await self.checkpoints.aclose()
            await self._writer_thread.aclose()
            if self._threads:
                await trio.to_thread.run_sync(self._close)
            else:
                self._close()

    def _after_commit(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.after_commit()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("The database is closed.")

    def _close(self) -> None:
        for connection in self._all:
            if connection is not None:
                connection.close()
