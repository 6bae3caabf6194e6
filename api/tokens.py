"""Tokens are given, renewed and taken here. Every change is durable before it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..actors.times import rfc3339
from ..storage.records import Record, Token
from ..storage.writes import Delete, Insert, Unit, Update, Write
from .auth import digest_of, new_token
from .calls import Api

#: The unit of a change that belongs to no account: users' tokens work in all of theirs.
NO_ACCOUNT = 0


@dataclass(frozen=True, slots=True)
class Issued:
    """A token as its holder gets it, once."""

    secret: str = field(repr=False)
    expires_at: str


async def issue_to_user(api: Api, user_id: int) -> Issued:
    """A new session of a user. The user's expired ones are removed on the way."""
    now = api.world.wall_clock()
    expired = [token for token in await api.world.reads.tokens_of(user_id=user_id) if _is_over(token, now)]
    writes: list[Write] = [Delete(Token, _key(token)) for token in expired]
    return await _issue(api, api.settings.user_token_lifetime, writes, kind="user", user_id=user_id)


async def issue_to_contact(api: Api, account_id: int, contact_id: int, inbox_id: int) -> Issued:
    """A new session of a visitor, bound to its account and inbox."""
    return await _issue(
        api,
        api.settings.contact_token_lifetime,
        [],
        kind="contact",
        account_id=account_id,
        contact_id=contact_id,
        inbox_id=inbox_id,
    )


async def renew(api: Api, token: Token, secret: str) -> Issued:
    """Let a token that is valid now live its whole life again."""
    expires_at = api.world.wall_clock() + round(api.settings.contact_token_lifetime * 1000)
    await _write(api, token.account_id, [Update(Token, _key(token), {"expires_at": expires_at})])
    api.authenticator.forget([token.id])
    return Issued(secret, rfc3339(expires_at))


async def revoke(api: Api, tokens: Sequence[Token]) -> None:
    """Delete tokens; what was opened with them is closed."""
    if tokens:
        await _write(api, tokens[0].account_id, [Delete(Token, _key(token)) for token in tokens])
        api.authenticator.revoked([token.id for token in tokens])


async def _issue(api: Api, lifetime: float, writes: list[Write], *, kind: str, **holder: int) -> Issued:
    secret = new_token()
    now = api.world.wall_clock()
    expires_at = now + round(lifetime * 1000)
    ids = await api.world.reads.reserve(Token)
    record: Record = Token(
        id=ids[0], hash=digest_of(secret), kind=kind, created_at=now, expires_at=expires_at, **holder
    )
    await _write(api, holder.get("account_id"), [*writes, Insert(record)])
    return Issued(secret, rfc3339(expires_at))


async def _write(api: Api, account_id: int | None, writes: list[Write]) -> None:
    unit = Unit(account_id or NO_ACCOUNT, committed=_ignore, failed=_ignore, writes=writes)
    await api.world.journal.write(unit)


def _ignore(*_: object) -> None:
    """`Journal.write` puts its own callbacks here."""


def _key(token: Token) -> dict[str, int | None]:
    if token.account_id is not None:
        return {"account_id": token.account_id, "id": token.id}
    return {"user_id": token.user_id, "id": token.id}


def _is_over(token: Token, now: int) -> bool:
    return token.expires_at is not None and token.expires_at <= now
