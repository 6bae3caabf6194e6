"""The look at all accounts that want something to happen by time, once a minute. Next hop: a job per conversation.

It only finds candidates, page by page; each conversation decides for itself, in its own turn, whether it is one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from ...engine.errors import NotFound
from ...storage.contracts import Journal
from ...storage.job_contract import JobStore
from ...storage.records import Job
from ...storage.writes import Enqueue, Unit
from ..access import AccessBook
from ..jobs.job import BaseJob, JobContext, Result
from ..jobs.lane import conversation_key
from ..jobs.queue import JobQueue, new_job
from .account_settings import AUTO_RESOLVE_AFTER, REMINDER_AFTER, TimerSettings, timer_settings
from .jobs import AutoResolve, RemindOfVisitor, Silence, Wait

EVERY_MINUTE = "* * * * *"

_MINUTE = 60_000  # milliseconds
_HOUR = 60 * _MINUTE

#: An instant and the conversation that it is about.
Found: TypeAlias = tuple[int, int]
Page: TypeAlias = Callable[[Found], Awaitable[Sequence[Found]]]


class SweepTimers(BaseJob[None]):
    """Enqueue `AutoResolve` and `RemindOfVisitor` for whom it may concern; cron asks for it every minute."""

    queue = "timers"
    max_attempts = 1  # the next minute has its own
    timeout = 300.0

    def __init__(self, store: JobStore, journal: Journal, access: AccessBook, jobs: JobQueue, page: int) -> None:
        """`page` is how many conversations are looked at together."""
        self._store = store
        self._journal = journal
        self._access = access
        self._jobs = jobs
        self._page = page

    async def perform(self, context: JobContext, args: None) -> Result:
        for name, sweep in ((AUTO_RESOLVE_AFTER, self._resolve), (REMINDER_AFTER, self._remind)):
            for account_id in await self._store.accounts_with_setting(name):
                try:
                    access = await self._access.of(account_id)
                except NotFound:
                    continue
                await sweep(account_id, timer_settings(access.settings), context)
        return None

    async def _resolve(self, account_id: int, wanted: TimerSettings, context: JobContext) -> None:
        minutes = wanted.auto_resolve_after
        if minutes is None:
            return
        since = context.now() - minutes * _MINUTE
        # Of an old account most conversations are long resolved. What has become silent lately is found without them;
        # the first sweep of an hour looks at all, for those that a changed setting or a server's absence left behind.
        first = (0, 0) if context.job.run_at % _HOUR < _MINUTE else (since - _HOUR, 0)

        async def page(after: Found) -> Sequence[Found]:
            after = max(after, first)
            return await self._store.idle_conversations(account_id, inactive_since=since, after=after, limit=self._page)

        def job(instant: int) -> tuple[type[BaseJob[Any]], Any]:
            return AutoResolve, Silence(instant, minutes, wanted.auto_resolve_ignore_waiting)

        await self._enqueue(account_id, page, job, context)

    async def _remind(self, account_id: int, wanted: TimerSettings, context: JobContext) -> None:
        minutes = wanted.reminder_after
        if minutes is None:
            return
        since = context.now() - minutes * _MINUTE

        async def page(after: Found) -> Sequence[Found]:
            return await self._store.waiting_conversations(
                account_id, waiting_since=since, after=after, limit=self._page
            )

        def job(instant: int) -> tuple[type[BaseJob[Any]], Any]:
            return RemindOfVisitor, Wait(instant, minutes)

        await self._enqueue(account_id, page, job, context)

    async def _enqueue(
        self, account_id: int, page: Page, job_of: Callable[[int], tuple[type[BaseJob[Any]], Any]], context: JobContext
    ) -> None:
        after: Found = (0, 0)
        while found := await page(after):
            after = found[-1]
            jobs: list[Job] = []
            for instant, conversation_id in found:
                kind, args = job_of(instant)
                key = conversation_key(conversation_id)
                jobs.append(new_job(kind, args, now=context.now(), account_id=account_id, key=key))
            await self._journal.write(Unit(account_id, writes=[Enqueue(job) for job in jobs]))
            self._jobs.committed(jobs)
