"""Who is calling? One function answers it for routes and for cable connects.

A token is 32 random bytes, shown once; the store keeps its SHA-256 (a random token needs no slow hash). A user's
token works in every account of the user; a contact's token is bound to its account and inbox.

Tokens that were looked up are remembered for a few seconds. Revoking one forgets it at once and tells the listeners,
so that the gateway closes what was opened with it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import trio

from ..actors.access import AccessBook, AccountAccess
from ..actors.entities import Member, Principal, Visitor, WallClock
from ..engine.errors import Denied, Malformed, NotFound, Unauthenticated
from ..storage.contracts import Reads
from ..storage.records import Token

TOKEN_BYTES = 32
REMEMBERED_TOKENS = 10_000
REMEMBERED_SECONDS = 5.0  # how long a token that another process revoked may still work here
HELD_ACCOUNTS = 1_000
STRANGER = "You do not belong to this account."


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest_of(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose token was valid when it was looked at."""

    principal: Principal
    token_id: int
    expires_at: int | None


class _Remembered(NamedTuple):
    token: Token
    contact_name: str  # of a contact's token
    until: float
    account_id: int | None = None  # the user's only account, once somebody had to find out


class Authenticator:
    """Turns tokens into identities."""

    def __init__(self, reads: Reads, access: AccessBook, wall_clock: WallClock) -> None:
        self._reads = reads
        self._access = access
        self._wall_clock = wall_clock
        self._remembered: dict[str, _Remembered] = {}  # by digest, the oldest first
        self._held: dict[
            int, AccountAccess
        ] = {}  # the accounts in use, which the book itself only knows while others do
        self._revocations = 0
        #: Called after tokens were revoked, with their ids.
        self.listeners: list[Callable[[frozenset[int]], Any]] = []

    async def token(self, secret: str | None) -> Token:
        """Raises Unauthenticated where there is no such valid token."""
        return (await self._known(secret)).token

    async def _known(self, secret: str | None) -> _Remembered:
        known = await self._look_up(digest_of(secret)) if secret else None
        if known is None or (known.token.expires_at is not None and known.token.expires_at <= self._wall_clock()):
            raise Unauthenticated
        return known

    async def _look_up(self, digest: str) -> _Remembered | None:
        found = self._remembered.pop(digest, None)
        now = trio.current_time()
        if found is None or found.until <= now:
            revocations = self._revocations
            token = await self._reads.token(digest)
            if token is None:
                return None
            found = _Remembered(token, await self._contact_name(token), now + REMEMBERED_SECONDS)
            # What was read before a revocation says nothing about what is valid after it.
            if revocations != self._revocations:
                return await self._look_up(digest)
        self._remembered[digest] = found
        if len(self._remembered) > REMEMBERED_TOKENS:
            del self._remembered[next(iter(self._remembered))]
        return found

    async def _contact_name(self, token: Token) -> str:
        if token.account_id is None or token.contact_id is None:
            return ""
        contact = await self._reads.contact(token.account_id, token.contact_id)
        return contact.name if contact is not None else ""

    def forget(self, token_ids: Collection[int]) -> None:
        """These tokens changed in the store: look them up again."""
        self._revocations += 1
        for digest in [digest for digest, known in self._remembered.items() if known.token.id in token_ids]:
            del self._remembered[digest]

    def revoked(self, token_ids: Collection[int]) -> None:
        """These tokens are deleted from the store: they open nothing any more, and what they opened is closed."""
        self.forget(token_ids)
        for listener in self.listeners:
            listener(frozenset(token_ids))

    def identify_at_once(self, secret: str | None, account_id: int | None) -> Identity | None:
        """As `identify`, without `account_required`, from what is remembered. None: `identify` finds out, or says no.

        Between a look at this and what is done with it nothing can be revoked.
        """
        digest = digest_of(secret) if secret else ""
        known = self._remembered.get(digest)
        if known is None or known.until <= trio.current_time():
            return None
        token = known.token
        if token.expires_at is not None and token.expires_at <= self._wall_clock():
            return None
        if account_id is None:
            account_id = known.account_id if token.account_id is None else token.account_id
        access = self._held.get(account_id) if account_id is not None else None
        if access is None:
            return None
        principal: Principal
        if token.user_id is not None:
            principal = Member(access.account_id, token.user_id, access.names.get(token.user_id, ""))
        elif token.contact_id is not None and token.inbox_id is not None and account_id == token.account_id:
            principal = Visitor(access.account_id, token.contact_id, token.inbox_id, known.contact_name)
        else:
            return None
        return Identity(principal, token.id, token.expires_at) if access.admits(principal) else None

    async def identify(self, secret: str | None, account_id: int | None, *, account_required: bool = True) -> Identity:
        """The caller, acting in an account.

        Without `account_id`, a user's only account is meant, unless `account_required`.

        Raises:
            Unauthenticated: no valid token, or the contact's rights ended.
            Malformed: the account is not named and cannot be guessed.
            Denied: the caller does not belong to the account, or there is no such account.
        """
        known = await self._known(secret)
        token = known.token
        if token.user_id is not None:
            identity = await self._member(token, token.user_id, account_id, account_required)
            # Not where it was revoked, or looked up again, in the meantime.
            if account_id is None and self._remembered.get(known_as := digest_of(secret or "")) is known:
                self._remembered[known_as] = known._replace(account_id=identity.principal.account_id)
            return identity
        assert token.account_id is not None
        assert token.contact_id is not None
        assert token.inbox_id is not None
        if account_id is not None and account_id != token.account_id:
            raise Denied(STRANGER)
        visitor = Visitor(token.account_id, token.contact_id, token.inbox_id, known.contact_name)
        access = await self.access_of(token.account_id)
        if access is None or not access.admits(visitor):
            raise Unauthenticated
        return Identity(visitor, token.id, token.expires_at)

    async def _member(self, token: Token, user_id: int, account_id: int | None, required: bool) -> Identity:
        if account_id is None:
            memberships = () if required else await self._reads.memberships(user_id)
            if len(memberships) != 1:
                raise Malformed("Name the account in X-Account-Id or account_id.")
            account_id = memberships[0].account_id
        access = await self.access_of(account_id)
        if access is not None:
            member = Member(account_id, user_id, access.names.get(user_id, ""))
            if access.admits(member):
                return Identity(member, token.id, token.expires_at)
        raise Denied(STRANGER)

    async def access_of(self, account_id: int) -> AccountAccess | None:
        """The rights in an account; None where there is no such account."""
        access = self._held.pop(account_id, None)
        if access is None:
            try:
                access = await self._access.of(account_id)
            except NotFound:
                return None
        self._held[account_id] = access
        if len(self._held) > HELD_ACCOUNTS:
            del self._held[next(iter(self._held))]
        return access
