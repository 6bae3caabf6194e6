"""Delete a conversation: nothing of what was said remains, and a tombstone tells so."""

from __future__ import annotations

from ...storage.records import ReadCursor
from ...storage.writes import Delete
from ..conversation_state import ConversationState
from ..draft import Draft
from ..events import CONVERSATION_DELETED
from ..policies.conversation import ConversationPolicy
from .refusing import refuse
from .update_conversation import DeleteConversation
from .waiting import stop_waiting

__all__ = ["DeleteConversation", "DeleteConversationHandler"]


class DeleteConversationHandler:
    def __call__(self, state: ConversationState, command: DeleteConversation, draft: Draft) -> None:
        policy = ConversationPolicy(state.access, command.by)
        if state.deleted_at is not None or not policy.can_delete(state):
            refuse(policy, state)
        draft.erase()
        draft.write(Delete(ReadCursor, {"account_id": state.account_id, "conversation_id": state.id}))
        draft.change(deleted_at=draft.now, labels=[], custom_attributes={}, snoozed_until=None)
        stop_waiting(state, draft)
        draft.add_event(command.by, CONVERSATION_DELETED, {"display_id": state.display_id})
