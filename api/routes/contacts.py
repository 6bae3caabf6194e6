"""Contacts: the people who write in."""

from __future__ import annotations

from ...actors.commands.account import CreateContact, UpdateContact
from ...actors.policies.base import authorize
from ...actors.policies.contact import ContactPolicy
from ...engine.errors import NotFound
from ...storage.records import Contact
from ..answers import Page
from ..calls import AccountCall, with_auth
from ..cursors import cursor_of, key_of
from ..representations import ContactData, contact_data
from ..routing import Area
from ..schemas import ContactQuery, ContactUpdate, NewContact

area = Area("contacts")


def policy_of(call: AccountCall) -> ContactPolicy:
    return ContactPolicy(call.access, call.principal)


async def visible(call: AccountCall, contact_id: int) -> Contact:
    """The contact. Raises NotFound where there is none for this caller."""
    contact = await call.world.reads.contact(call.account_id, contact_id)
    if contact is None or not policy_of(call).can_show(contact):
        raise NotFound
    return contact


@area.get("/contacts", ContactData, listed=True)
@with_auth
async def list_contacts(call: AccountCall, query: ContactQuery) -> Page:
    """Find contacts."""
    authorize(policy_of(call).can_list())
    after = key_of(query.cursor, 1)[0] if query.cursor is not None else 0
    found = await call.world.reads.contacts(call.account_id, query=query.q, after=after, limit=query.limit + 1)
    page = found[: query.limit]
    return Page([contact_data(contact) for contact in page], cursor_of(page[-1].id) if len(found) > len(page) else None)


@area.post("/contacts", ContactData)
@with_auth
async def create_contact(call: AccountCall, body: NewContact) -> ContactData:
    """Make a contact."""
    authorize(policy_of(call).can_create())
    command = CreateContact(call.principal, body.name, body.email, body.phone, body.identifier, body.custom_attributes)
    return contact_data(await call.account.ask(command))


@area.get("/contacts/<id:contact_id>", ContactData)
@with_auth
async def show_contact(call: AccountCall, contact_id: int) -> ContactData:
    """One contact; a visitor sees itself."""
    return contact_data(await visible(call, contact_id))


@area.patch("/contacts/<id:contact_id>", ContactData)
@with_auth
async def update_contact(call: AccountCall, contact_id: int, body: ContactUpdate) -> ContactData:
    """Change or block a contact."""
    authorize(policy_of(call).can_update(await visible(call, contact_id)))
    command = UpdateContact(
        call.principal,
        contact_id,
        body.name,
        body.email,
        body.phone,
        body.identifier,
        body.blocked,
        body.custom_attributes,
    )
    return contact_data(await call.account.ask(command))
