"""The worker of a node. In: wake-ups and the clock. It claims jobs from the store; next hop: `pool`.

    claim as much as the pool has room for -> start it -> claim again, if a queue gave all that it was asked for
                                                       -> else rest: until a job is enqueued, or one is due, or `poll`

What a claim leaves out: accounts that have as many jobs here as they may, and keys of jobs that were stopped here and
have not ended. Each claim begins with another queue, and the room is shared among the queues that had the most to give,
so that none starves another.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import trio

from ...engine.directory import Directory
from ...engine.errors import TertuliaError
from ...storage.contracts import Journal
from ...storage.job_contract import Claim, JobStore
from ...storage.records import Job, JobState
from ..entities import WallClock
from .attempt import AddressOf
from .clock import Clock
from .endings import Ending
from .ends import Ends
from .endurance import Endurance
from .figures import Figures, JobStatistics
from .leases import Leases
from .limits import JobLimits
from .pool import Pool
from .queue import JobQueue
from .registry import JobRegistry
from .runs import Run, Runs, Stop
from .shares import Shares

logger = logging.getLogger("tertulia.jobs")


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a worker works with: the parts of its engine."""

    store: JobStore
    journal: Journal
    jobs: JobQueue
    registry: JobRegistry
    directory: Directory
    address_of: AddressOf
    wall_clock: WallClock
    limits: JobLimits


