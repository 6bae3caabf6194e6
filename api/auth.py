"""Who is calling? One function answers it for routes and for cable connects.

A token is 32 random bytes, shown once; the store keeps its SHA-256 (a random token needs no slow hash). A user's token works
in every account of the user; a contact's token is bound to its account and inbox.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from ..actors.access import AccessBook
from ..actors.entities import Member, Principal, Visitor, WallClock
from ..engine.errors import Denied, Malformed, Unauthenticated
from ..storage.contracts import Reads
from ..storage.records import Token

TOKEN_BYTES = 32


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest_of(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose token was valid when it was looked at."""

    principal: Principal
    token_id: int
    expires_at: int | None


class Authenticator:
    """Turns tokens into identities."""

    def __init__(self, reads: Reads, access: AccessBook, wall_clock: WallClock) -> None:
        self._reads = reads
        self._access = access
        self._wall_clock = wall_clock

    async def token(self, secret: str | None) -> Token:
        """Raises Unauthenticated where there is no such valid token."""
        token = await self._reads.token(digest_of(secret)) if secret else None
        if token is None or (token.expires_at is not None and token.expires_at <= self._wall_clock()):
            raise Unauthenticated
        return token

    async def identify(self, secret: str | None, account_id: int | None, *, account_required: bool = True) -> Identity:
        """The caller, acting in an account.

        Without `account_id`, a user's only account is meant, unless `account_required`.

        Raises:
            Unauthenticated: no valid token.
            Malformed: the account is not named and cannot be guessed.
            Denied: the caller does not belong to the account.
        """
        token = await self.token(secret)
        if token.user_id is not None:
            return await self._member(token, token.user_id, account_id, account_required)
        assert token.account_id is not None and token.contact_id is not None and token.inbox_id is not None
        if account_id is not None and account_id != token.account_id:
            raise Denied
        contact = await self._reads.contact(token.account_id, token.contact_id)
        if contact is None or contact.blocked:
            raise Unauthenticated
        visitor = Visitor(token.account_id, token.contact_id, token.inbox_id, contact.name)
        return Identity(visitor, token.id, token.expires_at)

    async def _member(self, token: Token, user_id: int, account_id: int | None, required: bool) -> Identity:
        if account_id is None:
            memberships = [] if required else await self._reads.memberships(user_id)
            if len(memberships) != 1:
                raise Malformed("Name the account in X-Account-Id or account_id.")
            account_id = memberships[0].account_id
        access = await self._access.of(account_id)
        member = Member(account_id, user_id, access.names.get(user_id, ""))
        if access.role_of(member) is None:
            raise Denied("You are not a member of this account.")
        return Identity(member, token.id, token.expires_at)
