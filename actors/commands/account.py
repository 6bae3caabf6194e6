"""What can be asked of an account: its people, inboxes, contacts, and new conversations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET, UnsetType

from ..entities import Principal, Role, Status


@dataclass(frozen=True, slots=True)
class UpdateAccount:
    """Answer: the account's record."""

    by: Principal
    name: str | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class AddAccountUser:
    """Add a person to the account; a user with this e-mail is made where there is none. Answer: (AccountUser, User).

    Conflict where the person belongs to it already, or where another account made the user: then only `System` adds it.
    """

    by: Principal
    email: str
    name: str
    role: Role
    password_hash: str | None = field(default=None, repr=False)  # for a new user only


@dataclass(frozen=True, slots=True)
class UpdateAccountUser:
    """Answer: the AccountUser record. The last administrator stays one."""

    by: Principal
    user_id: int
    role: Role


@dataclass(frozen=True, slots=True)
class RemoveAccountUser:
    """Also leaves all inboxes. Answer: None. The last administrator stays."""

    by: Principal
    user_id: int


@dataclass(frozen=True, slots=True)
class CreateInbox:
    """Answer: the Inbox record."""

    by: Principal
    name: str


@dataclass(frozen=True, slots=True)
class UpdateInbox:
    """Answer: the Inbox record."""

    by: Principal
    inbox_id: int
    name: str


@dataclass(frozen=True, slots=True)
class SetInboxMembers:
    """Replace the members; none means: open to every agent. Answer: the sorted user ids."""

    by: Principal
    inbox_id: int
    user_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CreateContact:
    """Answer: the Contact record. Conflict where the e-mail or the identifier is taken."""

    by: Principal
    name: str
    email: str | None = None
    phone: str | None = None
    identifier: str | None = None
    custom_attributes: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class UpdateContact:
    """What is UNSET stays as it is. Answer: the Contact record. Blocking ends the contact's sessions."""

    by: Principal
    contact_id: int
    name: str | UnsetType = UNSET
    email: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET
    identifier: str | UnsetType | None = UNSET
    blocked: bool | UnsetType = UNSET
    custom_attributes: dict[str, Any] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class CreateConversation:
    """Number a new conversation (`display_id`) and write its first event. Answer: the Conversation record."""

    by: Principal
    inbox_id: int
    contact_id: int
    status: Status = Status.OPEN
    assignee_id: int | None = None
    labels: tuple[str, ...] = ()
    custom_attributes: dict[str, Any] = field(default_factory=dict[str, Any])
