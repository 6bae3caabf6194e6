"""What one transaction is made of: units of work, submitted by actors and committed together by `group_commit`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .records import AccountEventRow, EventRow, MessageRow, Record


@dataclass(frozen=True, slots=True)
class Insert:
    """Write a new row. A row with the same unique key fails the unit with `Conflict`."""

    record: Record


@dataclass(frozen=True, slots=True)
class Upsert:
    """Write a row, in place of one with the same key."""

    record: Record


@dataclass(frozen=True, slots=True)
class Update:
    """Set columns of the rows of `table` whose columns equal `where`; `account_id` is always among them."""

    record: type[Record]
    where: dict[str, Any]
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the rows whose columns equal `where`; `account_id` is always among them."""

    record: type[Record]
    where: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AmendMessage:
    """Change a message, or erase it: then its text leaves the message and every event about it."""

    account_id: int
    conversation_id: int
    seq: int
    content: str | None
    edited_at: int | None = None
    deleted_at: int | None = None


@dataclass(frozen=True, slots=True)
class EraseLog:
    """Remove all messages and events of a conversation up to and including `seq`."""

    account_id: int
    conversation_id: int
    seq: int


Write: TypeAlias = Insert | Upsert | Update | Delete | AmendMessage | EraseLog


@dataclass(slots=True)
class Unit:
    """All that one turn of one actor changes: committed whole or not at all.

    The fence: where `old_seq` is not the last seq of the log when the transaction runs, nothing of the unit is written and
    `failed` gets a `StaleWrite`. A `client_id` that the conversation has already does the same. A unit without a log
    (`conversation_id` and `account_log` unset) has no fence.

    Exactly one of `committed` and `failed` is called, in the order in which an actor submitted its units.
    """

    account_id: int
    committed: Callable[[], None]
    failed: Callable[[Exception], None]
    conversation_id: int | None = None
    account_log: bool = False
    old_seq: int = 0
    new_seq: int = 0
    changes: dict[str, Any] = field(default_factory=dict)  # columns of the conversation or the account
    messages: list[MessageRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    account_events: list[AccountEventRow] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return len(self.messages) + len(self.events) + len(self.account_events) + len(self.writes)
