"""What time does to a conversation: it ends a snooze, resolves a silence, reminds members. All of it by the system."""

from __future__ import annotations

from ..conversation_state import ConversationState
from ..draft import Draft
from ..entities import MessageType, Status, System
from ..events import LABELS_CHANGED
from ..limits import ChatLimits
from ..timers.account_settings import timer_settings
from ..timers.commands import EndSnooze, RemindMembers, ResolveSilent
from .change_status import set_status

_MINUTE = 60_000  # milliseconds


class EndSnoozeHandler:
    def __call__(self, state: ConversationState, command: EndSnooze, draft: Draft) -> None:
        until = state.snoozed_until
        if state.status != Status.SNOOZED or until is None or until > max(command.until, draft.now):
            return
        set_status(state, Status.OPEN, System(state.account_id), draft)


class ResolveSilentHandler:
    def __init__(self, limits: ChatLimits) -> None:
        self._limits = limits

    def __call__(self, state: ConversationState, command: ResolveSilent, draft: Draft) -> None:
        wanted = timer_settings(state.access.settings)
        if state.deleted_at is not None or state.status != Status.OPEN or state.last_activity_at != command.since:
            return
        if wanted.auto_resolve_after != command.after:
            return
        if wanted.auto_resolve_ignore_waiting and state.waiting_since is not None:
            return
        by = System(state.account_id)
        if wanted.auto_resolve_message is not None:
            draft.add_message(by, MessageType.OUTGOING, wanted.auto_resolve_message)
        if wanted.auto_resolve_label is not None:
            self._add_label(state, wanted.auto_resolve_label.strip(), draft)
        set_status(state, Status.RESOLVED, by, draft)

    def _add_label(self, state: ConversationState, label: str, draft: Draft) -> None:
        """A conversation with as many labels as there may be is resolved without."""
        if label not in state.labels and len(state.labels) < self._limits.labels:
            draft.change(labels=[*state.labels, label])
            data = {"labels": state.labels, "added": [label], "removed": []}
            draft.add_event(System(state.account_id), LABELS_CHANGED, data, private=True)


class RemindMembersHandler:
    def __call__(self, state: ConversationState, command: RemindMembers, draft: Draft) -> None:
        if state.deleted_at is not None or state.status != Status.OPEN or state.waiting_since != command.since:
            return
        if state.reminded_at is not None or timer_settings(state.access.settings).reminder_after != command.after:
            return
        minutes = max(command.after, (draft.now - command.since) // _MINUTE)
        duration = "1 minute" if minutes == 1 else f"{minutes} minutes"
        text = f"The visitor has been waiting for an answer for {duration}."
        draft.add_message(System(state.account_id), MessageType.ACTIVITY, text, private=True)
        draft.change(reminded_at=draft.now)
