"""Accounts, and the people in them."""

from __future__ import annotations

from ...actors.commands.account import AddAccountUser, RemoveAccountUser, UpdateAccount, UpdateAccountUser
from ...actors.policies.account import AccountPolicy
from ...actors.policies.base import authorize
from ...engine.errors import NotFound
from ...storage.contracts import AccountRecords
from ..answers import Page
from ..calls import AccountCall, TokenCall, with_auth, with_token
from ..representations import AccountData, AccountUserData, MembershipData, account_data, account_user_data
from ..routing import Area
from ..schemas import AccountUpdate, AccountUserUpdate, NewAccountUser
from .sessions import memberships_of

area = Area("accounts")


def policy_of(call: AccountCall) -> AccountPolicy:
    return AccountPolicy(call.access, call.principal)


async def records_of(call: AccountCall) -> AccountRecords:
    records = await call.world.reads.account(call.account_id)
    if records is None:
        raise NotFound
    return records


@area.get("/accounts", MembershipData, listed=True)
@with_token
async def list_accounts(call: TokenCall) -> Page:
    """The accounts that one belongs to."""
    return Page(await memberships_of(call.api, call.user_id))


@area.get("/account", AccountData, nested="")
@with_auth
async def show_account(call: AccountCall) -> AccountData:
    """The account."""
    authorize(policy_of(call).can_show())
    return account_data((await records_of(call)).account)


@area.patch("/account", AccountData, nested="")
@with_auth
async def update_account(call: AccountCall, body: AccountUpdate) -> AccountData:
    """Change name or settings."""
    authorize(policy_of(call).can_update())
    return account_data(await call.account.ask(UpdateAccount(call.principal, body.name, body.settings)))


@area.get("/account_users", AccountUserData, listed=True)
@with_auth
async def list_account_users(call: AccountCall) -> Page:
    """The people of the account and their roles."""
    authorize(policy_of(call).can_see_users())
    records = await records_of(call)
    return Page([account_user_data(member, records.users[member.user_id]) for member in records.members])


@area.post("/account_users", AccountUserData)
@with_auth
async def add_account_user(call: AccountCall, body: NewAccountUser) -> AccountUserData:
    """Add a person; where nobody has this e-mail yet, the user is made."""
    authorize(policy_of(call).can_manage_users())
    password_hash = await call.api.passwords.hash(body.password) if body.password is not None else None
    command = AddAccountUser(call.principal, body.email.lower(), body.name, body.role, password_hash)
    member, user = await call.account.ask(command)
    return account_user_data(member, user)


@area.patch("/account_users/<id:user_id>", AccountUserData)
@with_auth
async def update_account_user(call: AccountCall, user_id: int, body: AccountUserUpdate) -> AccountUserData:
    """Give another role."""
    authorize(policy_of(call).can_manage_users())
    member = await call.account.ask(UpdateAccountUser(call.principal, user_id, body.role))
    user = await call.world.reads.user(user_id)
    if user is None:
        raise NotFound
    return account_user_data(member, user)


@area.delete("/account_users/<id:user_id>")
@with_auth
async def remove_account_user(call: AccountCall, user_id: int) -> None:
    """Remove a person from the account and its inboxes."""
    authorize(policy_of(call).can_manage_users())
    await call.account.ask(RemoveAccountUser(call.principal, user_id))
