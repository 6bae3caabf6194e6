"""What requests may hold: bodies and query strings as typed structs, checked before any handler runs.

An unknown field is an error, because it is most likely a misspelt one. Lengths that can be set come from `ChatLimits`
and are checked by `validation.py`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from ..actors.entities import ContentType, Priority, Role, Status

MAX_ID = 2**63 - 1

Id = Annotated[int, Meta(ge=1, le=MAX_ID)]
Seq = Annotated[int, Meta(ge=0, le=MAX_ID)]
PageSize = Annotated[int, Meta(ge=1, le=100)]
Instant = Annotated[datetime, Meta(tz=True)]
Name = Annotated[str, Meta(min_length=1)]
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
Phone = Annotated[str, Meta(max_length=32, pattern=r"^\+?[0-9 ()./-]+$")]
Identifier = Annotated[str, Meta(min_length=1, max_length=255)]
ClientId = Annotated[str, Meta(min_length=1)]
Text = Annotated[str, Meta(min_length=1, max_length=255)]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]
NewPassword = Annotated[str, Meta(min_length=8, max_length=1024)]


class Body(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of request bodies."""

    #: Fields whose size has a limit that can be set: the name of the limit in `ChatLimits`.
    sized: ClassVar[dict[str, str]] = {}


class Query(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of query strings."""


class PageQuery(Query, frozen=True, kw_only=True):
    limit: PageSize = 25
    cursor: str | None = None


# Sessions and people


class SignIn(Body, frozen=True, kw_only=True):
    email: Email
    password: Password


class AccountUpdate(Body, frozen=True, kw_only=True):
    sized = {"name": "name", "settings": "custom_attributes"}

    name: Name | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET


class NewAccountUser(Body, frozen=True, kw_only=True):
    """`password` is used where this e-mail has no user yet; a known user keeps its own."""

    sized = {"name": "name"}

    email: Email
    name: Name
    role: Role
    password: NewPassword | None = None


class AccountUserUpdate(Body, frozen=True, kw_only=True):
    role: Role


# Inboxes and contacts


class InboxName(Body, frozen=True, kw_only=True):
    sized = {"name": "name"}

    name: Name


class InboxMembers(Body, frozen=True, kw_only=True):
    user_ids: Annotated[list[Id], Meta(max_length=10_000)]


class ContactQuery(PageQuery, frozen=True, kw_only=True):
    """`q` is a part of the name, e-mail, phone or identifier."""

    q: Annotated[str, Meta(max_length=255)] | None = None


class NewContact(Body, frozen=True, kw_only=True):
    sized = {"name": "name", "custom_attributes": "custom_attributes"}

    name: Name
    email: Email | None = None
    phone: Phone | None = None
    identifier: Identifier | None = None
    custom_attributes: dict[str, Any] = {}


class ContactUpdate(Body, frozen=True, kw_only=True):
    sized = {"name": "name", "custom_attributes": "custom_attributes"}

    name: Name | UnsetType = UNSET
    email: Email | UnsetType | None = UNSET
    phone: Phone | UnsetType | None = UNSET
    identifier: Identifier | UnsetType | None = UNSET
    blocked: bool | UnsetType = UNSET
    custom_attributes: dict[str, Any] | UnsetType = UNSET


class NewVisitorSession(Body, frozen=True, kw_only=True):
    """What visitors say of themselves is not verified: `email` never finds or claims a contact."""

    sized = {"name": "name", "custom_attributes": "custom_attributes"}

    name: Name | None = None
    email: Email | None = None
    phone: Phone | None = None
    custom_attributes: dict[str, Any] = {}


# Conversations


class ConversationQuery(PageQuery, frozen=True, kw_only=True):
    """The latest activity first. `assignee_id` is a user's id, `me` or `none`; of several labels, all are needed."""

    status: Status | None = None
    inbox_id: Id | None = None
    assignee_id: Annotated[str, Meta(pattern=r"^(me|none|[1-9][0-9]{0,17})$")] | None = None
    labels: Annotated[list[str], Meta(max_length=50)] = []
    updated_since: Instant | None = None


class NewConversation(Body, frozen=True, kw_only=True):
    """A visitor leaves out inbox and contact: they are its own."""

    sized = {"labels": "labels", "custom_attributes": "custom_attributes"}

    inbox_id: Id | None = None
    contact_id: Id | None = None
    status: Status = Status.OPEN
    assignee_id: Id | None = None
    labels: list[str] = []
    custom_attributes: dict[str, Any] = {}


class ConversationUpdate(Body, frozen=True, kw_only=True):
    """What is left out stays as it is; null clears."""

    sized = {"labels": "labels", "custom_attributes": "custom_attributes"}

    status: Status | UnsetType = UNSET
    assignee_id: Id | UnsetType | None = UNSET
    priority: Priority | UnsetType | None = UNSET
    labels: list[str] | UnsetType = UNSET
    custom_attributes: dict[str, Any] | UnsetType = UNSET
    snoozed_until: Instant | UnsetType | None = UNSET


class ReadUpTo(Body, frozen=True, kw_only=True):
    seq: Seq


class Typing(Body, frozen=True, kw_only=True):
    on: bool
    private: bool = False


# Messages


class MessageQuery(Query, frozen=True, kw_only=True):
    """The first messages after `after`, or the last ones before `before` or the end; always in the order of `seq`."""

    after: Seq | None = None
    before: Seq | None = None
    limit: PageSize = 50
    cursor: str | None = None


class NewMessage(Body, frozen=True, kw_only=True):
    """A repeated `client_id` gives the first result again and stores nothing."""

    sized = {"content": "content", "client_id": "client_id", "content_attributes": "content_attributes"}

    content: str
    client_id: ClientId | None = None
    private: bool = False
    content_type: ContentType = ContentType.TEXT
    content_attributes: dict[str, Any] | None = None


class MessageEdit(Body, frozen=True, kw_only=True):
    sized = {"content": "content"}

    content: str


# Jobs


class JobQuery(PageQuery, frozen=True, kw_only=True):
    """The latest first. `key` is that of an actor, as `conversation:42`, or any other."""

    state: Literal["scheduled", "available", "running", "completed", "discarded", "cancelled"] | None = None
    queue: Text | None = None
    kind: Text | None = None
    key: Text | None = None


# Webhooks

WebhookEvent = Literal[
    "message.created",
    "message.updated",
    "message.deleted",
    "conversation.created",
    "conversation.updated",
    "conversation.status_changed",
    "conversation.assigned",
    "conversation.labels_changed",
    "conversation.read",
    "conversation.deleted",
    "contact.created",
    "contact.updated",
]
WebhookEvents = Annotated[list[WebhookEvent], Meta(max_length=100)]


class NewWebhook(Body, frozen=True, kw_only=True):
    """No `events`: all of them. No `inbox_id`: the events of all inboxes, and the account's own."""

    url: Name
    events: WebhookEvents = []
    inbox_id: Id | None = None
    include_private: bool = False


class WebhookUpdate(Body, frozen=True, kw_only=True):
    url: Name | UnsetType = UNSET
    events: WebhookEvents | UnsetType = UNSET
    inbox_id: Id | UnsetType | None = UNSET
    include_private: bool | UnsetType = UNSET


class WebhookPause(Body, frozen=True, kw_only=True):
    reason: Text = "Paused by hand."


class DeliveryQuery(PageQuery, frozen=True, kw_only=True):
    """The latest first."""

    state: Literal["waiting", "delivered", "failed"] | None = None
