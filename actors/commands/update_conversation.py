"""Change a conversation's status, assignee, priority, labels or attributes, or delete it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import UNSET, UnsetType

from ...engine.errors import Invalid
from ...storage.records import Conversation
from ..attributes import why_not
from ..checking import labels_fault
from ..conversation_state import ConversationState
from ..draft import Draft
from ..entities import Member, Principal, Priority, Status, Visitor
from ..events import CONVERSATION_UPDATED, LABELS_CHANGED
from ..limits import ChatLimits
from ..policies.conversation import ConversationPolicy
from ..times import LATEST
from .assign import assign, check_assignee
from .change_status import set_status
from .refusing import refuse


@dataclass(frozen=True, slots=True)
class UpdateConversation:
    """What is UNSET stays as it is; None clears. Answer: the conversation's record."""

    by: Principal
    status: Status | UnsetType = UNSET
    assignee_id: int | UnsetType | None = UNSET
    priority: Priority | UnsetType | None = UNSET
    labels: tuple[str, ...] | UnsetType = UNSET
    custom_attributes: dict[str, Any] | UnsetType = UNSET
    snoozed_until: int | UnsetType | None = UNSET  # milliseconds; only with status snoozed


@dataclass(frozen=True, slots=True)
class DeleteConversation:
    """Erase its messages and events; a tombstone tells subscribers and histories. Answer: None."""

    by: Principal


class UpdateConversationHandler:
    """Everything is checked before anything is changed, so that a refused command leaves no trace."""

    def __init__(self, limits: ChatLimits) -> None:
        self._limits = limits

    def __call__(self, state: ConversationState, command: UpdateConversation, draft: Draft) -> Conversation:
        policy = ConversationPolicy(state.access, command.by)
        if state.deleted_at is not None or not _allowed(policy, state, command):
            refuse(policy, state)
        self._check(state, command, draft.now)
        before = state.last_seq
        self._update_assignee(state, command, draft)
        self._update_priority(state, command, draft)
        self._update_labels(state, command, draft)
        self._update_attributes(state, command, draft)
        # Last: whoever resolves and labels at once wants the label in the log before the end.
        self._update_status(state, command, draft)
        if state.last_seq != before:
            state.updated_at = draft.now
        return state.record()

    def _check(self, state: ConversationState, command: UpdateConversation, now: int) -> None:
        fields: dict[str, str] = {}
        if command.assignee_id is not UNSET and command.assignee_id not in (None, state.assignee_id):
            check_assignee(state, command.assignee_id)
        until = command.snoozed_until
        if until is not UNSET and until is not None:
            if (state.status if command.status is UNSET else command.status) != Status.SNOOZED:
                fields["snoozed_until"] = "Only with status snoozed."
            elif until <= now:
                fields["snoozed_until"] = "Must be in the future."
            elif until > LATEST:
                fields["snoozed_until"] = "Must be before the year 10000."
        limits = self._limits
        if command.labels is not UNSET:
            fault = labels_fault(command.labels, limits)
            if fault is not None:
                fields["labels"] = fault
        if command.custom_attributes is not UNSET:
            reason = why_not(command.custom_attributes, limits.custom_attributes)
            if reason is not None:
                fields["custom_attributes"] = reason
        if fields:
            raise Invalid(fields=fields)

    def _update_assignee(self, state: ConversationState, command: UpdateConversation, draft: Draft) -> None:
        if command.assignee_id is not UNSET and command.assignee_id != state.assignee_id:
            assign(state, command.assignee_id, command.by, draft)

    def _update_priority(self, state: ConversationState, command: UpdateConversation, draft: Draft) -> None:
        if command.priority is not UNSET and command.priority != state.priority:
            previous = state.priority
            draft.change(priority=None if command.priority is None else str(command.priority))
            data = {"priority": state.priority, "previous_priority": previous}
            draft.add_event(command.by, CONVERSATION_UPDATED, data, private=True)

    def _update_labels(self, state: ConversationState, command: UpdateConversation, draft: Draft) -> None:
        if command.labels is UNSET:
            return
        previous = state.labels
        labels = list(dict.fromkeys(label.strip() for label in command.labels))
        if set(labels) != set(previous):
            draft.change(labels=labels)
            added = [label for label in labels if label not in previous]
            removed = [label for label in previous if label not in labels]
            data = {"labels": labels, "added": added, "removed": removed}
            draft.add_event(command.by, LABELS_CHANGED, data, private=True)

    def _update_attributes(self, state: ConversationState, command: UpdateConversation, draft: Draft) -> None:
        if command.custom_attributes is not UNSET and command.custom_attributes != state.custom_attributes:
            draft.change(custom_attributes=command.custom_attributes)
            data = {"custom_attributes": state.custom_attributes}
            draft.add_event(command.by, CONVERSATION_UPDATED, data, private=True)

    def _update_status(self, state: ConversationState, command: UpdateConversation, draft: Draft) -> None:
        status = Status(state.status) if command.status is UNSET else command.status
        until = state.snoozed_until if command.snoozed_until is UNSET else command.snoozed_until
        if status is not Status.SNOOZED:
            until = None
        if status != state.status or until != state.snoozed_until:
            set_status(state, status, command.by, draft, until)


def _allowed(policy: ConversationPolicy, state: ConversationState, command: UpdateConversation) -> bool:
    """Whoever takes a conversation that nobody has may change it in the same breath."""
    by = command.by
    if isinstance(by, Visitor):
        return command == UpdateConversation(by, status=Status.RESOLVED) and policy.can_resolve(state)
    if isinstance(by, Member) and command.assignee_id == by.user_id and policy.can_claim(state):
        return True
    return policy.can_update(state)
