"""The write-ahead log is copied into the database while the writer writes on. In: commits. Next hop: SQLite.

SQLite's own way is to let one commit in so many pay for it: that commit, and all that waits behind it, takes three
times as long as the others. So a connection of its own, in a thread of its own, copies what was committed: a PASSIVE
checkpoint waits for nobody, and nobody waits for it.

One thing it cannot do: the log begins anew only where all of it has been copied, and a busy writer is always ahead. So
when the log has become long, the writer's thread copies the little that came meanwhile, between two commits. See
https://sqlite.org/wal.html#checkpointing.
"""

from __future__ import annotations

import logging
import sqlite3

import outcome
import trio

from .writer_thread import WriterThread

logger = logging.getLogger("tertulia.sqlite")

#: Rows that are written before the log is copied: about as many pages of it, 4 KiB each. Fewer, and the same pages are
#: copied again and again.
ROWS = 4000
#: Pages of a log that is to begin anew: 64 MiB.
LONG = 16 * 1024
#: Pages with which a commit pays for the copy after all: nothing else has kept the log from growing.
TOO_LONG = 2 * LONG


class Checkpoints:
    """Sees to it that the log does not grow for ever.

    Args:
        connection: for the copying alone.
        writer: the connection that commits.
        writer_thread: where that is used.
    """

    def __init__(self, connection: sqlite3.Connection, writer: sqlite3.Connection, writer_thread: WriterThread) -> None:
        self.connection = connection
        self._writer = writer
        self._writer_thread = writer_thread
        self._thread = WriterThread("tertulia checkpoints")
        self._copied = writer.total_changes
        self.under_way = False  # a copy, in either thread
        self._last_part: trio.Event | None = None
        self._closed = False

    def after_commit(self) -> None:
        """Begin to copy, where there is enough to be copied. Never waits."""
        written = self._writer.total_changes
        if written - self._copied < ROWS or self.under_way or self._closed:
            return
        self._copied = written
        self.under_way = True
        self._thread.order(copy, self.connection, then=self._most_is_copied)

    def _most_is_copied(self, result: outcome.Outcome[int]) -> None:
        self.under_way = pages_in(result) >= LONG and not self._closed
        if self.under_way:
            self._last_part = trio.Event()
            self._writer_thread.order(copy, self._writer, then=self._all_is_copied)

    def _all_is_copied(self, result: outcome.Outcome[int]) -> None:
        pages_in(result)
        self.under_way = False
        if self._last_part is not None:
            self._last_part.set()
            self._last_part = None

    async def writer_is_free(self) -> None:
        """Wait while the writer's thread is copying."""
        if self._last_part is not None:
            await self._last_part.wait()

    async def aclose(self) -> None:
        """Wait for the copying, before the writer's thread ends. The connections are left open."""
        self._closed = True
        await self._thread.aclose()


def copy(connection: sqlite3.Connection) -> int:
    """Copy what no reader still needs as it was; returns how many pages the log has.

    Raises:
        sqlite3.Error: not all of it could be copied. Nothing is lost: what was committed is in the log.
    """
    _, pages, _ = connection.execute("pragma wal_checkpoint(passive)").fetchone()
    return int(pages)


def pages_in(result: outcome.Outcome[int]) -> int:
    try:
        return result.unwrap()
    except sqlite3.Error as error:
        logger.warning("The write-ahead log grows, because it could not be copied into the database: %s.", error)
        return 0
