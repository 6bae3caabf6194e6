"""Add people to an account, give them roles, remove them. Somebody always remains who can do so."""

from __future__ import annotations

import msgspec

from ...engine.errors import Conflict, NotFound
from ...storage.contracts import Reads
from ...storage.records import AccountUser, InboxMember, User
from ...storage.writes import Delete, Insert, Update
from ..account_state import AccountState
from ..checking import address, named
from ..entities import Principal, Role, System
from ..limits import ChatLimits
from ..policies.account import AccountPolicy
from ..policies.base import authorize
from .account import AddAccountUser, RemoveAccountUser, UpdateAccountUser


class AddAccountUserHandler:
    def __init__(self, reads: Reads, limits: ChatLimits) -> None:
        self._reads = reads
        self._limits = limits

    async def __call__(self, account: AccountState, command: AddAccountUser) -> tuple[AccountUser, User]:
        _authorize(account, command.by)
        email = address(command.email, self._limits)
        name = named(command.name, self._limits)
        user = await self._reads.user_by_email(email)
        while True:
            if user is not None:
                _refuse_a_stranger(account, command.by, user)
            change = account.change(command.by)
            if user is None:
                id = (await self._reads.reserve(User))[0]
                found = User(
                    id=id,
                    account_id=account.id,
                    email=email,
                    name=name,
                    created_at=change.now,
                    password_hash=command.password_hash,
                )
            else:
                found = user
            member = AccountUser(account_id=account.id, user_id=found.id, role=str(command.role), created_at=change.now)
            change.writes = [Insert(found), Insert(member)] if user is None else [Insert(member)]
            try:
                await account.commit(change)
            except Conflict:
                other = await self._reads.user_by_email(email)
                if user is not None or other is None:
                    raise
                user = other  # another account made this user a moment ago
            else:
                break
        account.access.roles[found.id] = command.role
        account.access.names[found.id] = found.name
        account.rights_changed()
        return member, found


def _refuse_a_stranger(account: AccountState, by: Principal, user: User) -> None:
    """A user that another account made has a password of that account's choosing: whoever chose it could sign in here.

    An e-mail is not verified, so the administrator who names it cannot know. The operator can: `System` may add
    anybody.
    """
    if user.id in account.access.roles:
        raise Conflict("This person belongs to the account already.")
    if user.account_id != account.id and not isinstance(by, System):
        raise Conflict("This e-mail belongs to a user of another account; only the operator of this server can add it.")


class UpdateAccountUserHandler:
    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def __call__(self, account: AccountState, command: UpdateAccountUser) -> AccountUser:
        _authorize(account, command.by)
        roles = account.access.roles
        if command.user_id not in roles:
            raise NotFound
        records = await self._reads.account(account.id)
        assert records is not None
        member = next(member for member in records.members if member.user_id == command.user_id)
        if roles[command.user_id] is command.role:
            return member
        if command.role is not Role.ADMINISTRATOR:
            _keep_an_administrator(account, command.user_id)
        change = account.change(command.by)
        where = {"account_id": account.id, "user_id": command.user_id}
        change.writes = [Update(AccountUser, where, {"role": str(command.role)})]
        await account.commit(change)
        roles[command.user_id] = command.role
        account.rights_changed()
        return msgspec.structs.replace(member, role=str(command.role))


class RemoveAccountUserHandler:
    async def __call__(self, account: AccountState, command: RemoveAccountUser) -> None:
        _authorize(account, command.by)
        access = account.access
        if command.user_id not in access.roles:
            raise NotFound
        _keep_an_administrator(account, command.user_id)
        change = account.change(command.by)
        where = {"account_id": account.id, "user_id": command.user_id}
        change.writes = [Delete(InboxMember, where), Delete(AccountUser, where)]
        await account.commit(change)
        access.roles.pop(command.user_id, None)  # gone already where the store was read again meanwhile
        for members in access.inbox_members.values():
            members.discard(command.user_id)
        account.rights_changed()


def _authorize(account: AccountState, by: Principal) -> None:
    policy = AccountPolicy(account.access, by)
    authorize(policy.can_manage_users(), visible=policy.can_show())


def _keep_an_administrator(account: AccountState, user_id: int) -> None:
    others = (role for other, role in account.access.roles.items() if other != user_id)
    if account.access.roles[user_id] is Role.ADMINISTRATOR and Role.ADMINISTRATOR not in others:
        raise Conflict("The last administrator stays one: make somebody else an administrator first.")
