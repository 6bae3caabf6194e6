"""Change a conversation's status, assignee, priority, labels or attributes, or delete it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import UNSET, UnsetType

from ..entities import Principal, Priority, Status


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
