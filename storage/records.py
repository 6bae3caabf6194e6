"""What the store keeps, one record per row.

All are structs whose fields are their columns, in their order. Rows of the log are written most: a batch of them goes
to the database as tuples of parameters. Times are milliseconds since 1970-01-01 UTC. The words in `status`, `role` and
the like are the domain's; the store keeps them and does not know what they mean.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

Millis: TypeAlias = int


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row of a log. Not for the collector: every actor remembers its latest messages, and they refer to nothing."""


class MessageRow(Row, frozen=True, array_like=True, gc=False):
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


class EventRow(Row, frozen=True, array_like=True, gc=False):
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


class AccountEventRow(Row, frozen=True, array_like=True, gc=False):
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
    waiting_since: Millis | None = None  # when the visitor wrote what nobody has answered yet
    reminded_at: Millis | None = None  # when members were reminded of it


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


class Job(Record, frozen=True, kw_only=True):
    """Work for later. Its state is one of `JobState`."""

    id: str
    account_id: int  # 0: nobody's, the engine's own
    queue: str
    kind: str  # which job it is
    args: str  # JSON
    run_at: Millis
    created_at: Millis
    state: str = "available"
    key: str | None = None  # of all jobs with one key, at most one runs at a time
    priority: int = 5  # 0 runs first, 9 last
    attempt: int = 0  # how often it was started; the one under way included
    max_attempts: int = 3
    losses: int = 0  # how often its worker went away without a word
    worker: str | None = None
    lease_until: Millis | None = None
    started_at: Millis | None = None
    finished_at: Millis | None = None
    duration: int | None = None  # milliseconds, of the last attempt
    errors: list[dict[str, Any]] = []  # the latest last: attempt, at, error
    unique_key: str | None = None  # no other job with this key is enqueued before `unique_until`
    unique_until: Millis | None = None
    unique_while_waiting: bool = False  # `unique_key` is given up when the job starts


class JobState:
    """What becomes of a job: scheduled -> available -> running -> completed, discarded or cancelled."""

    SCHEDULED = "scheduled"  # its time has not come: later, or again after a failure
    AVAILABLE = "available"
    RUNNING = "running"  # a worker has a lease on it
    COMPLETED = "completed"
    DISCARDED = "discarded"  # out of attempts, or given up by itself
    CANCELLED = "cancelled"

    WAITING = (SCHEDULED, AVAILABLE)
    FINISHED = (COMPLETED, DISCARDED, CANCELLED)


class JobQueueRow(Record, frozen=True, kw_only=True):
    """What was said of a queue by hand. A queue without a row runs without limits."""

    name: str
    paused: bool = False
    rate: float | None = None  # jobs a second, of all nodes together; None: no limit
    burst: float = 1.0
    tokens: float = 1.0  # what the bucket held at `refilled_at`
    refilled_at: Millis = 0


class Webhook(Record, frozen=True, kw_only=True):
    """Where an account's events are sent."""

    id: int
    account_id: int
    url: str
    secret: str
    created_at: Millis
    updated_at: Millis
    inbox_id: int | None = None  # None: the events of all inboxes, and the account's own
    events: list[str] = []  # types; empty: all
    include_private: bool = False  # private notes, and what else visitors do not see
    old_secret: str | None = None  # signs as well, until
    old_secret_until: Millis | None = None
    paused_at: Millis | None = None  # nothing is recorded or sent
    paused_reason: str | None = None


class WebhookDelivery(Record, frozen=True, kw_only=True):
    """One event on its way to one webhook, as it was when it happened. By webhook, ids rise in the order of events."""

    id: str
    account_id: int
    webhook_id: int
    event_type: str
    payload: str  # JSON
    created_at: Millis
    state: str = "waiting"  # waiting, delivered, failed
    next_attempt_at: Millis = 0
    finished_at: Millis | None = None
    attempts: list[dict[str, Any]] = []  # the latest last: at, status, duration (ms), reason


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
    Job: ("jobs", ("id",)),
    JobQueueRow: ("job_queues", ("name",)),
    Webhook: ("webhooks", ("id",)),
    WebhookDelivery: ("webhook_deliveries", ("id",)),
    Meta: ("meta", ("key",)),
}
