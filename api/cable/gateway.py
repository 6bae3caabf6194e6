"""All cable connections of one server. In: upgrade requests from `front_door`. Next hop: a `session` for each.

It decides who may connect, gives the heartbeat, closes what a revoked right had opened, and says good-bye when the
server goes. A right that is revoked while a client is still being authenticated is remembered for that long, so that
no connection slips through between the look at its token and its welcome.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import trio

from ...actors.access import AccountAccess
from ...actors.events import Audience
from ...engine.directory import Address
from ...engine.errors import TertuliaError
from ...engine.frames import GOING_AWAY
from ...engine.handshake import UpgradeRequest
from ...engine.mailbox import Caller, Lane
from ..auth import Authenticator, Identity
from ..cable_limits import CableLimits
from ..engine import Engine
from .ports import Transport
from .protocol import TOKEN_PREFIX, UNSUPPORTED, CableProtocol, EventFormat
from .readings import Readings
from .session import Session

SESSIONS_PER_SLICE = 100  # handled before other tasks get a turn
#: `jid` is what `@anycable/core` calls its token where it is not told otherwise.
TOKEN_PARAMETERS = ("token", "jid")


class Gateway:
    """The sessions, and what they share."""

    def __init__(
        self, engine: Engine, authenticator: Authenticator, limits: CableLimits, nursery: trio.Nursery
    ) -> None:
        self.hub = engine.world.hub
        self.reads = engine.world.reads
        self.journal = engine.world.journal
        self.access = engine.world.access
        self.chat_limits = engine.world.limits
        self.presence = engine.presence
        self.epoch = engine.epoch
        self.limits = limits
        self.readings = Readings(self)
        self.sessions: set[Session] = set()
        self._directory = engine.directory
        self.authenticator = authenticator
        self._nursery = nursery
        self._wall_clock = engine.world.wall_clock
        self._behind = engine.world.behind
        self._draining = False
        #: Tokens that were revoked while these sessions are being authenticated.
        self._authenticating: dict[Session, set[int]] = {}
        self._identities: dict[tuple[int, int], tuple[Identity, int]] = {}
        self._formats: weakref.WeakValueDictionary[tuple[str, str, str], EventFormat] = weakref.WeakValueDictionary()
        self.access.listeners.append(self.recheck)
        authenticator.listeners.append(self.revoke_tokens)

    # Connecting.

    def connect(self, request: UpgradeRequest, transport: Transport, protocol: CableProtocol) -> Session:
        """A session for an upgraded connection. It reads the client's first commands while it finds out who it is.

        A client that was here a moment ago is known at once, and greeted before this returns.
        """
        session = Session(self, transport, protocol, reconfirms=UNSUPPORTED in request.subprotocols)
        if self._draining:
            session.disconnect("server_restart", reconnect=True, code=GOING_AWAY)
            return session
        self.sessions.add(session)
        identity = self._known(request)
        if identity is not None and self._is_admitted(identity):
            self._welcome(session, identity)
        else:
            self._nursery.start_soon(self._authenticate, session, request)
        return session

    def _known(self, request: UpgradeRequest) -> Identity | None:
        try:
            return self.authenticator.identify_at_once(token_of(request), account_of(request))
        except ValueError:
            return None

    async def _authenticate(self, session: Session, request: UpgradeRequest) -> None:
        revoked: set[int] = set()
        self._authenticating[session] = revoked
        try:
            with trio.fail_after(self.limits.authentication_timeout):
                identity = await self.authenticator.identify(
                    token_of(request), account_of(request), account_required=False
                )
        except (TertuliaError, ValueError, trio.TooSlowError) as error:
            temporary = isinstance(error, trio.TooSlowError) or getattr(error, "temporary", False)
            session.disconnect("server_restart" if temporary else "unauthorized", reconnect=temporary)
        except Exception as error:
            session.crashed(error)
        else:
            # Nothing waits between this last look and the welcome.
            if identity.token_id in revoked or not self._is_admitted(identity):
                session.disconnect("unauthorized", reconnect=False)
            elif session in self.sessions:
                self._welcome(session, identity)
        finally:
            del self._authenticating[session]

    def _is_admitted(self, identity: Identity) -> bool:
        access = self.access.known(identity.principal.account_id)
        return access is None or access.admits(identity.principal)

    def _welcome(self, session: Session, identity: Identity) -> None:
        identity = self._share(identity)
        self.presence.joined(identity.principal)
        try:
            session.welcome(identity)
        except Exception as error:
            session.crashed(error)

    def forget(self, session: Session) -> None:
        """The session is closed."""
        if session not in self.sessions:
            return
        self.sessions.remove(session)
        identity = session.identity
        if identity is not None:
            self._unshare(identity)
            self.presence.left(identity.principal)

    def _share(self, identity: Identity) -> Identity:
        """One object for all sessions that a token opened."""
        key = (identity.token_id, identity.principal.account_id)
        known, sessions = self._identities.get(key, (identity, 0))
        if known != identity:
            known = identity  # renamed since; who is connected already keeps the old name
        self._identities[key] = (known, sessions + 1)
        return known

    def _unshare(self, identity: Identity) -> None:
        key = (identity.token_id, identity.principal.account_id)
        known, sessions = self._identities[key]
        if sessions > 1:
            self._identities[key] = (known, sessions - 1)
        else:
            del self._identities[key]

    # What sessions and channels ask for.

    def start(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        self._nursery.start_soon(work, *arguments)

    def call(self, address: Address, command: Any, caller: Caller, lane: Lane = Lane.COMMANDS) -> None:
        """Raises Overloaded, Draining or ActorFailed where the command is not even accepted."""
        self._directory.call(address, command, caller, timeout=self.limits.command_timeout, lane=lane)

    def format(self, protocol: CableProtocol, identifier: str, audience: Audience) -> EventFormat:
        """The one object for all subscribers who see the same bytes."""
        key = (protocol.name, identifier, audience)
        found = self._formats.get(key)
        if found is None:
            found = self._formats[key] = EventFormat(protocol, identifier, audience, self.epoch)
        return found

    def told(self, key: int | tuple[int, int], seq: int) -> int:
        """The last seq, up to `seq`, of an account's or a conversation's log that was broadcast.

        What a failed commit kept from being broadcast will come live: a history that told it too would tell it twice.
        Ask after `journal.published()`, without waiting in between.
        """
        return min(seq, self._behind.get(key, seq)) if self._behind and not self.hub.fills_gaps else seq

    # Rights.

    def recheck(self, access: AccountAccess) -> None:
        """Rights in an account changed: every session of it is looked at again."""
        for session in list(self.sessions):
            if session.identity is not None and session.identity.principal.account_id == access.account_id:
                session.recheck(access)

    def tokens_in_use(self) -> set[int]:
        """The tokens that opened the sessions."""
        return {token_id for token_id, _ in self._identities}

    def revoke_token(self, token_id: int) -> None:
        """Close what was opened with this token."""
        self.revoke_tokens((token_id,))

    def revoke_tokens(self, token_ids: Collection[int]) -> None:
        for revoked in self._authenticating.values():
            revoked.update(token_ids)
        for session in list(self.sessions):
            if session.identity is not None and session.identity.token_id in token_ids:
                session.disconnect("unauthorized", reconnect=False)

    # Time.

    async def beat(self) -> None:
        """Ping every session, in slices: clients take a silent server for a dead one.

        An expired token ends its session.
        """
        last = 0
        while True:
            await trio.sleep(self.limits.ping_interval)
            now = self._wall_clock()
            last = max(last + 1, now // 1000)
            frames: dict[CableProtocol, bytes] = {}
            for number, session in enumerate(list(self.sessions), 1):
                if session.identity is not None:
                    self._ping(session, last, frames, now)
                if number % SESSIONS_PER_SLICE == 0:
                    await trio.lowlevel.checkpoint()

    def _ping(self, session: Session, seconds: int, frames: dict[CableProtocol, bytes], now: int) -> None:
        assert session.identity is not None
        expires_at = session.identity.expires_at
        if expires_at is not None and expires_at <= now:
            session.disconnect("unauthorized", reconnect=False)
            return
        frame = frames.get(session.protocol)
        if frame is None:
            frame = frames[session.protocol] = session.protocol.ping(seconds)
        session.sink.send(frame)

    async def drain(self, window: float) -> None:
        """Ask every client to reconnect, spread over `window` seconds so that they do not all come back at once, and
        close. Who connects meanwhile is asked the same."""
        self._draining = True
        sessions = list(self.sessions)
        began = trio.current_time()
        try:
            for number, session in enumerate(sessions):
                await trio.sleep_until(began + window * number / len(sessions))
                session.disconnect("server_restart", reconnect=True, code=GOING_AWAY)
        finally:
            self._stop_listening()

    def _stop_listening(self) -> None:
        """The engine may outlive this gateway."""
        self.readings.close()
        if self.recheck in self.access.listeners:
            self.access.listeners.remove(self.recheck)
            self.authenticator.listeners.remove(self.revoke_tokens)


def token_of(request: UpgradeRequest) -> str | None:
    """`?token=`, `Authorization: Bearer`, or the subprotocol `anycable-token.<token>`."""
    for name in TOKEN_PARAMETERS:
        token = request.query.get(name)
        if token:
            return token
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials:
        return credentials.strip()
    for name in request.subprotocols:
        if name.startswith(TOKEN_PREFIX):
            return name.removeprefix(TOKEN_PREFIX)
    return None


def account_of(request: UpgradeRequest) -> int | None:
    """The account that the client names. Raises ValueError where that is no number."""
    account = request.query.get("account_id") or request.headers.get("x-account-id")
    return int(account) if account else None


__all__ = ["CableLimits", "Gateway", "token_of"]
