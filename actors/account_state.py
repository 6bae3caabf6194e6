"""An account in memory, and how what its actor decides becomes durable. Next hop: `storage/group_commit`.

An account changes rarely: one command after the other, each waiting for its commit. Only then the shared
`AccountAccess` changes, so that nobody acts on a right that is not durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..engine.errors import Unavailable
from ..storage.contracts import AccountRecords
from ..storage.records import Account, AccountEventRow, EventRow, Job
from ..storage.writes import Enqueue, Unit, Write
from .access import AccountAccess
from .collaborators import Collaborators
from .entities import Principal
from .events import account_event_of, account_stream, conversation_stream, inbox_topic, logged_event
from .jobs.job import Args, BaseJob
from .jobs.lane import account_key
from .jobs.queue import new_job
from .webhooks.recording import recorded

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class AccountChange:
    """What one command changes, before it is durable."""

    account_id: int
    by: Principal
    now: int
    columns: dict[str, Any] = field(default_factory=dict[str, Any])  # of the account's row
    writes: list[Write] = field(default_factory=list[Write])
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    conversation_events: list[EventRow] = field(default_factory=list[EventRow])
    jobs: list[Job] = field(default_factory=list[Job])

    def enqueue(
        self, job: type[BaseJob[Args]], args: Args, *, run_at: int | None = None, key: str | None = None, **options: Any
    ) -> Job:
        """Put work off until this is durable. The job is written together with the change, or not at all.

        Args:
            run_at: milliseconds; None: at once.
            key: default: this account's.
            options: as `new_job`.

        Raises:
            Invalid: the arguments are too large.
        """
        key = account_key(self.account_id) if key is None else key
        new = new_job(job, args, now=self.now, account_id=self.account_id, key=key, run_at=run_at, **options)
        self.jobs.append(new)
        return new


class AccountState:
    """Changed only by the turns of one actor."""

    def __init__(self, world: Collaborators, records: AccountRecords, access: AccountAccess) -> None:
        self.world = world
        self.record: Account = records.account
        self.access = access

    @property
    def id(self) -> int:
        return self.record.id

    def change(self, by: Principal) -> AccountChange:
        return AccountChange(self.id, by, self.world.wall_clock())

    async def commit(self, change: AccountChange) -> None:
        """Make a change durable, then tell the account's subscribers.

        Raises:
            Conflict: something in it is taken.
            StaleWrite: somebody else changed the account.
            Unavailable: it was not acknowledged; whether it was written is unknown.
        """
        old_seq = self.record.last_seq
        rows = [self._row(change, seq, type, data) for seq, (type, data) in enumerate(change.events, start=old_seq + 1)]
        columns = {**change.columns, "last_seq": old_seq + len(rows)}
        if self.access.webhooks:
            self._record(change, rows)
        unit = Unit(
            account_id=self.id,
            account_log=True,
            old_seq=old_seq,
            new_seq=columns["last_seq"],
            changes=change.columns,
            events=change.conversation_events,
            account_events=rows,
            writes=[*change.writes, *map(Enqueue, change.jobs)],
        )
        try:
            await self.world.journal.write(unit)
        except Unavailable:
            self._remember_to_tell(old_seq, change.conversation_events)
            raise
        self.record = msgspec.structs.replace(self.record, **columns)
        self._publish(rows, change.conversation_events)
        self.world.jobs.committed(change.jobs)

    async def catch_up(self) -> None:
        """Broadcast the account's events that are in the store and were never broadcast."""
        after = self.world.behind.get(self.id)
        if after is not None:
            self._publish(await self.world.reads.account_log(self.id, after=after), ())
            del self.world.behind[self.id]

    def rights_changed(self) -> None:
        """The shared access has new facts: every session looks again at what it may do."""
        self.world.access.changed(self.access)

    def _row(self, change: AccountChange, seq: int, type: str, data: dict[str, Any]) -> AccountEventRow:
        by = change.by
        full = {
            "account_id": self.id,
            "seq": seq,
            **data,
            "by": {"type": by.type, "id": by.id, "name": by.name},
        }
        return AccountEventRow(self.id, seq, type, by.type, by.id, _encode(full).decode(), change.now)

    def _record(self, change: AccountChange, rows: Sequence[AccountEventRow]) -> None:
        """What webhooks are sent is a part of the change."""
        webhooks, now = self.access.webhooks, change.now
        found = [recorded(webhooks, self.id, None, [account_event_of(row) for row in rows], now)]
        for row in change.conversation_events:
            found.append(recorded(webhooks, self.id, row.inbox_id, [logged_event(row)], now))
        for each in found:
            change.writes = [*change.writes, *each.writes]
            change.jobs += each.jobs

    def _remember_to_tell(self, old_seq: int, conversation_events: Sequence[EventRow]) -> None:
        self.world.behind.setdefault(self.id, old_seq)
        for row in conversation_events:
            self.world.behind[self.id, row.conversation_id] = 0

    def _publish(self, rows: Sequence[AccountEventRow], conversation_events: Sequence[EventRow]) -> None:
        hub = self.world.hub
        if rows:
            hub.publish(account_stream(self.id), [account_event_of(row) for row in rows])
        for row in conversation_events:
            event = logged_event(row)
            hub.publish(conversation_stream(row.conversation_id), [event])
            hub.publish(inbox_topic(row.inbox_id), [event])
