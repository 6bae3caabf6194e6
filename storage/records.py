"""What the store keeps, one record per row.

The two tables of the hot path are tuples in the order of their columns, so that a batch of them is a statement's
parameters as it is. The others are structs whose fields are their columns. Times are milliseconds since 1970-01-01
UTC. The words in `status`, `role` and the like are the domain's; the store keeps them and does not know what they
mean.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import msgspec

Millis: TypeAlias = int


class MessageRow(NamedTuple):
    conversation_id: int
    seq: int
    account_id: int
    inbox_id: int
    message_type: str
    content_type: str
    content: str | None
    content_attributes: str | None  # JSON
    private: bool
    sender_type: str
    sender_id: int | None
    sender_name: str | None
    client_id: str | None
    created_at: Millis
    edited_at: Millis | None = None
    deleted_at: Millis | None = None


class EventRow(NamedTuple):
    conversation_id: int
    seq: int
    account_id: int
    inbox_id: int
    type: str
    actor_type: str
    actor_id: int | None
    actor_name: str | None
    message_seq: int | None
    private: bool
    data: str  # JSON
    created_at: Millis


class AccountEventRow(NamedTuple):
    account_id: int
    seq: int
    type: str
    actor_type: str
    actor_id: int | None
    data: str  # JSON
    created_at: Millis


LogRow: TypeAlias = MessageRow | EventRow


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the records whose fields are the columns of `table`."""


class Account(Record, frozen=True, kw_only=True):
    id: int
    name: str
    created_at: Millis
    status: str = "active"
    settings: dict[str, Any] = {}
    last_seq: int = 0
    last_display_id: int = 0


class User(Record, frozen=True, kw_only=True):
    """A person. `account_id` is the account that made it, and chose its first password."""

    id: int
    account_id: int | None = None
    email: str
    name: str
    created_at: Millis
    password_hash: str | None = None


class AccountUser(Record, frozen=True, kw_only=True):
    account_id: int
    user_id: int
    role: str
    created_at: Millis


class Inbox(Record, frozen=True, kw_only=True):
    id: int
    account_id: int
    name: str
    identifier: str
    created_at: Millis
    updated_at: Millis


class InboxMember(Record, frozen=True, kw_only=True):
    account_id: int
    inbox_id: int
    user_id: int


class Contact(Record, frozen=True, kw_only=True):
    id: int
    account_id: int
    name: str
    created_at: Millis
    updated_at: Millis
    email: str | None = None
    phone: str | None = None
    identifier: str | None = None
    blocked: bool = False
    custom_attributes: dict[str, Any] = {}


class Conversation(Record, frozen=True, kw_only=True):
    id: int
    account_id: int
    inbox_id: int
    contact_id: int
    display_id: int
    last_activity_at: Millis
    created_at: Millis
    updated_at: Millis
    status: str = "open"
    priority: str | None = None
    assignee_id: int | None = None
    labels: list[str] = []
    custom_attributes: dict[str, Any] = {}
    snoozed_until: Millis | None = None
    last_seq: int = 0
    last_message_seq: int = 0
    deleted_at: Millis | None = None


class ReadCursor(Record, frozen=True, kw_only=True):
    account_id: int
    conversation_id: int
    reader_type: str
    reader_id: int
    seq: int
    updated_at: Millis


class Token(Record, frozen=True, kw_only=True):
    id: int
    hash: str
    kind: str
    created_at: Millis
    account_id: int | None = None
    user_id: int | None = None
    contact_id: int | None = None
    inbox_id: int | None = None
    expires_at: Millis | None = None


class Meta(Record, frozen=True, kw_only=True):
    """A fact about the database itself: its epoch, the demo account in it."""

    key: str
    value: str


#: Table and key columns of every record.
TABLES: dict[type[Record], tuple[str, tuple[str, ...]]] = {
    Account: ("accounts", ("id",)),
    User: ("users", ("id",)),
    AccountUser: ("account_users", ("account_id", "user_id")),
    Inbox: ("inboxes", ("id",)),
    InboxMember: ("inbox_members", ("inbox_id", "user_id")),
    Contact: ("contacts", ("id",)),
    Conversation: ("conversations", ("id",)),
    ReadCursor: ("read_cursors", ("conversation_id", "reader_type", "reader_id")),
    Token: ("tokens", ("id",)),
    Meta: ("meta", ("key",)),
}
