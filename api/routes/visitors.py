"""Visitors come in here: whoever knows an inbox's public identifier gets a contact of its own."""

from __future__ import annotations

from typing import Any

from ...actors.commands.account import CreateContact
from ...actors.entities import System, Visitor
from ...engine.errors import Malformed, NotFound, Unauthenticated
from ...storage.records import Contact, Inbox
from ..answers import Answer
from ..calls import Call, without_auth
from ..rate_limits import network_of
from ..representations import VisitorData, VisitorSessionData
from ..routing import Area
from ..schemas import NewVisitorSession
from ..tokens import Issued, issue_to_contact, renew

area = Area("visitors")

#: The attribute for an e-mail that nobody has verified. It must not become the contact's e-mail: that would let a
#: stranger pass for its owner, or take the address before the owner comes.
CLAIMED_EMAIL = "claimed_email"
NAMELESS = "Visitor"


@area.post("/inboxes/by-identifier/<string:identifier>/visitor_sessions", VisitorSessionData)
@without_auth
async def start_visitor_session(call: Call, identifier: str, body: NewVisitorSession) -> Answer:
    """Start a visitor's session, as a new contact; with the visitor's own token, go on as the same one (200)."""
    await call.api.visitor_sessions.admit(network_of(call.address))
    inbox = await call.world.reads.inbox_by_identifier(identifier)
    access = await call.api.authenticator.access_of(inbox.account_id) if inbox is not None else None
    if inbox is None or access is None or not access.active:
        raise NotFound
    returning = await returning_visitor(call, inbox)
    if returning is not None:
        contact, issued = returning
        return Answer(session_data(inbox, contact, issued), 200)
    command = CreateContact(
        System(inbox.account_id),
        name=body.name or NAMELESS,
        phone=body.phone,
        custom_attributes=attributes_of(body),
    )
    contact = await call.api.engine.account(inbox.account_id).ask(command)
    issued = await issue_to_contact(call.api, inbox.account_id, contact.id, inbox.id)
    return Answer(session_data(inbox, contact, issued), 201)


async def returning_visitor(call: Call, inbox: Inbox) -> tuple[Contact, Issued] | None:
    """The contact whose valid token of this inbox the request carries, its token renewed; None for anybody else."""
    secret = call.secret
    try:
        identity = await call.api.authenticator.identify(secret, None)
        token = await call.api.authenticator.token(secret)
    except (Unauthenticated, Malformed):
        return None
    visitor = identity.principal
    if secret is None or not isinstance(visitor, Visitor) or visitor.inbox_id != inbox.id:
        return None
    contact = await call.world.reads.contact(visitor.account_id, visitor.contact_id)
    return (contact, await renew(call.api, token, secret)) if contact is not None else None


def attributes_of(body: NewVisitorSession) -> dict[str, Any]:
    claimed = {CLAIMED_EMAIL: body.email} if body.email is not None else {}
    return {**body.custom_attributes, **claimed}


def session_data(inbox: Inbox, contact: Contact, issued: Issued) -> VisitorSessionData:
    return VisitorSessionData(
        token=issued.secret,
        expires_at=issued.expires_at,
        account_id=inbox.account_id,
        inbox_id=inbox.id,
        contact=VisitorData(id=contact.id, name=contact.name),
    )
