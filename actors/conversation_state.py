"""A conversation in memory: what its actor decides on."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

from ..storage.contracts import ConversationRecords
from ..storage.records import Conversation, MessageRow
from .access import AccountAccess
from .entities import Principal
from .flood import TokenBucket
from .remembered import Remembered


@dataclass(slots=True)
class Typist:
    """Somebody who is typing now. `until` is an instant of trio's clock."""

    principal: Principal
    private: bool
    until: float


class ConversationState:
    """Changed only by the turns of one actor."""

    __slots__ = (
        "access", "account_id", "assignee_id", "buckets", "contact_id", "contact_name", "created_at", "cursors",
        "custom_attributes", "deleted_at", "display_id", "id", "inbox_id", "labels", "last_activity_at",
        "last_message_seq", "last_seq", "priority", "reminded_at", "sent", "snoozed_until", "status", "typing",
        "typing_timers", "updated_at", "waiting_since",
    )  # fmt: skip

    def __init__(self, records: ConversationRecords, access: AccountAccess) -> None:
        row = records.conversation
        self.id = row.id
        self.account_id = row.account_id
        self.inbox_id = row.inbox_id
        self.contact_id = row.contact_id
        self.contact_name = records.contact.name
        self.display_id = row.display_id
        self.status = row.status
        self.priority = row.priority
        self.assignee_id = row.assignee_id
        self.labels = list(row.labels)
        self.custom_attributes: dict[str, Any] = dict(row.custom_attributes)
        self.snoozed_until = row.snoozed_until
        self.last_seq = row.last_seq
        self.last_message_seq = row.last_message_seq
        self.last_activity_at = row.last_activity_at
        self.created_at = row.created_at
        self.updated_at = row.updated_at
        self.deleted_at = row.deleted_at
        self.waiting_since = row.waiting_since
        self.reminded_at = row.reminded_at
        self.access = access
        self.cursors: dict[tuple[str, int], int] = {
            (cursor.reader_type, cursor.reader_id): cursor.seq for cursor in records.cursors
        }
        self.sent = Remembered()
        self.buckets: dict[str, TokenBucket] = {}  # by type of sender and what it does
        self.typing: dict[tuple[str, int | None], Typist] = {}
        self.typing_timers: set[tuple[str, int | None]] = set()  # one each, however often somebody begins and stops

    def copy(self) -> ConversationState:
        """What is as it is now, whatever commands do to this one. (They may go on using up what a sender may send.)"""
        other = copy(self)
        other.sent, other.cursors = self.sent.copy(), dict(self.cursors)
        other.typing, other.typing_timers = dict(self.typing), set(self.typing_timers)
        return other

    def remember(self, row: MessageRow, bound: int) -> None:
        """Keep a message for senders that repeat it."""
        if row.client_id is not None:
            self.sent.add(row.client_id, row, bound)

    def record(self) -> Conversation:
        """The conversation's row as it is after what has been decided."""
        return Conversation(
            id=self.id,
            account_id=self.account_id,
            inbox_id=self.inbox_id,
            contact_id=self.contact_id,
            display_id=self.display_id,
            last_activity_at=self.last_activity_at,
            created_at=self.created_at,
            updated_at=self.updated_at,
            status=self.status,
            priority=self.priority,
            assignee_id=self.assignee_id,
            labels=list(self.labels),
            custom_attributes=self.custom_attributes,
            snoozed_until=self.snoozed_until,
            last_seq=self.last_seq,
            last_message_seq=self.last_message_seq,
            deleted_at=self.deleted_at,
            waiting_since=self.waiting_since,
            reminded_at=self.reminded_at,
        )
