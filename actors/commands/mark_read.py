"""How far somebody has read, and who is typing."""

from __future__ import annotations

from dataclasses import dataclass

from ...engine.errors import Invalid
from ...storage.records import ReadCursor
from ...storage.writes import Upsert
from ..conversation_state import ConversationState
from ..draft import Draft
from ..entities import Principal
from ..events import READ
from ..limits import ChatLimits
from ..policies.message import MessagePolicy
from ..typists import start_typing, stop_typing
from .brake import Brake
from .refusing import refuse


@dataclass(frozen=True, slots=True)
class MarkRead:
    """A reader's cursor only moves forward, and never beyond the last message. Answer: the cursor's seq."""

    by: Principal
    seq: int


@dataclass(frozen=True, slots=True)
class SetTyping:
    """Ephemeral, for the broadcast lane: told to subscribers, stored nowhere, ended by the server. Answer: None."""

    by: Principal
    on: bool
    private: bool = False  # typing a private note: members only


class MarkReadHandler:
    def __call__(self, state: ConversationState, command: MarkRead, draft: Draft) -> int:
        by = command.by
        policy = MessagePolicy(state.access, by)
        if state.deleted_at is not None or not policy.can_read_cursor(state):
            refuse(policy, state)
        if by.id is None:
            raise Invalid(fields={"by": "Only people read: mark it as read by a member or a visitor."})
        # Messages are what is read. If a cursor could point at a `conversation.read` event, two clients that
        # acknowledge whatever they get would keep each other busy for ever.
        seq = min(command.seq, state.last_message_seq)
        before = state.cursors.get((by.type, by.id), 0)
        if seq <= before:
            return before
        state.cursors[by.type, by.id] = seq
        draft.write(
            Upsert(
                ReadCursor(
                    account_id=state.account_id,
                    conversation_id=state.id,
                    reader_type=by.type,
                    reader_id=by.id,
                    seq=seq,
                    updated_at=draft.now,
                )
            )
        )
        draft.add_event(by, READ, {"reader": {"type": by.type, "id": by.id, "name": by.name}, "read_seq": seq})
        return seq


class SetTypingHandler:
    def __init__(self, limits: ChatLimits) -> None:
        self._seconds = limits.typing_seconds
        self._brake = Brake(limits, " typing")

    def __call__(self, state: ConversationState, command: SetTyping, draft: Draft) -> None:
        policy = MessagePolicy(state.access, command.by)
        if state.deleted_at is not None or not policy.can_send(state, private=command.private):
            refuse(policy, state)
        if command.on:
            if (command.by.type, command.by.id) not in state.typing:  # whoever goes on is not told to anybody
                self._brake(state, command.by)
            start_typing(state, command.by, draft, private=command.private, seconds=self._seconds)
        else:
            stop_typing(state, command.by, draft)
