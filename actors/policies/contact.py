"""Who may see and change contacts."""

from __future__ import annotations

from typing import Protocol

from ..entities import Role, Visitor
from .base import BasePolicy


class ContactFacts(Protocol):
    """What the policy needs to know of a contact."""

    @property
    def id(self) -> int: ...
    @property
    def account_id(self) -> int: ...


class ContactPolicy(BasePolicy):
    """Every member sees the account's contacts, agents and administrators change them, administrators delete them. A
    visitor sees itself."""

    def can_list(self) -> bool:
        return self.is_system or self.role is not None

    def can_show(self, contact: ContactFacts) -> bool:
        if contact.account_id != self.access.account_id:
            return False
        if isinstance(self.principal, Visitor):
            return self.access.admits(self.principal) and self.principal.contact_id == contact.id
        return self.can_list()

    def can_create(self) -> bool:
        return self.is_system or self.role in (Role.ADMINISTRATOR, Role.AGENT)

    def can_update(self, contact: ContactFacts) -> bool:
        return self.can_create() and self.can_show(contact)

    def can_delete(self, contact: ContactFacts) -> bool:
        return self.is_administrator and self.can_show(contact)
