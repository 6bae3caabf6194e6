"""What one turn of a conversation decides, before it is durable. Next hop: `storage/group_commit`.

A draft numbers what happens, collects the rows, and keeps the answers until the commit. If the commit fails, the draft and
the state that it was made on are thrown away together.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..engine.mailbox import Envelope
from ..storage.records import EventRow, MessageRow
from ..storage.writes import Write
from .conversation_state import ConversationState
from .entities import Principal
from .events import Event, logged_event, message_event

_encode = msgspec.json.Encoder().encode


class Draft:
    """Numbered changes to one conversation."""

    __slots__ = (
        "answers", "batch", "changes", "ephemeral", "events", "messages", "now", "old_seq", "published", "state", "writes",
    )  # fmt: skip

    def __init__(self, state: ConversationState, batch: list[Envelope], now: int) -> None:
        self.state = state
        self.batch = batch
        self.now = now
        self.old_seq = state.last_seq
        self.messages: list[MessageRow] = []
        self.events: list[EventRow] = []
        self.published: list[Event] = []
        self.changes: dict[str, Any] = {}
        self.writes: list[Write] = []
        self.answers: list[tuple[Envelope, Any]] = []

    @property
    def empty(self) -> bool:
        return not (self.published or self.writes)

    def add_message(
        self,
        by: Principal,
        message_type: str,
        content: str,
        *,
        content_type: str = "text",
        content_attributes: str | None = None,
        private: bool = False,
        client_id: str | None = None,
    ) -> MessageRow:
        """Number a message and put it at the end of the log."""
        state = self.state
        state.last_seq = seq = state.last_seq + 1
        row = MessageRow(
            state.id, seq, state.account_id, state.inbox_id, message_type, content_type, content, content_attributes,
            private, by.type, by.id, by.name, client_id, self.now,
        )  # fmt: skip
        self.messages.append(row)
        self.published.append(message_event(row))
        state.last_message_seq = seq
        state.last_activity_at = self.now
        return row

    def add_event(
        self, by: Principal, type: str, data: dict[str, Any], *, private: bool = False, message_seq: int | None = None
    ) -> Event:
        """Number a change and put it at the end of the log."""
        state = self.state
        state.last_seq = seq = state.last_seq + 1
        full = {
            "conversation_id": state.id,
            "seq": seq,
            "inbox_id": state.inbox_id,
            **data,
            "by": {"type": by.type, "id": by.id, "name": by.name},
        }
        row = EventRow(
            state.id, seq, state.account_id, state.inbox_id, type, by.type, by.id, by.name, message_seq, private,
            _encode(full).decode(), self.now,
        )  # fmt: skip
        self.events.append(row)
        event = logged_event(row)
        self.published.append(event)
        return event

    def change(self, **columns: Any) -> None:
        """Set columns of the conversation, in the state and in the store."""
        for name, value in columns.items():
            setattr(self.state, name, value)
        self.changes.update(columns)

    def write(self, write: Write) -> None:
        self.writes.append(write)
