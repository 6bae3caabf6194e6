"""Assignment: who answers. Every change writes an activity message that says who did it."""

from __future__ import annotations

from ...engine.errors import Invalid
from ..conversation_state import ConversationState
from ..draft import Draft
from ..entities import Member, MessageType, Principal, System
from ..events import ASSIGNED


def check_assignee(state: ConversationState, user_id: int) -> None:
    """Raises Invalid where this user cannot answer in the conversation's inbox."""
    if not state.access.may_be_assigned(user_id, state.inbox_id):
        raise Invalid(fields={"assignee_id": "Must be an agent or administrator who can see this inbox."})


def assign(state: ConversationState, user_id: int | None, by: Principal, draft: Draft) -> None:
    """Change the assignee, announce it, and write the activity message."""
    previous = state.assignee_id
    draft.change(assignee_id=user_id)
    name = None if user_id is None else state.access.names.get(user_id)
    assignee = None if user_id is None else {"id": user_id, "name": name}
    data = {"assignee_id": user_id, "assignee": assignee, "previous_assignee_id": previous}
    draft.add_event(by, ASSIGNED, data)
    doer = by.name or by.type
    if user_id is None:
        text = f"Conversation unassigned by {doer}"
    elif isinstance(by, Member) and by.user_id == user_id:
        text = f"{doer} self-assigned this conversation"
    else:
        text = f"Assigned to {name} by {doer}"
    draft.add_message(System(state.account_id), MessageType.ACTIVITY, text, private=True)