class Dispatcher:
    """Runs jobs, in `run`, until it is drained or cancelled."""

    def __init__(self, worker: str, place: Workplace) -> None:
        """`worker` is a name that no other worker has, or ever had."""
        self.worker = worker
        self._place = place
        self._limits = limits = place.limits
        self._store = place.store
        self._now = place.wall_clock
        self.runs = Runs()
        self.ends = Ends(place.journal, self.runs, self._now, limits, self.wake)
        self.pool = Pool(
            place.registry, place.directory, place.address_of, self.runs, self.ends, self._now, limits, self._on_room
        )
        self._leases = Leases(worker, self._store, self.runs, self.pool, self._now, limits, self.wake)
        self._clock = Clock(place.registry, place.jobs.add, self._now, limits)
        self._endurance = Endurance(limits)
        self.figures = Figures(self._store, self._now, limits)
        self._shares = Shares(limits)
        self._unknown: set[str] = set()  # kinds
        self._looked_at: float | None = None  # on trio's clock, for queues
        self._next_at: int | None = None  # milliseconds
        self._news = False  # something may be due, since the last claim began
        self._bell = trio.Event()
        self._draining = False
        self._running = False
        self._claims_over = trio.Event()
        self._over = trio.Event()
        place.jobs.listeners.append(self.wake)
        place.jobs.cancel_listeners.append(self._cancelled)

    def wake(self, due: int | None = None) -> None:
        """A job may be due at this instant (milliseconds), or now. Never waits."""
        if due is None or due <= self._now():
            self._news = True
            self._bell.set()
        elif self._next_at is None or due < self._next_at:
            self._next_at = due
            self._bell.set()

    async def run(self) -> None:
        """Run jobs. Cancelling it leaves what runs to whoever rescues it; `drain` first.

        Raises:
            Exception: what should not happen happened more than `max_errors` times within `error_period`.
        """
        self._running = True
        try:
            async with self._store.job_wakeups(self.wake), trio.open_nursery() as nursery:
                self.pool.open(nursery)
                leases = self._leases
                for step in (leases.beat, leases.watch, self._clock.tick, self.ends.retry, self.figures.count):
                    nursery.start_soon(self._endurance.repeat, step)
                nursery.start_soon(self._claim_jobs)
                await self._over.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._running = False
            self._claims_over.set()
            self._place.jobs.listeners.remove(self.wake)
            self._place.jobs.cancel_listeners.remove(self._cancelled)

    def statistics(self) -> JobStatistics:
        """A snapshot for metrics and tests."""
        counts, figures = self.ends.counts, self.figures
        return JobStatistics(
            running=self.pool.running,
            waiting=self.pool.waiting,
            completed=counts[JobState.COMPLETED],
            failed=counts["failed"],
            discarded=counts[JobState.DISCARDED],
            cancelled=counts[JobState.CANCELLED],
            snoozed=counts["snoozed"],
            lost=self._leases.lost,
            failures=self._endurance.failures,
            available=figures.total(JobState.AVAILABLE),
            scheduled=figures.total(JobState.SCHEDULED),
            discarded_kept=figures.total(JobState.DISCARDED),
            lag_seconds=figures.lag,
        )

    # Claiming.

    async def _claim_jobs(self) -> None:
        try:
            with trio.CancelScope() as self._claiming:
                await self._endurance.repeat(self._claim_or_rest)
        finally:
            self._claims_over.set()

    async def _claim_or_rest(self) -> None:
        if self._draining:
            self._claiming.cancel()
            await trio.lowlevel.checkpoint()
        self._bell = trio.Event()
        if self.pool.room < 1:
            await self._bell.wait()
            return
        await self._look_at_queues()
        if not await self._claim():
            await self._rest()

    async def _claim(self) -> bool:
        """Take what there is and start it. Returns whether there may be more of it at once."""
        self._news = False
        asked = self._shares.of(self.pool.room)
        if not asked or self._draining:
            return False
        self._next_at = None  # whatever is announced from now on may be missing in the answer
        now = self._now()
        until = now + round(self._limits.lease * 1000)
        stopped = [run.job.key for run in self.runs if run.stop is not None and run.job.key is not None]
        claim = Claim(self.worker, now, until, asked, self.pool.busy_accounts, stopped)
        claimed = await self._store.claim_jobs(claim)
        if claimed.next_at is not None:
            self._next_at = claimed.next_at if self._next_at is None else min(claimed.next_at, self._next_at)
        more = self._shares.gave(claimed.jobs)
        await self._start(claimed.jobs, until)
        return more

    async def _start(self, jobs: Sequence[Job], until: int) -> None:
        known: list[Run] = []
        for job in jobs:
            run = Run(job, until)
            self.runs.add(run)
            if self._place.registry.of(job.kind) is not None:
                known.append(run)
            else:
                self._put_off(run)
        back = known if self._draining else self.pool.start(known)
        await self._release(back)

    def _put_off(self, run: Run) -> None:
        """A job that this program does not know: another version of it does, while nodes are replaced one by one."""
        kind = run.job.kind
        if kind not in self._unknown:
            self._unknown.add(kind)
            logger.warning("a job is a %r, which this worker does not know; it is left to others", kind)
        later = self._now() + round(self._limits.give_back * 1000)
        self.ends.write(run, Ending(JobState.SCHEDULED, later, counted=False), 0.0)

    async def _look_at_queues(self) -> None:
        """Which queues there are, now and then; at once those that a job has just been put into."""
        seen = self._place.jobs.seen
        now = trio.current_time()
        if self._looked_at is None or now >= self._looked_at + self._limits.poll:
            waiting = await self._store.waiting_queues()
            rates = {row.name: row.rate for row in await self._store.queues() if row.rate and not row.paused}
            self._shares.know(self._place.registry.queues, waiting, rates)
            self._looked_at = now
        if seen:
            self._shares.add(seen)
            seen.clear()

    async def _rest(self) -> None:
        """Until there may be something to claim."""
        look_again = trio.current_time() + min(self._limits.poll, self._shares.pace)
        while not (self._news or self._draining):
            wait = look_again - trio.current_time()
            if self._next_at is not None:
                wait = min(wait, (self._next_at - self._now()) / 1000)
            if wait <= 0:
                return
            with trio.move_on_after(wait):
                await self._bell.wait()
                self._bell = trio.Event()

    def _on_room(self, more: bool) -> None:
        """Room in the pool; `more`: there may be jobs of an account that claims have left out."""
        self._news = self._news or more
        self._bell.set()

    def _cancelled(self, job_id: str) -> None:
        run = self.runs.get(job_id)
        if run is not None:
            self.pool.stop(run, Stop.LOST)

    # The end.

    def close(self) -> None:
        """Claim nothing more. What is here runs on."""
        self._draining = True
        self.wake()

    async def drain(self, grace: float) -> None:
        """Claim nothing more, give back what has not begun, and wait for what runs; then `run` ends.

        What still runs after `grace` seconds is cancelled and given back; the attempt is not counted.
        """
        self.close()
        if not self._running:
            return
        with trio.move_on_after(grace):
            await self._claims_over.wait()
            await self._release(self.pool.take_back())
            await self.runs.empty()
        left = [run for run in self.runs if not run.ended]
        if left:
            logger.warning("%d jobs did not end in time; they are given back", len(left))
            for run in left:
                self.pool.stop(run, Stop.DRAIN)
            with trio.move_on_after(self._limits.give_back, shield=True):
                await self.pool.idle()
                await self._release([run for run in left if not run.ended])
        self._over.set()

    async def _release(self, runs: Collection[Run]) -> None:
        """Give jobs back; what the store does not take back now, it will when the leases end."""
        if not runs:
            return
        try:
            await self._store.release_jobs(self.worker, [run.job.id for run in runs])
        except TertuliaError as error:
            logger.warning("%d jobs could not be given back: %s Their leases will end.", len(runs), error.detail)
        finally:
            for run in runs:
                self.runs.remove(run)
