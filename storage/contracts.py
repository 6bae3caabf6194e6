"""What every store promises. SQLite, PostgreSQL and memory pass the same tests of it (`tests/storage`).

A read returns what was durable when it began, and never waits behind a commit. Every method that touches an account's
data takes the account's id first and finds nothing of another account.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .group_commit import Committer
from .job_contract import JobStore
from .records import (
    Account,
    AccountEventRow,
    AccountUser,
    Contact,
    Conversation,
    EventRow,
    Inbox,
    InboxMember,
    LogRow,
    MessageRow,
    ReadCursor,
    Record,
    Token,
    User,
    Webhook,
)
from .writes import Unit

__all__ = ["AccountEventRow", "AccountRecords", "EventRow", "Journal", "LogRow", "MessageRow", "Reads", "Store"]


@dataclass(frozen=True, slots=True)
class AccountRecords:
    """What an account's actor and the policies need to know: everything but its contacts and conversations."""

    account: Account
    users: Mapping[int, User]
    members: Sequence[AccountUser]
    inboxes: Sequence[Inbox]
    inbox_members: Sequence[InboxMember]
    blocked_contacts: Collection[int] = ()
    webhooks: Sequence[Webhook] = ()


@dataclass(frozen=True, slots=True)
class ConversationRecords:
    """What a conversation's actor needs to start."""

    conversation: Conversation
    contact: Contact
    cursors: Sequence[ReadCursor]


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Which conversations a list shows. `inbox_ids` is the policy's scope: None means all inboxes."""

    inbox_ids: Collection[int] | None = None
    contact_id: int | None = None
    status: str | None = None
    assignee_id: int | None = None
    unassigned: bool = False
    labels: Sequence[str] = field(default=())  # all of them
    updated_since: int | None = None  # milliseconds; at or after it


class Journal(Protocol):
    """Where units of work go; see `group_commit.GroupCommit`."""

    def submit(self, unit: Unit) -> None:
        """Hand over a unit; its `committed` or `failed` is called later. Never waits."""
        ...

    async def write(self, unit: Unit) -> None:
        """Submit a unit and wait until it is durable."""
        ...

    async def published(self) -> None:
        """Wait until everything that is durable now has been handed to its actors' callbacks."""
        ...


class Reads(Protocol):
    """Everything that is read from a store. Lists are keyset-paged: `after` is the last key of the page before.

    Raises (each method):
        Unavailable: the store cannot be reached now.
        NotFound: a number is beyond 64 bits, where nothing is.
    """

    async def ping(self) -> None:
        """Answers when the store does."""
        ...

    async def epoch(self) -> str:
        """The store's generation: another one after a backup was restored."""
        ...

    async def meta(self, key: str) -> str | None:
        """A fact about the database itself."""
        ...

    async def reserve(self, kind: type[Record], count: int = 1) -> range:
        """Fresh ids for `count` records, consecutive; one that a record ever had is never given again.

        Raises:
            ValueError: `count` is less than 1, or records of this kind have no id.
        """
        ...

    # Accounts and people.

    async def account(self, account_id: int) -> AccountRecords | None: ...

    async def user(self, user_id: int) -> User | None: ...

    async def user_by_email(self, email: str) -> User | None: ...

    async def memberships(self, user_id: int) -> Sequence[AccountUser]: ...

    async def token(self, digest: str) -> Token | None: ...

    async def tokens_of(self, *, user_id: int | None = None, contact_id: int | None = None) -> Sequence[Token]: ...

    async def live_tokens(self, token_ids: Collection[int]) -> Collection[int]:
        """Those of these tokens that are not deleted, each once; one that expired is still there."""
        ...

    async def inbox_by_identifier(self, identifier: str) -> Inbox | None: ...

    async def contact(self, account_id: int, contact_id: int) -> Contact | None: ...

    async def contact_by_identifier(self, account_id: int, identifier: str) -> Contact | None: ...

    async def contacts(
        self, account_id: int, *, query: str | None = None, after: int = 0, limit: int = 25
    ) -> Sequence[Contact]:
        """By id; `query` is a part of the name, e-mail, phone or identifier."""
        ...

    # Conversations.

    async def conversation(self, account_id: int, conversation_id: int) -> ConversationRecords | None: ...

    async def conversations(
        self, account_id: int, which: ConversationFilter, *, before: tuple[int, int] | None = None, limit: int = 25
    ) -> Sequence[Conversation]:
        """The latest activity first; `before` is (last_activity_at, id) of the last one of the page before."""
        ...

    async def messages(
        self,
        account_id: int,
        conversation_id: int,
        *,
        after: int | None = None,
        before: int | None = None,
        include_private: bool = True,
        limit: int = 50,
    ) -> Sequence[MessageRow]:
        """By seq, ascending: the first ones after `after`, or else the last ones before `before` or the end.

        Without `include_private`: as the visitor sees them, who gets neither private notes nor activity messages.
        """
        ...

    async def message(self, account_id: int, conversation_id: int, seq: int) -> MessageRow | None: ...

    async def sent(self, account_id: int, conversation_id: int, client_ids: Collection[str]) -> Sequence[MessageRow]:
        """The messages that were stored under these client ids."""
        ...

    async def log(self, account_id: int, conversation_id: int, *, after: int, limit: int) -> Sequence[LogRow]:
        """The ordered union of messages and events after a seq, as it was at one instant."""
        ...

    async def last_seqs(self, account_id: int, conversation_ids: Collection[int]) -> Mapping[int, int]:
        """The last seq of each of these conversations, deleted ones included; those that do not exist are left out."""
        ...

    async def last_seq_before(self, account_id: int, conversation_id: int, since: int) -> int:
        """The last seq of a conversation's log before the instant `since` (milliseconds); 0 where there is none."""
        ...

    async def changed(
        self, account_id: int, inbox_ids: Collection[int] | None, *, since: int, limit: int
    ) -> Sequence[Conversation]:
        """The conversations, deleted ones included, of these inboxes (None: all) that changed at or after `since`.

        `since` is in milliseconds; the earliest change comes first.
        """
        ...

    async def account_log(
        self, account_id: int, *, after: int | None = None, since: int | None = None, limit: int = 1000
    ) -> Sequence[AccountEventRow]:
        """The account's own events after a seq, or at and after an instant (milliseconds), by seq."""
        ...


class Store(Reads, JobStore, Committer, Protocol):
    """A whole store: what `open.open_store` opens."""

    async def new_epoch(self) -> str:
        """Begin another generation, after a backup was restored; returns its name."""
        ...
