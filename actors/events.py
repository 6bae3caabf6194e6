"""What happened, and how each audience sees it. In: decisions of actors, or rows of the log. Next hop: `engine/hub`.

An event has one projection per audience: members see everything, visitors never see private events. A projection is
encoded once per encoding, however many subscribers there are.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeAlias

import msgspec

from ..storage.records import AccountEventRow, EventRow, LogRow, MessageRow
from .times import optional_rfc3339, rfc3339

Audience: TypeAlias = Literal["member", "visitor"]
Encoding: TypeAlias = Literal["json", "msgpack"]

MESSAGE_CREATED = "message.created"
MESSAGE_UPDATED = "message.updated"
MESSAGE_DELETED = "message.deleted"
CONVERSATION_CREATED = "conversation.created"
CONVERSATION_UPDATED = "conversation.updated"
STATUS_CHANGED = "conversation.status_changed"
ASSIGNED = "conversation.assigned"
LABELS_CHANGED = "conversation.labels_changed"
READ = "conversation.read"
CONVERSATION_DELETED = "conversation.deleted"
TYPING_ON = "conversation.typing_on"
TYPING_OFF = "conversation.typing_off"
PRESENCE_CHANGED = "presence.changed"
CONTACT_CREATED = "contact.created"
CONTACT_UPDATED = "contact.updated"

#: What a visitor does not see of events that it does see.
_HIDDEN_FROM_VISITORS: dict[str, frozenset[str]] = {
    CONVERSATION_CREATED: frozenset({"labels", "priority", "custom_attributes"}),
}

_json = msgspec.json.Encoder().encode
_msgpack = msgspec.msgpack.Encoder().encode
_from_json = msgspec.json.Decoder().decode


class Sender(msgspec.Struct, frozen=True, gc=False):
    type: str
    id: int | None
    name: str | None


class MessageData(msgspec.Struct, frozen=True, gc=False):
    """A message on the wire. `seq` is its identity within the conversation."""

    conversation_id: int
    seq: int
    inbox_id: int
    client_id: str | None
    message_type: str
    content_type: str
    content: str | None
    content_attributes: msgspec.Raw | dict[str, Any]
    private: bool
    sender: Sender
    created_at: str
    edited_at: str | None = None
    deleted_at: str | None = None


NO_ATTRIBUTES = msgspec.Raw(b"{}")


def message_data(row: MessageRow) -> MessageData:
    attributes = row.content_attributes
    return MessageData(
        row.conversation_id,
        row.seq,
        row.inbox_id,
        row.client_id,
        row.message_type,
        row.content_type,
        row.content,
        NO_ATTRIBUTES if attributes is None else msgspec.Raw(attributes.encode()),
        row.private,
        Sender(row.sender_type, row.sender_id, row.sender_name),
        rfc3339(row.created_at),
        optional_rfc3339(row.edited_at),
        optional_rfc3339(row.deleted_at),
    )


class Event(msgspec.Struct, eq=False, gc=False):
    """One thing that happened. `seq` is None where it is ephemeral. Not for the collector: it refers to nothing that
    could refer to it.
    """

    type: str
    stream: str
    seq: int | None
    at: int  # milliseconds
    data: Any
    private: bool = False
    _encoded: dict[tuple[str, str], bytes] | None = None

    def encoded(self, encoding: Encoding, audience: Audience) -> bytes:
        """`{"type": ..., "data": ...}` as this audience sees it, made at the first call."""
        key = (encoding, audience if self.type in _HIDDEN_FROM_VISITORS else "member")
        if self._encoded is None:
            self._encoded = {}
        found = self._encoded.get(key)
        if found is None:
            found = self._encoded[key] = self._encode(*key)
        return found

    def _encode(self, encoding: str, audience: str) -> bytes:
        data = self.data
        if audience == "visitor":
            hidden = _HIDDEN_FROM_VISITORS[self.type]
            data = {name: value for name, value in _from_json(_json(data)).items() if name not in hidden}
        if encoding == "json":
            return _opening(self.type) + _json(data) + b"}"
        # Raw JSON inside the data has no meaning in msgpack: go through plain objects.
        return _msgpack({"type": self.type, "data": _from_json(_json(data))})

    def __repr__(self) -> str:
        return f"<{self.type} {self.stream}#{self.seq}>"


@cache
def _opening(type: str) -> bytes:
    """There are some twenty types."""
    return b'{"type":"%b","data":' % type.encode()


def conversation_stream(conversation_id: int) -> str:
    return f"conversation:{conversation_id}"


def account_stream(account_id: int) -> str:
    return f"account:{account_id}"


def inbox_topic(inbox_id: int) -> str:
    """The topic of everything that happens in an inbox's conversations."""
    return f"inbox:{inbox_id}"


def message_event(row: MessageRow) -> Event:
    """The row of a message as the event of its creation."""
    stream = conversation_stream(row.conversation_id)
    return Event(MESSAGE_CREATED, stream, row.seq, row.created_at, message_data(row), private=row.private)


def event_of(row: LogRow) -> Event:
    """A row of the conversation's log as the event that subscribers saw or missed."""
    if isinstance(row, MessageRow):
        return message_event(row)
    return logged_event(row)


def logged_event(row: EventRow) -> Event:
    stream = conversation_stream(row.conversation_id)
    return Event(row.type, stream, row.seq, row.created_at, msgspec.Raw(row.data.encode()), private=row.private)


def account_event_of(row: AccountEventRow) -> Event:
    data = msgspec.Raw(row.data.encode())
    return Event(row.type, account_stream(row.account_id), row.seq, row.created_at, data, private=True)
