"""Status: open, pending, resolved, snoozed. Every change writes an activity message that says who did it.

Activity messages are for members, as private notes are.
"""

from __future__ import annotations

from ..conversation_state import ConversationState
from ..draft import Draft
from ..entities import MessageType, Principal, Status, System
from ..events import STATUS_CHANGED
from ..timers.jobs import ReopenSnoozed, Snoozed
from ..times import optional_rfc3339
from .waiting import stop_waiting

_DEEDS = {
    Status.OPEN: "reopened",
    Status.PENDING: "marked as pending",
    Status.RESOLVED: "marked resolved",
    Status.SNOOZED: "snoozed",
}


def set_status(
    state: ConversationState, status: Status, by: Principal, draft: Draft, snoozed_until: int | None = None
) -> None:
    """Change the status, or when a snooze ends; announce it, and write the activity message."""
    previous = state.status
    draft.change(status=str(status), snoozed_until=snoozed_until if status is Status.SNOOZED else None)
    if state.snoozed_until is not None:
        draft.enqueue(ReopenSnoozed, Snoozed(state.snoozed_until), run_at=state.snoozed_until)
    if status is Status.RESOLVED:
        stop_waiting(state, draft)
    data = {"status": state.status, "previous_status": previous, "snoozed_until": optional_rfc3339(state.snoozed_until)}
    draft.add_event(by, STATUS_CHANGED, data)
    if previous != status:
        text = f"Conversation was {_DEEDS[status]} by {by.name or by.type}"
        draft.add_message(System(state.account_id), MessageType.ACTIVITY, text, private=True)


def reopen(state: ConversationState, by: Principal, draft: Draft) -> None:
    """A visitor wrote: what was resolved or snoozed is open again."""
    set_status(state, Status.OPEN, by, draft)
