"""All cable connections of one server. In: upgrade requests from `front_door`. Next hop: a `session` for each.

It decides who may connect, gives the heartbeat, and closes what a revoked right had opened.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from ...actors.access import AccountAccess
from ...actors.events import Audience, Event
from ...engine.directory import Address
from ...engine.errors import TertuliaError
from ...engine.handshake import UpgradeRequest
from ...engine.mailbox import Caller
from ...storage.contracts import LogRow
from ..auth import Authenticator
from ..engine import Engine
from .channels import Channel, open_channel
from .protocol import TOKEN_PREFIX, UNSUPPORTED, CableProtocol, EventFormat
from .session import Session, Transport


@dataclass(frozen=True, slots=True)
class CableLimits:
    """What one cable connection may do. Times in seconds."""

    ping_interval: float = 3.0  # both real clients expect a sign of life within 6 s
    subscribe_timeout: float = 4.0  # `@anycable/core` tries again after 5 s and gives up after 10
    authentication_timeout: float = 5.0
    command_timeout: float = 5.0
    waiting_commands: int = 100  # behind one that reads the store; then the socket is not read
    errors: int = 20  # more than this within the period closes the connection
    errors_period: float = 10.0
    subscriptions: int = 1000


class Gateway:
    """The sessions, and what they share."""

    def __init__(
        self, engine: Engine, authenticator: Authenticator, limits: CableLimits, nursery: trio.Nursery
    ) -> None:
        self.hub = engine.world.hub
        self.reads = engine.world.reads
        self.journal = engine.world.journal
        self.access = engine.world.access
        self.epoch = engine.epoch
        self.limits = limits
        self.sessions: set[Session] = set()
        self._directory = engine.directory
        self._authenticator = authenticator
        self._nursery = nursery
        self._wall_clock = engine.world.wall_clock
        self._history_rows = engine.world.limits.history_rows
        self._history_page = engine.world.limits.history_page
        self._formats: weakref.WeakValueDictionary[tuple[str, str, str], EventFormat] = weakref.WeakValueDictionary()

    def connect(self, request: UpgradeRequest, transport: Transport, protocol: CableProtocol) -> Session:
        """A session for an upgraded connection. It reads the client's first commands while it finds out who it is."""
        session = Session(self, transport, protocol, reconfirms=UNSUPPORTED in request.subprotocols)
        self.sessions.add(session)
        self._nursery.start_soon(self._authenticate, session, request)
        return session

    async def _authenticate(self, session: Session, request: UpgradeRequest) -> None:
        account = request.query.get("account_id") or request.headers.get("x-account-id")
        try:
            with trio.fail_after(self.limits.authentication_timeout):
                identity = await self._authenticator.identify(
                    token_of(request), int(account) if account else None, account_required=False
                )
        except (TertuliaError, ValueError, trio.TooSlowError) as error:
            temporary = isinstance(error, trio.TooSlowError) or getattr(error, "temporary", False)
            session.disconnect("server_restart" if temporary else "unauthorized", reconnect=temporary)
        else:
            session.welcome(identity)

    def forget(self, session: Session) -> None:
        self.sessions.discard(session)

    def start(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        self._nursery.start_soon(work, *arguments)

    async def open_channel(self, session: Session, identifier: str) -> Channel:
        return await open_channel(session, identifier)

    def call(self, address: Address, command: Any, caller: Caller) -> None:
        self._directory.call(address, command, caller, timeout=self.limits.command_timeout)

    def format(self, protocol: CableProtocol, identifier: str, audience: Audience) -> EventFormat:
        """The one object for all subscribers who see the same bytes."""
        key = (protocol.name, identifier, audience)
        found = self._formats.get(key)
        if found is None:
            found = self._formats[key] = EventFormat(protocol, identifier, audience, self.epoch)
        return found

    async def read_log(self, account_id: int, conversation_id: int, after: int) -> Sequence[LogRow]:
        """All of a log after a seq, in pages."""
        rows: list[LogRow] = []
        while True:
            page = await self.reads.log(account_id, conversation_id, after=after, limit=self._history_page)
            rows += page
            if len(page) < self._history_page or len(rows) >= self._history_rows:
                return rows
            after = page[-1].seq

    async def beat(self) -> None:
        """Ping every session, in slices: clients take a silent server for a dead one."""
        last = 0
        while True:
            await trio.sleep(self.limits.ping_interval)
            last = max(last + 1, self._wall_clock() // 1000)
            frames: dict[CableProtocol, bytes] = {}
            for number, session in enumerate(list(self.sessions), 1):
                if session.identity is not None:
                    frame = frames.get(session.protocol)
                    if frame is None:
                        frame = frames[session.protocol] = session.protocol.ping(last)
                    session.sink.send(frame)
                if number % 100 == 0:
                    await trio.lowlevel.checkpoint()

    def recheck(self, access: AccountAccess) -> None:
        """Rights in an account changed: every session of it is looked at again."""
        for session in list(self.sessions):
            if session.identity is not None and session.identity.principal.account_id == access.account_id:
                session.recheck(access)


def token_of(request: UpgradeRequest) -> str | None:
    """`?token=`, `Authorization: Bearer`, or the subprotocol `anycable-token.<token>`."""
    token = request.query.get("token")
    if token:
        return token
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials:
        return credentials.strip()
    for name in request.subprotocols:
        if name.startswith(TOKEN_PREFIX):
            return name.removeprefix(TOKEN_PREFIX)
    return None


__all__ = ["CableLimits", "Event", "Gateway", "token_of"]
