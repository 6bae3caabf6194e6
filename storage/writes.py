"""What one transaction is made of: units of work, submitted by actors and committed together by `group_commit`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias, cast

import msgspec

from .records import AccountEventRow, EventRow, Job, MessageRow, Record


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
    """Set columns of the rows whose columns equal `where`; in a table of an account's things, `account_id` is one."""

    record: type[Record]
    where: dict[str, Any]
    values: dict[str, Any]

    def __post_init__(self) -> None:
        _names_its_account(self.record, self.where)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the rows whose columns equal `where`; in a table of an account's things, `account_id` is one."""

    record: type[Record]
    where: dict[str, Any]

    def __post_init__(self) -> None:
        _names_its_account(self.record, self.where)


def _names_its_account(record: type[Record], where: dict[str, Any]) -> None:
    """Raises ValueError where a change of one account's rows could reach another account's."""
    if not where or ("account_id" not in where and _is_an_account_s(record)):
        raise ValueError(f"A change of {record.__name__} rows must say whose they are: {where} names no account_id.")


@cache
def _is_an_account_s(record: type[Record]) -> bool:
    """Found out once: it takes as long as writing ten rows."""
    return any(field.name == "account_id" and field.required for field in msgspec.structs.fields(record))


@dataclass(frozen=True, slots=True)
class AmendMessage:
    """Change a message, or erase it (`deleted_at` is set): then its text leaves the message and every event about it.

    An event about a message has its `message_seq`, and the message's text in `content` and `content_attributes` of its
    data, nowhere else. An erased message is not changed again. Times are milliseconds.
    """

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


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Write a new job. Where a job with its `unique_key` is in force, nothing is written; the unit is none the worse.

    In force: `unique_until` is later than the new job's `created_at`.
    """

    job: Job


Write: TypeAlias = Insert | Upsert | Update | Delete | AmendMessage | EraseLog | Enqueue


def _nobody_waits(_: Exception | None = None) -> None:
    """What a unit calls that `GroupCommit.write` has not given its callbacks yet."""


#: `list` and `dict` for the type checkers; calling `list[MessageRow]` instead would take four times as long.
_new_list = cast("Callable[[], Any]", list)
_new_dict = cast("Callable[[], Any]", dict)


@dataclass(slots=True)
class Unit:
    """All that one turn of one actor changes: committed whole or not at all.

    The fence: where `old_seq` is not the last seq of the log when the transaction runs, nothing of the unit is
    written and `failed` gets a `StaleWrite`. A `client_id` that the conversation has already does the same. A unit
    without a log (`conversation_id` and `account_log` unset) has no fence.

    Within a unit, records are written first (`Insert` to `Delete`, in their order), then the rows of the log, then
    the changes of the log (`AmendMessage`, `EraseLog`, in their order): a unit may create a conversation with its
    first event, and may amend a message that it writes.

    Exactly one of `committed` and `failed` is called, in the order in which an actor submitted its units. Neither may
    raise.
    """

    account_id: int
    committed: Callable[[], None] = _nobody_waits
    failed: Callable[[Exception], None] = _nobody_waits
    conversation_id: int | None = None
    account_log: bool = False
    old_seq: int = 0
    new_seq: int = 0
    changes: dict[str, Any] = field(default_factory=_new_dict)  # columns of the conversation or the account
    messages: list[MessageRow] = field(default_factory=_new_list)
    events: list[EventRow] = field(default_factory=_new_list)
    account_events: list[AccountEventRow] = field(default_factory=_new_list)
    writes: list[Write] = field(default_factory=_new_list)

    @property
    def rows(self) -> int:
        """What the unit weighs in a batch; at least 1, so that nothing is free."""
        return len(self.messages) + len(self.events) + len(self.account_events) + len(self.writes) or 1
