"""A new account with its first administrator and inbox: what a fresh installation begins with."""

from __future__ import annotations

import secrets

from ..actors.entities import Role
from ..engine.errors import Invalid
from ..storage.contracts import Journal, Reads
from ..storage.records import Account, AccountUser, Inbox, User
from ..storage.writes import Insert, Unit, Write
from .passwords import hash_password

MIN_PASSWORD = 8  # characters


async def make_account(
    reads: Reads, journal: Journal, now: int, *, name: str, email: str, user_name: str, password: str
) -> tuple[Account, User, Inbox]:
    """Write the account; a user who has this e-mail already becomes its administrator and keeps the old password.

    Raises:
        Invalid: the e-mail or the password cannot be used.
    """
    email = email.strip().lower()
    if "@" not in email:
        raise Invalid(f"{email!r} is no e-mail address.", fields={"email": "This is no e-mail address."})
    user = await reads.user_by_email(email)
    writes: list[Write] = []
    account = Account(id=(await reads.reserve(Account)).start, name=name, created_at=now)
    if user is None:
        if len(password) < MIN_PASSWORD:
            reason = f"A password has at least {MIN_PASSWORD} characters."
            raise Invalid(reason, fields={"password": reason})
        user_id = (await reads.reserve(User)).start
        hashed = await hash_password(password)
        user = User(
            id=user_id, account_id=account.id, email=email, name=user_name, created_at=now, password_hash=hashed
        )
        writes.append(Insert(user))
    inbox = Inbox(
        id=(await reads.reserve(Inbox)).start,
        account_id=account.id,
        name="Website",
        identifier=secrets.token_urlsafe(18),
        created_at=now,
        updated_at=now,
    )
    writes += [
        Insert(account),
        Insert(AccountUser(account_id=account.id, user_id=user.id, role=Role.ADMINISTRATOR, created_at=now)),
        Insert(inbox),
    ]
    await journal.write(Unit(account.id, lambda: None, lambda _: None, writes=writes))
    return account, user, inbox
