"""Send a message: what a visitor or a member says in a conversation."""

from __future__ import annotations

import msgspec

from ...engine.errors import Conflict
from ...storage.records import MessageRow
from ..conversation_state import ConversationState
from ..draft import Draft
from ..entities import Member, MessageType, Principal, Status, Visitor
from ..limits import ChatLimits
from ..policies.message import MessagePolicy
from ..typists import stop_typing
from .brake import Brake
from .change_status import reopen
from .refusing import check_content, refuse
from .waiting import start_waiting, stop_waiting


class SendMessage(msgspec.Struct, frozen=True, gc=False):
    """`client_id` makes it safe to repeat: the same sender gets the first result again, and nothing is stored twice."""

    by: Principal
    content: str
    client_id: str | None = None
    private: bool = False
    content_type: str = "text"
    content_attributes: str | None = None  # JSON


class Sent(msgspec.Struct, frozen=True, gc=False):
    """The stored message; `repeated` where an earlier request stored it."""

    message: MessageRow
    repeated: bool = False


class SendMessageHandler:
    def __init__(self, limits: ChatLimits) -> None:
        self._limits = limits
        self._brake = Brake(limits)

    def __call__(self, state: ConversationState, command: SendMessage, draft: Draft) -> Sent:
        by = command.by
        policy = MessagePolicy(state.access, by)
        if state.deleted_at is not None or not policy.can_send(state, private=command.private):
            refuse(policy, state)
        first = state.sent.get(command.client_id) if command.client_id is not None else None
        if first is not None:
            return self._repeated(command, first)
        check_content(command.content, self._limits)
        self._brake(state, by)
        from_visitor = isinstance(by, Visitor)
        row = draft.add_message(
            by,
            MessageType.INCOMING if from_visitor else MessageType.OUTGOING,
            command.content,
            content_type=command.content_type,
            content_attributes=command.content_attributes,
            private=command.private,
            client_id=command.client_id,
        )
        state.remember(row, self._limits.remembered_client_ids)
        if state.typing:
            stop_typing(state, by, draft)
        if from_visitor:
            start_waiting(state, draft)
            if state.status != Status.OPEN and state.status != Status.PENDING:
                reopen(state, by, draft)
        elif state.waiting_since is not None and not command.private and isinstance(by, Member):
            stop_waiting(state, draft)
        return Sent(row)

    def _repeated(self, command: SendMessage, first: MessageRow) -> Sent:
        if first.sender_type != command.by.type or first.sender_id != command.by.id:
            raise Conflict("This client_id belongs to a message of somebody else.")
        return Sent(first, repeated=True)
