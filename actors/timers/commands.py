"""What a timer's job asks of its conversation. The job says what it saw; the conversation looks whether it still is so.

A job and its conversation may be on nodes whose clocks differ. Therefore a command names the instant that started the
timer, and the conversation compares that, not the time of day.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndSnooze:
    """Reopen the conversation, if it is snoozed, and not for longer. Times are milliseconds."""

    until: int


@dataclass(frozen=True, slots=True)
class ResolveSilent:
    """Resolve the conversation, if nothing was said in it since, and its account still wants that."""

    since: int  # milliseconds
    after: int  # minutes


@dataclass(frozen=True, slots=True)
class RemindMembers:
    """Tell members that the visitor waits for an answer since then, once, if their account still wants that."""

    since: int  # milliseconds
    after: int  # minutes
