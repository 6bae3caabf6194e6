"""What one turn of a conversation decides, before it is durable. Next hop: `storage/group_commit`.

A draft numbers what happens, collects the rows, and keeps the answers until the commit. If the commit fails, the draft
and the state that it was made on are thrown away together.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..engine.errors import NotFound
from ..engine.mailbox import Envelope
from ..storage.records import EventRow, Job, MessageRow
from ..storage.writes import AmendMessage, Enqueue, EraseLog, Write
from .conversation_state import ConversationState
from .entities import Principal
from .events import (
    MESSAGE_CREATED,
    MESSAGE_UPDATED,
    NO_ATTRIBUTES,
    Event,
    conversation_stream,
    logged_event,
    message_event,
)
from .jobs.job import Args, BaseJob
from .jobs.lane import conversation_key
from .jobs.queue import new_job
from .webhooks.recording import recorded

_encode = msgspec.json.Encoder().encode


class Unread(Exception):
    """A command needs the log as the store has it. The actor waits for what is in flight, reads the message `seq` (if
    any) into the draft, and runs the command again; therefore this is raised before anything is decided."""

    def __init__(self, seq: int | None = None) -> None:
        super().__init__(seq)
        self.seq = seq


class Draft:
    """Numbered changes to one conversation."""

    __slots__ = (
        "answers", "batch", "changes", "ephemeral", "events", "fenced", "jobs", "loaded", "messages", "now", "old_seq",
        "published", "state", "timers", "writes",
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
        self.ephemeral: list[Event] | None = None
        self.timers: list[tuple[float, Any]] | None = None
        self.jobs: list[Job] | None = None
        #: Whether it must not be written where the log has moved on, although it adds nothing to the log.
        self.fenced = False
        #: Messages as the store has them; not None once the store has caught up with the turns before this one.
        self.loaded: dict[int, MessageRow | None] | None = None

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
        row = EventRow(
            state.id, seq, state.account_id, state.inbox_id, type, by.type, by.id, by.name, message_seq, private,
            _encode({**self._about(by), **data, "seq": seq}).decode(), self.now,
        )  # fmt: skip
        self.events.append(row)
        event = logged_event(row)
        self.published.append(event)
        return event

    def add_ephemeral(self, by: Principal, type: str, data: dict[str, Any], *, private: bool = False) -> None:
        """Tell subscribers something that has no place in the log."""
        if self.ephemeral is None:
            self.ephemeral = []
        stream = conversation_stream(self.state.id)
        self.ephemeral.append(Event(type, stream, None, self.now, {**self._about(by), **data}, private=private))

    def call_back(self, seconds: float, message: Any) -> None:
        """Mail this message to the actor in so many seconds."""
        if self.timers is None:
            self.timers = []
        self.timers.append((seconds, message))

    def _about(self, by: Principal) -> dict[str, Any]:
        state = self.state
        return {
            "conversation_id": state.id,
            "inbox_id": state.inbox_id,
            "by": {"type": by.type, "id": by.id, "name": by.name},
        }

    def change(self, **columns: Any) -> None:
        """Set columns of the conversation, in the state and in the store."""
        for name, value in columns.items():
            setattr(self.state, name, value)
        self.changes.update(columns)

    def write(self, write: Write) -> None:
        self.writes.append(write)

    def enqueue(
        self, job: type[BaseJob[Args]], args: Args, *, run_at: int | None = None, key: str | None = None, **options: Any
    ) -> Job:
        """Put work off until this is durable. The job is written together with what the turn decides, or not at all.

        Args:
            run_at: milliseconds; None: at once.
            key: default: this conversation's.
            options: as `new_job`.

        Raises:
            Invalid: the arguments are too large.
        """
        state = self.state
        key = conversation_key(state.id) if key is None else key
        new = new_job(job, args, now=self.now, account_id=state.account_id, key=key, run_at=run_at, **options)
        self.writes.append(Enqueue(new))
        if self.jobs is None:
            self.jobs = []
        self.jobs.append(new)
        return new

    def record_deliveries(self) -> None:
        """Write down what webhooks are sent of this turn. Called last, when nothing of it changes any more."""
        state = self.state
        found = recorded(state.access.webhooks, state.account_id, state.inbox_id, self.published, self.now)
        self.writes += [*found.writes, *map(Enqueue, found.jobs)]
        self.jobs = [*(self.jobs or ()), *found.jobs]

    # What is in the log already.

    def message(self, seq: int) -> MessageRow:
        """A message as it is now, whether it is in the store or was written in this turn.

        Raises:
            NotFound: there is no such message.
            Unread: it has to be read first.
        """
        if seq > self.old_seq:
            found = next((row for row in self.messages if row.seq == seq), None)
        elif self.loaded is None or seq not in self.loaded:
            raise Unread(seq)
        else:
            found = self.loaded[seq]
        if found is None:
            raise NotFound("There is no such message.")
        return found

    def amend(self, row: MessageRow) -> None:
        """Replace a message. What this turn wrote itself is replaced before anybody sees it."""
        if row.seq > self.old_seq:
            self.messages = [row if other.seq == row.seq else other for other in self.messages]
            self.published = [
                message_event(row) if event.seq == row.seq and event.type == MESSAGE_CREATED else event
                for event in self.published
            ]
        else:
            assert self.loaded is not None
            self.loaded[row.seq] = row
            self.writes.append(
                AmendMessage(row.account_id, row.conversation_id, row.seq, row.content, row.edited_at, row.deleted_at)
            )
        if row.deleted_at is not None:
            self._erase_updates(row.seq)
        if row.client_id is not None:
            self.state.sent.replace(row.client_id, row)

    def _erase_updates(self, message_seq: int) -> None:
        """The store erases what earlier turns wrote about a message; this turn's own events are not there yet."""
        for index, row in enumerate(self.events):
            if row.message_seq == message_seq and row.type == MESSAGE_UPDATED:
                old: dict[str, Any] = msgspec.json.decode(row.data)
                data = {**old, "content": None, "content_attributes": NO_ATTRIBUTES}
                erased = self.events[index] = msgspec.structs.replace(row, data=_encode(data).decode())
                self.published = [logged_event(erased) if event.seq == row.seq else event for event in self.published]

    def erase(self) -> None:
        """Remove the whole log so far.

        Raises:
            Unread: earlier turns are not in the store yet, so that it could not remove what they wrote.
        """
        if self.loaded is None:
            raise Unread
        self.messages.clear()
        self.events.clear()
        self.state.sent.clear()
        # Amendments to what is erased would only cost the store time.
        self.writes = [write for write in self.writes if not isinstance(write, AmendMessage)]
        self.writes.append(EraseLog(self.state.account_id, self.state.id, self.state.last_seq))
