"""The jobs of timers: each waits until its time has come, and hands one command to its conversation.

To run one again does no harm: the conversation looks first whether what the job saw is still so.
"""

from __future__ import annotations

import msgspec

from ..jobs.job import BaseJob, JobContext, Result, Snooze
from .commands import EndSnooze, RemindMembers, ResolveSilent

DAY = 86_400.0  # seconds


class Snoozed(msgspec.Struct, frozen=True):
    until: int  # milliseconds


class Silence(msgspec.Struct, frozen=True):
    """A conversation in which nothing was said since, and after how many minutes that is too long."""

    since: int  # milliseconds
    after: int  # minutes
    ignore_waiting: bool = False


class Wait(msgspec.Struct, frozen=True):
    """A visitor who waits for an answer since, and after how many minutes that is worth a reminder."""

    since: int  # milliseconds
    after: int  # minutes


class ReopenSnoozed(BaseJob[Snoozed]):
    """A snooze ends. Enqueued together with the snooze, to run at its end."""

    queue = "timers"
    priority = 2
    max_attempts = 10

    async def perform(self, context: JobContext, args: Snoozed) -> Result:
        early = args.until - context.now()
        if early > 0:
            return Snooze(early / 1000)
        context.then(EndSnooze(args.until))
        return None


class AutoResolve(BaseJob[Silence]):
    """A conversation was silent for too long. The same silence is looked at once a day, however many sweeps see it."""

    queue = "timers"
    unique_for = DAY

    async def perform(self, context: JobContext, args: Silence) -> Result:
        context.then(ResolveSilent(args.since, args.after))
        return None


class RemindOfVisitor(BaseJob[Wait]):
    """A visitor waits for too long. The same wait is looked at once a day, however many sweeps see it."""

    queue = "timers"
    priority = 3
    unique_for = DAY

    async def perform(self, context: JobContext, args: Wait) -> Result:
        context.then(RemindMembers(args.since, args.after))
        return None
