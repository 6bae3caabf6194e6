"""Events become deliveries. In: the events that a unit of work is about to write. Out: what to write with them.

A delivery is recorded in the transaction of the event that causes it, with the payload as it is at that instant. Events
that are broadcast again, or come from other nodes, cause nothing: recording belongs to the unit, not to the broadcast.
While a webhook is paused nothing is recorded for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...storage.ids import new_id
from ...storage.records import Job, WebhookDelivery
from ...storage.writes import Insert
from ..events import Event
from ..times import rfc3339
from .delivery import delivering
from .subscriptions import Subscription

#: A delivery's id is what the receiver gets as `webhook-id`.
DELIVERY_PREFIX = "msg_"


@dataclass(frozen=True, slots=True)
class Recorded:
    writes: Sequence[Insert]
    jobs: Sequence[Job]  # one for each webhook that something is written for


def recorded(
    subscriptions: Iterable[Subscription], account_id: int, inbox_id: int | None, events: Sequence[Event], now: int
) -> Recorded:
    """The deliveries of these events, for every webhook in their order, and the jobs that send them.

    Args:
        inbox_id: of the conversation that they belong to; None where they are the account's own.
        now: milliseconds.
    """
    writes: list[Insert] = []
    jobs: list[Job] = []
    for subscription in subscriptions:
        webhook_id = subscription.webhook_id
        wanted = [event for event in events if subscription.wants(event, inbox_id)]
        if wanted:
            writes += [Insert(_delivery(account_id, webhook_id, event, now)) for event in wanted]
            jobs.append(delivering(account_id, webhook_id, now))
    return Recorded(writes, jobs)


def _delivery(account_id: int, webhook_id: int, event: Event, now: int) -> WebhookDelivery:
    id = f"{DELIVERY_PREFIX}{new_id(now)}"
    head = f'{{"id":"{id}","timestamp":"{rfc3339(event.at)}","account_id":{account_id},'
    # The rest is `"type": ..., "data": ...}`, as a member sees it on the cable.
    return WebhookDelivery(
        id=id,
        account_id=account_id,
        webhook_id=webhook_id,
        event_type=event.type,
        payload=head + event.encoded("json", "member")[1:].decode(),
        created_at=now,
        next_attempt_at=now,
    )
