"""What answers hold: the API's view of the records. Times are RFC 3339, and nothing secret is in any of them.

Messages are `actors.events.MessageData`, the same over HTTP and cable.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..actors.times import optional_rfc3339, rfc3339
from ..storage.records import Account, AccountUser, Contact, Conversation, Inbox, User


class Struct(msgspec.Struct, frozen=True, kw_only=True):
    """Base of answers."""


class UserData(Struct, frozen=True, kw_only=True):
    id: int
    email: str
    name: str


class MembershipData(Struct, frozen=True, kw_only=True):
    """An account, and what the caller is in it."""

    id: int
    name: str
    status: str
    role: str


class ProfileData(UserData, frozen=True, kw_only=True):
    accounts: list[MembershipData]


class SessionData(Struct, frozen=True, kw_only=True):
    """A new session. The token is shown here and never again."""

    token: str
    expires_at: str
    user: ProfileData


class AccountData(Struct, frozen=True, kw_only=True):
    id: int
    name: str
    status: str
    settings: dict[str, Any]
    created_at: str


class AccountUserData(Struct, frozen=True, kw_only=True):
    user_id: int
    name: str
    email: str
    role: str
    created_at: str


class InboxData(Struct, frozen=True, kw_only=True):
    """`identifier` is public: it names the inbox to visitors."""

    id: int
    name: str
    identifier: str
    created_at: str
    updated_at: str


class InboxMembersData(Struct, frozen=True, kw_only=True):
    """No members: the inbox is open to every agent of the account."""

    user_ids: list[int]


class ContactData(Struct, frozen=True, kw_only=True):
    id: int
    name: str
    email: str | None
    phone: str | None
    identifier: str | None
    blocked: bool
    custom_attributes: dict[str, Any]
    created_at: str
    updated_at: str


class VisitorData(Struct, frozen=True, kw_only=True):
    id: int
    name: str


class VisitorSessionData(Struct, frozen=True, kw_only=True):
    """What a visitor needs: its token, and where it works."""

    token: str
    expires_at: str
    account_id: int
    inbox_id: int
    contact: VisitorData


class ConversationData(Struct, frozen=True, kw_only=True):
    """A conversation. Visitors do not see priority, labels, custom attributes, and since when somebody waits."""

    id: int
    display_id: int
    inbox_id: int
    contact_id: int
    status: str
    assignee_id: int | None
    last_seq: int
    last_message_seq: int
    last_activity_at: str
    created_at: str
    updated_at: str
    snoozed_until: str | None
    priority: str | msgspec.UnsetType | None = msgspec.UNSET
    labels: list[str] | msgspec.UnsetType = msgspec.UNSET
    custom_attributes: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    waiting_since: str | msgspec.UnsetType | None = msgspec.UNSET


class ReadData(Struct, frozen=True, kw_only=True):
    seq: int


class HealthData(Struct, frozen=True, kw_only=True):
    status: str


def account_data(account: Account) -> AccountData:
    return AccountData(
        id=account.id,
        name=account.name,
        status=account.status,
        settings=account.settings,
        created_at=rfc3339(account.created_at),
    )


def account_user_data(member: AccountUser, user: User) -> AccountUserData:
    return AccountUserData(
        user_id=user.id, name=user.name, email=user.email, role=member.role, created_at=rfc3339(member.created_at)
    )


def inbox_data(inbox: Inbox) -> InboxData:
    return InboxData(
        id=inbox.id,
        name=inbox.name,
        identifier=inbox.identifier,
        created_at=rfc3339(inbox.created_at),
        updated_at=rfc3339(inbox.updated_at),
    )


def contact_data(contact: Contact) -> ContactData:
    return ContactData(
        id=contact.id,
        name=contact.name,
        email=contact.email,
        phone=contact.phone,
        identifier=contact.identifier,
        blocked=contact.blocked,
        custom_attributes=contact.custom_attributes,
        created_at=rfc3339(contact.created_at),
        updated_at=rfc3339(contact.updated_at),
    )


def conversation_data(conversation: Conversation, *, for_visitor: bool) -> ConversationData:
    data = ConversationData(
        id=conversation.id,
        display_id=conversation.display_id,
        inbox_id=conversation.inbox_id,
        contact_id=conversation.contact_id,
        status=conversation.status,
        assignee_id=conversation.assignee_id,
        last_seq=conversation.last_seq,
        last_message_seq=conversation.last_message_seq,
        last_activity_at=rfc3339(conversation.last_activity_at),
        created_at=rfc3339(conversation.created_at),
        updated_at=rfc3339(conversation.updated_at),
        snoozed_until=optional_rfc3339(conversation.snoozed_until),
    )
    if for_visitor:
        return data
    return msgspec.structs.replace(
        data,
        priority=conversation.priority,
        labels=conversation.labels,
        custom_attributes=conversation.custom_attributes,
        waiting_since=optional_rfc3339(conversation.waiting_since),
    )
