"""Edit or delete a message that was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from ...engine.errors import Conflict, NotFound
from ...storage.records import MessageRow
from ..conversation_state import ConversationState
from ..draft import Draft
from ..entities import Principal
from ..events import MESSAGE_DELETED, MESSAGE_UPDATED, message_data
from ..limits import ChatLimits
from ..policies.message import MessagePolicy
from ..times import rfc3339
from .brake import Brake
from .refusing import check_content, refuse


@dataclass(frozen=True, slots=True)
class EditMessage:
    """Answer: the message's row."""

    by: Principal
    seq: int
    content: str
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteMessage:
    """Erase the text, keep the place. Answer: the message's row, without content."""

    by: Principal
    seq: int
    client_id: str | None = None


class EditMessageHandler:
    def __init__(self, limits: ChatLimits) -> None:
        self._limits = limits
        self._brake = Brake(limits)

    def __call__(self, state: ConversationState, command: EditMessage, draft: Draft) -> MessageRow:
        policy, row = _find(state, command, draft)
        if not policy.can_edit(state, row):
            refuse(policy, state)
        if row.deleted_at is not None:
            raise Conflict("This message was deleted.")
        check_content(command.content, self._limits)
        if command.content == row.content:
            return row
        self._brake(state, command.by)
        row = msgspec.structs.replace(row, content=command.content, edited_at=draft.now)
        draft.amend(row)
        draft.add_event(command.by, MESSAGE_UPDATED, _updated(row), private=row.private, message_seq=row.seq)
        return row


class DeleteMessageHandler:
    def __init__(self, limits: ChatLimits) -> None:
        self._brake = Brake(limits)

    def __call__(self, state: ConversationState, command: DeleteMessage, draft: Draft) -> MessageRow:
        policy, row = _find(state, command, draft)
        if not policy.can_delete_message(state, row):
            refuse(policy, state)
        if row.deleted_at is not None:
            return row
        self._brake(state, command.by)
        row = msgspec.structs.replace(row, content=None, content_attributes=None, deleted_at=draft.now)
        draft.amend(row)
        data = {"message_seq": row.seq, "deleted_at": rfc3339(draft.now), "private": row.private}
        draft.add_event(command.by, MESSAGE_DELETED, data, private=row.private, message_seq=row.seq)
        return row


def _find(
    state: ConversationState, command: EditMessage | DeleteMessage, draft: Draft
) -> tuple[MessagePolicy, MessageRow]:
    """The message, if this principal may know that it exists."""
    policy = MessagePolicy(state.access, command.by)
    if state.deleted_at is not None or not policy.can_show(state):
        raise NotFound
    row = draft.message(command.seq)
    if not policy.can_show_message(state, row):
        raise NotFound("There is no such message.")
    return policy, row


def _updated(row: MessageRow) -> dict[str, Any]:
    """The whole message; its `seq` is `message_seq` here, because the event has a number of its own."""
    message = message_data(row)
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return {**fields, "message_seq": fields.pop("seq")}
