"""The connections to one PostgreSQL database: some for reads, some for writes. In: coroutine functions. Out: results.

asyncpg works on asyncio's loop, behind the bridge. Whatever happens to a connection, a read gets its answer or
`Unavailable`: a connection that was lost while it was idle is replaced, and the read runs once more.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import asyncpg
import trio

from ..engine.errors import Invalid, NotFound, OutcomeUnknown, TertuliaError, Unavailable
from .bridge import Bridge
from .database_url import FORMS, BadDatabaseUrl, place
from .postgres_errors import is_certain
from .postgres_limits import PostgresLimits
from .postgres_pool import Pool

T = TypeVar("T")

APPLICATION = "tertulia"

#: Each row that is written is found by an index. A plan is kept, though, and one that was made while a table was small
#: would read the whole of it, when it is large, for each of these rows.
_BY_INDEX = {"enable_seqscan": "off"}

#: Classes of SQLSTATE with which a server refuses to open a connection that will not be opened later either: who signs
#: in, which database, which settings.
_REFUSED_CLASSES = frozenset({"28", "3D", "42", "22"})

#: What the server, the network and asyncpg raise. Its internal error is a farewell of the server that came in between.
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

_NUMBER_TOO_LARGE = "22003"
_NO_SUCH_TEXT = frozenset({"22021", "22P05"})  # NUL, and what the database's encoding does not have


class Connections:
    """Runs reads and writes, each on a connection that nobody else uses meanwhile."""

    def __init__(self, bridge: Bridge, url: str, limits: PostgresLimits | None = None) -> None:
        """Raises BadDatabaseUrl."""
        self.bridge = bridge
        self._url = url
        self._place = place(url)
        self.limits = limits or PostgresLimits()
        self._readers = Pool(bridge, self.connect, self.limits.connections, self.limits)
        self._writers = Pool(bridge, self._connect_by_index, self.limits.write_connections, self.limits)
        self._workers = Pool(bridge, self._connect_by_index, self.limits.job_connections, self.limits)

    async def connect(self, settings: Mapping[str, str] | None = None) -> asyncpg.Connection:
        """Open a connection that belongs to the caller.

        Args:
            settings: PostgreSQL's, for this connection.

        Raises:
            BadDatabaseUrl: the server refuses it, or the URL is none.
            Unavailable: the server cannot be reached now.
        """
        try:
            return await self.bridge.call(_connect, self._url, self.limits, settings or {})
        except TertuliaError:
            raise
        except Exception as error:
            told = _why_not_connected(error, self._place)
        raise told  # without what asyncpg raised, whose text may quote the URL

    async def _connect_by_index(self) -> asyncpg.Connection:
        return await self.connect(_BY_INDEX)

    async def open(self, prepare: Callable[[asyncpg.Connection], Coroutine[Any, Any, object]]) -> None:
        """Connect for the first time and run `prepare(connection)`, which may take its time.

        Raises:
            TertuliaError: of `connect`, of `prepare`, or Unavailable with the reason.
        """
        connection = await self.connect()
        try:
            await self.bridge.call(prepare, connection)
        except BaseException as error:
            self.bridge.post(connection.terminate)
            if isinstance(error, FAILURES):
                raise Unavailable(f"The database {self._place} cannot be made ready: {_line(error)}.") from error
            raise
        self._readers.keep(connection)

    async def read(self, query: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
        """Run `query(connection, *arguments)`, which may run twice.

        Raises:
            Unavailable: the database does not answer, or the store is closed.
            NotFound: a number among the arguments is beyond 64 bits, where nothing is.
            Invalid: a text among the arguments is not Unicode, or has a NUL character.
        """
        try:
            return await self._read(query, arguments, again=True)
        except _Lost:
            return await self._read(query, arguments, again=False)

    async def write(self, work: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
        """Run `work(connection, *arguments)` once. Raises what `work` raises.

        Raises:
            OutcomeUnknown: the connection was lost meanwhile, and `work` did not say what that means.
            Unavailable: the database does not answer, or the store is closed; nothing was written.
        """
        return await self._write(self._writers, work, arguments)

    async def work(self, work: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
        """The same as `write`, for what workers do beside it: on connections of their own."""
        return await self._write(self._workers, work, arguments)

    async def _write(self, pool: Pool, work: Callable[..., Coroutine[Any, Any, T]], arguments: tuple[object, ...]) -> T:
        async with pool.connection() as lease:
            try:
                return await self.bridge.call(work, lease.connection, *arguments)
            except FAILURES as error:
                kind = Unavailable if is_certain(error) else OutcomeUnknown
                raise kind(f"The database cannot be written: {_line(error)}.") from error

    async def aclose(self) -> None:
        """Sign off. Reads and writes raise Unavailable from now on."""
        async with trio.open_nursery() as nursery:
            for pool in (self._readers, self._writers, self._workers):
                nursery.start_soon(pool.aclose)

    async def _read(
        self, query: Callable[..., Coroutine[Any, Any, T]], arguments: tuple[object, ...], *, again: bool
    ) -> T:
        async with self._readers.connection() as lease:
            try:
                return await self.bridge.call(query, lease.connection, *arguments)
            except Exception as error:
                if again and not lease.fresh and _is_lost(error):
                    raise _Lost from error
                told = _why_not_read(error)
                if told is None:
                    raise
                # What the server refused it has also finished, and so has what never left this process.
                lease.spared = is_certain(error) or _never_sent(error)
                raise told from error


class _Lost(Exception):
    """The connection was dead before the query reached the server, or died under it."""


async def _connect(url: str, limits: PostgresLimits, settings: Mapping[str, str]) -> asyncpg.Connection:
    return await asyncpg.connect(
        url,
        timeout=limits.connect_timeout,
        command_timeout=limits.answer_timeout,
        statement_cache_size=limits.prepared_statements,
        server_settings={
            "application_name": APPLICATION,
            "statement_timeout": _milliseconds(limits.statement_timeout),
            "idle_in_transaction_session_timeout": _milliseconds(limits.idle_transaction_timeout),
            "synchronous_commit": "on",  # what is acknowledged is on the disk
            "jit": "off",  # costs more than any of these queries
            **settings,
        },
    )


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))


def _never_sent(error: BaseException) -> bool:
    """A value that asyncpg could not send. Its class is also the one of what the server says about values."""
    return isinstance(error, asyncpg.DataError) and error.__cause__ is not None


def _is_lost(error: Exception) -> bool:
    if isinstance(error, TimeoutError) or _never_sent(error):
        return False
    if isinstance(error, asyncpg.PostgresError):
        # It says FATAL and goes, the connection was lost (class 08), or the tables changed under a prepared statement.
        state = error.sqlstate or ""
        return not is_certain(error) or state[:2] == "08" or isinstance(error, asyncpg.InvalidCachedStatementError)
    return isinstance(error, FAILURES)


def _why_not_read(error: Exception) -> TertuliaError | None:
    """The store's error for asyncpg's; None where it is no error of the database."""
    if _never_sent(error):
        if isinstance(error.__cause__, UnicodeEncodeError):
            return Invalid("A text in the request is not valid Unicode.")
        return NotFound() if isinstance(error.__cause__, OverflowError) else None
    if isinstance(error, asyncpg.PostgresError):
        if error.sqlstate == _NUMBER_TOO_LARGE:
            return NotFound()
        if error.sqlstate in _NO_SUCH_TEXT:
            return Invalid("A text in the request has a character that cannot be stored.")
    if isinstance(error, FAILURES):
        return Unavailable(f"The database cannot be read: {_line(error)}.")
    return None


def _why_not_connected(error: Exception, place: str) -> TertuliaError:
    match error:
        case asyncpg.PostgresError():
            if (error.sqlstate or "")[:2] in _REFUSED_CLASSES:
                return BadDatabaseUrl(f"PostgreSQL at {place} refuses the connection: {_line(error)}.")
            return Unavailable(f"PostgreSQL at {place} does not answer now: {_line(error)}.")
        case ssl.SSLError():
            return Unavailable(f"PostgreSQL at {place} cannot be reached with TLS: {_line(error)}.")
        case OSError() | TimeoutError():
            return Unavailable(f"PostgreSQL at {place} cannot be reached: {_line(error)}.")
        case ValueError() | asyncpg.InterfaceError():
            return BadDatabaseUrl(
                f"The database URL for {place} has a part that PostgreSQL does not know; use {FORMS}."
            )
        case _:
            return Unavailable(f"PostgreSQL at {place} cannot be reached: {type(error).__name__}.")


def _line(error: BaseException) -> str:
    """What an error says, as a part of a sentence."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
