"""Inboxes, and who works in them."""

from __future__ import annotations

from ...actors.commands.account import CreateInbox, SetInboxMembers, UpdateInbox
from ...actors.policies.account import AccountPolicy
from ...actors.policies.base import authorize
from ...actors.policies.inbox import InboxPolicy
from ...engine.errors import NotFound
from ..answers import Page
from ..calls import AccountCall, with_auth
from ..representations import InboxData, InboxMembersData, inbox_data
from ..routing import Area
from ..schemas import InboxMembers, InboxName
from .accounts import records_of

area = Area("inboxes")


def policy_of(call: AccountCall) -> InboxPolicy:
    return InboxPolicy(call.access, call.principal)


def authorize_to_manage(call: AccountCall, inbox_id: int) -> None:
    policy = policy_of(call)
    authorize(policy.can_manage(), visible=policy.can_show(inbox_id))


@area.get("/inboxes", InboxData, listed=True)
@with_auth
async def list_inboxes(call: AccountCall) -> Page:
    """The inboxes that one may see; a visitor sees its own."""
    scope = set(policy_of(call).scope())
    records = await records_of(call)
    return Page([inbox_data(inbox) for inbox in records.inboxes if inbox.id in scope])


@area.post("/inboxes", InboxData)
@with_auth
async def create_inbox(call: AccountCall, body: InboxName) -> InboxData:
    """Open an inbox."""
    authorize(policy_of(call).can_manage())
    return inbox_data(await call.account.ask(CreateInbox(call.principal, body.name)))


@area.get("/inboxes/<id:inbox_id>", InboxData)
@with_auth
async def show_inbox(call: AccountCall, inbox_id: int) -> InboxData:
    """One inbox."""
    shown = policy_of(call).can_show(inbox_id)
    authorize(shown, visible=shown)
    for inbox in (await records_of(call)).inboxes:
        if inbox.id == inbox_id:
            return inbox_data(inbox)
    raise NotFound


@area.patch("/inboxes/<id:inbox_id>", InboxData)
@with_auth
async def update_inbox(call: AccountCall, inbox_id: int, body: InboxName) -> InboxData:
    """Rename an inbox."""
    authorize_to_manage(call, inbox_id)
    return inbox_data(await call.account.ask(UpdateInbox(call.principal, inbox_id, body.name)))


@area.get("/inboxes/<id:inbox_id>/members", InboxMembersData)
@with_auth
async def show_inbox_members(call: AccountCall, inbox_id: int) -> InboxMembersData:
    """Who works in the inbox; nobody means every agent."""
    members_are_shown = AccountPolicy(call.access, call.principal).can_see_users()
    authorize(members_are_shown, visible=policy_of(call).can_show(inbox_id))
    return InboxMembersData(user_ids=sorted(call.access.inbox_members.get(inbox_id, ())))


@area.put("/inboxes/<id:inbox_id>/members", InboxMembersData)
@with_auth
async def set_inbox_members(call: AccountCall, inbox_id: int, body: InboxMembers) -> InboxMembersData:
    """Choose who works in the inbox."""
    authorize_to_manage(call, inbox_id)
    user_ids = await call.account.ask(SetInboxMembers(call.principal, inbox_id, tuple(body.user_ids)))
    return InboxMembersData(user_ids=list(user_ids))
