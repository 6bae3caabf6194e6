"""Create and change contacts. Both are events of the account."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from ...engine.errors import Invalid, NotFound
from ...storage.contracts import Reads
from ...storage.records import Contact
from ...storage.writes import Insert, Update
from ..account_state import AccountState
from ..attributes import why_not
from ..checking import address, named
from ..events import CONTACT_CREATED, CONTACT_UPDATED
from ..limits import ChatLimits
from ..policies.account import AccountPolicy
from ..policies.base import authorize
from ..policies.contact import ContactPolicy
from ..times import rfc3339
from .account import CreateContact, UpdateContact


class CreateContactHandler:
    def __init__(self, reads: Reads, limits: ChatLimits) -> None:
        self._reads = reads
        self._limits = limits

    async def __call__(self, account: AccountState, command: CreateContact) -> Contact:
        visible = AccountPolicy(account.access, command.by).can_show()
        authorize(ContactPolicy(account.access, command.by).can_create(), visible=visible)
        values = _checked(
            {
                "name": command.name,
                "email": command.email,
                "phone": command.phone,
                "identifier": command.identifier,
                "custom_attributes": command.custom_attributes,
            },
            self._limits,
        )
        change = account.change(command.by)
        contact = Contact(
            id=(await self._reads.reserve(Contact))[0],
            account_id=account.id,
            created_at=change.now,
            updated_at=change.now,
            **values,
        )
        change.writes = [Insert(contact)]
        change.events = [(CONTACT_CREATED, {"contact": contact_fields(contact)})]
        await account.commit(change)
        return contact


class UpdateContactHandler:
    def __init__(self, reads: Reads, limits: ChatLimits) -> None:
        self._reads = reads
        self._limits = limits

    async def __call__(self, account: AccountState, command: UpdateContact) -> Contact:
        policy = ContactPolicy(account.access, command.by)
        contact = await self._reads.contact(account.id, command.contact_id)
        if contact is None:
            raise NotFound
        authorize(policy.can_update(contact), visible=policy.can_show(contact))
        names = ("name", "email", "phone", "identifier", "blocked", "custom_attributes")
        asked = {name: value for name in names if (value := getattr(command, name)) is not UNSET}
        values = {
            name: value for name, value in _checked(asked, self._limits).items() if getattr(contact, name) != value
        }
        if not values:
            return contact
        change = account.change(command.by)
        contact = msgspec.structs.replace(contact, **values, updated_at=change.now)
        where = {"account_id": account.id, "id": contact.id}
        change.writes = [Update(Contact, where, {**values, "updated_at": change.now})]
        change.events = [(CONTACT_UPDATED, {"contact": contact_fields(contact), "changed": sorted(values)})]
        await account.commit(change)
        if "blocked" in values:
            (account.access.blocked.add if contact.blocked else account.access.blocked.discard)(contact.id)
            account.rights_changed()
        return contact


def _checked(values: dict[str, Any], limits: ChatLimits) -> dict[str, Any]:
    """The values as they are kept. Raises Invalid."""
    kept = dict(values)
    if "name" in kept:
        kept["name"] = named(kept["name"], limits)
    if kept.get("email") is not None:
        kept["email"] = address(kept["email"], limits)
    for field in ("phone", "identifier"):
        if kept.get(field) is not None and not 1 <= len(kept[field]) <= limits.name:
            raise Invalid(fields={field: f"Must have 1 to {limits.name} characters."})
    if "custom_attributes" in kept:
        reason = why_not(kept["custom_attributes"], limits.custom_attributes)
        if reason is not None:
            raise Invalid(fields={"custom_attributes": reason})
    return kept


def contact_fields(contact: Contact) -> dict[str, Any]:
    """A contact as members see it in events."""
    return {
        "id": contact.id,
        "name": contact.name,
        "email": contact.email,
        "phone": contact.phone,
        "identifier": contact.identifier,
        "blocked": contact.blocked,
        "custom_attributes": contact.custom_attributes,
        "created_at": rfc3339(contact.created_at),
        "updated_at": rfc3339(contact.updated_at),
    }
