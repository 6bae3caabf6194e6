"""One connection to Redis, on the asyncio side of the bridge. In: packed commands. Out: replies, or `Unavailable`.

Every coroutine here is to be run by `bridge.call`. There are no timeouts here: the callers, on trio's side, have them.
A link that failed once is closed and never used again, because what it still may carry belongs to nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection, parse_url
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

from ..engine.errors import TertuliaError, Unavailable
from .redis_limits import BusLimits

Word: TypeAlias = str | bytes | int | float

FORMS = "redis://host:6379/0, rediss://:password@host:6379/0 (with TLS) or unix:///path/to/socket?db=0"
#: What a connection that breaks may raise. RuntimeError: uvloop, for a transport that closed while something is sent;
#: ValueError: the library, for what is no answer of a Redis.
BROKEN = (RedisError, OSError, EOFError, RuntimeError, ValueError)
RESP2 = 2  # subscribing needs no more, and servers from 5.0 on speak it


class Wire(Protocol):
    """What is used of a connection of the library."""

    @property
    def is_connected(self) -> bool: ...

    async def connect(self) -> None: ...

    async def disconnect(self, nowait: bool = False) -> None: ...

    async def send_packed_command(self, command: Iterable[bytes], check_health: bool = True) -> None: ...

    async def read_response(self, disable_decoding: bool = False) -> Any: ...


class BadRedisUrl(TertuliaError):
    """The Redis URL names no server."""

    code = "bad_redis_url"


class RedisRefused(TertuliaError):
    """Redis does not let this program in."""

    code = "redis_refused"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A server and a database, from a URL."""

    name: str  # for people, without the password
    connection_class: type[AbstractConnection]
    options: dict[str, Any]


def redis_address(url: str) -> RedisAddress:
    """Read a URL such as `redis://:password@host:6379/0`.

    Raises:
        BadRedisUrl: it is none.
    """
    try:
        parts = urlsplit(url)
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError:
        # The URL itself is not shown: there may be a password in it.
        raise BadRedisUrl(f"The Redis URL cannot be read; use {FORMS}.") from None
    connection_class = options.pop("connection_class", Connection)
    if connection_class is UnixDomainSocketConnection:
        if "path" not in options:
            raise BadRedisUrl(f"The Redis URL names no socket; use {FORMS}.")
        name = f"unix://{options['path']}"
    else:
        database = parts.path.strip("/")
        if database and not database.isdecimal():
            raise BadRedisUrl(f"The database of the Redis URL must be a number, not {database!r}; use {FORMS}.")
        name = f"{parts.scheme}://{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    return RedisAddress(f"{name}/{options.get('db', 0)}", connection_class, options)


def packed(words: Sequence[Word]) -> bytes:
    """One command as Redis reads it."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        # A key may be made of what a client sent, so it may be no Unicode.
        raw = word if isinstance(word, bytes) else str(word).encode(errors="surrogatepass")
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


class RedisLink:
    """One connection, from `open` to `close`."""

    def __init__(self, address: RedisAddress, client_name: str, limits: BusLimits) -> None:
        """Raises BadRedisUrl."""
        self._name = address.name
        # Retries and timeouts are ours; a reply is bytes, whatever the URL says.
        own: dict[str, Any] = {
            "client_name": client_name,
            "decode_responses": False,
            "health_check_interval": 0,
            "protocol": RESP2,
            "retry": None,
            "socket_connect_timeout": limits.connect_timeout,
            "socket_timeout": None,
        }
        try:
            self._connection: Wire = address.connection_class(**{**address.options, **own})
        except (TypeError, ValueError, RedisError) as error:
            raise BadRedisUrl(f"The options of the Redis URL of {self._name} cannot be used: {error}") from None

    async def open(self) -> None:
        """Connect and sign in.

        Raises:
            RedisRefused: the password or the database is wrong.
            Unavailable: nobody answers there, or not yet.
        """
        try:
            await self._connection.connect()
            await self.exchange([packed(["PING"])], 1)
        except BusyLoadingError:
            raise Unavailable(f"Redis at {self._name} is still loading its data.") from None
        except (AuthenticationError, ResponseError) as error:
            raise RedisRefused(f"Redis at {self._name} does not let us in: {error}") from None
        except BROKEN as error:
            raise Unavailable(f"Redis at {self._name} is not reachable: {error}") from error

    async def close(self) -> None:
        with suppress(*BROKEN):  # it is gone, which is what was wanted
            await self._connection.disconnect(nowait=True)

    async def send(self, commands: Iterable[bytes]) -> None:
        """Write packed commands. Raises Unavailable."""
        if not self._connection.is_connected:  # or else the library would connect again, without what was subscribed
            raise self._lost("it is closed")
        try:
            await self._connection.send_packed_command(commands, check_health=False)
        except BROKEN as error:
            raise self._lost(error) from error

    async def read(self) -> Any:
        """The next reply: bytes, int, None or a list of these.

        Raises:
            ResponseError: it is an error.
            Unavailable: the connection broke.
        """
        try:
            return await self._connection.read_response(disable_decoding=True)
        except ResponseError:
            raise
        except BROKEN as error:
            raise self._lost(error) from error

    async def exchange(self, commands: Iterable[bytes], count: int) -> list[Any]:
        """Write `count` packed commands and read their replies; an error is the reply of its command.

        Raises:
            Unavailable: the connection broke; what was carried out is unknown.
        """
        await self.send(commands)
        replies: list[Any] = []
        for _ in range(count):
            try:
                replies.append(await self.read())
            except ResponseError as error:
                replies.append(error)
        return replies

    def _lost(self, reason: object) -> Unavailable:
        return Unavailable(f"The connection to Redis at {self._name} was lost: {reason}")
