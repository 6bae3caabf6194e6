"""What active webhooks want to hear, as facts in memory. In: the account's webhooks. Out: for each event, yes or no."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...storage.records import Webhook
from ..events import (
    ASSIGNED,
    CONTACT_CREATED,
    CONTACT_UPDATED,
    CONVERSATION_CREATED,
    CONVERSATION_DELETED,
    CONVERSATION_UPDATED,
    LABELS_CHANGED,
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    MESSAGE_UPDATED,
    READ,
    STATUS_CHANGED,
    Event,
)

#: What a webhook can ask for: every event that has a place in a log. Typing and presence have none.
WEBHOOK_EVENTS = (
    MESSAGE_CREATED,
    MESSAGE_UPDATED,
    MESSAGE_DELETED,
    CONVERSATION_CREATED,
    CONVERSATION_UPDATED,
    STATUS_CHANGED,
    ASSIGNED,
    LABELS_CHANGED,
    READ,
    CONVERSATION_DELETED,
    CONTACT_CREATED,
    CONTACT_UPDATED,
)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One active webhook. Its URL and its secrets are not here: they are read when something is sent."""

    webhook_id: int
    inbox_id: int | None
    events: frozenset[str]  # empty: all
    include_private: bool

    def wants(self, event: Event, inbox_id: int | None) -> bool:
        """Whether an event is sent.

        Args:
            inbox_id: of the conversation that it belongs to. None: it is the account's own, and has no private side;
                whoever hears of all inboxes hears of it.
        """
        if self.events and event.type not in self.events:
            return False
        if inbox_id is None:
            return self.inbox_id is None
        return self.inbox_id in (None, inbox_id) and (self.include_private or not event.private)


def subscriptions_of(webhooks: Iterable[Webhook]) -> tuple[Subscription, ...]:
    """Those of the webhooks that are not paused, by id."""
    active = sorted((webhook for webhook in webhooks if webhook.paused_at is None), key=lambda webhook: webhook.id)
    return tuple(
        Subscription(webhook.id, webhook.inbox_id, frozenset(webhook.events), webhook.include_private)
        for webhook in active
    )
