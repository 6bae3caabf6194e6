"""Running jobs, with limits. In: jobs that `dispatcher` claimed. Next hop: `perform`, or an actor's lane; then `ends`.

At most `limits.pool` jobs run at once, and `limits.per_account` of one account; what was claimed of an account beyond
that is held until another one of its jobs has ended.

Jobs are performed by runners: tasks that take one ready job after the other. Before a runner begins a job it sees to it
that another runner will be there, should the job wait for something. So jobs that wait run side by side, each in a task
of its own, while a thousand jobs that never wait are run by one task, without a switch.
"""

from __future__ import annotations

import contextvars
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable

import trio

from ...engine.directory import Directory
from ..entities import WallClock
from .attempt import AddressOf, attempt_here
from .delivery import Delivery
from .ends import Ends
from .limits import JobLimits
from .registry import JobRegistry
from .runs import Run, Runs, Stop

logger = logging.getLogger("tertulia.jobs")

NOBODY = 0  # the account of jobs that are nobody's: not limited


class Pool:
    """The jobs that run here."""

    def __init__(
        self,
        registry: JobRegistry,
        directory: Directory,
        address_of: AddressOf,
        runs: Runs,
        ends: Ends,
        wall_clock: WallClock,
        limits: JobLimits,
        on_room: Callable[[bool], None],
    ) -> None:
        """
        Args:
            on_room: called when there is room again; with True where its account had as many jobs as it may.
        """
        self._registry = registry
        self._directory = directory
        self._address_of = address_of
        self._runs = runs
        self._ends = ends
        self._now = wall_clock
        self._limits = limits
        self._on_room = on_room
        self._delivery = Delivery(directory, registry, ends, wall_clock, limits, self._leave)
        self._ready: deque[Run] = deque()
        self._held: dict[int, deque[Run]] = {}  # by account
        self._of_account: Counter[int] = Counter()  # started, or ready
        self._left: list[int] = []  # accounts whose jobs have just ended
        self._standby = False  # a runner was called that has not begun
        self._nursery: trio.Nursery | None = None
        self._idle: trio.Event | None = None
        self.taken = 0  # places

    def open(self, nursery: trio.Nursery) -> None:
        """Runners are tasks of this nursery from now on."""
        self._nursery = nursery

    @property
    def room(self) -> int:
        """How many more jobs can be started; none while there are jobs that could be and have not been.

        So jobs that end at once are claimed by the pool, and not by the few that have ended when somebody looks.
        """
        return 0 if self._ready else self._limits.pool - self.taken

    @property
    def running(self) -> int:
        return self.taken - len(self._ready)

    @property
    def waiting(self) -> int:
        """Jobs that are claimed and have not begun."""
        return len(self._ready) + sum(map(len, self._held.values()))

    @property
    def busy_accounts(self) -> list[int]:
        """The accounts that have as many jobs here as they may."""
        return [account for account, jobs in self._of_account.items() if jobs >= self._limits.per_account]

    def start(self, runs: Iterable[Run]) -> list[Run]:
        """Run these jobs as soon as their accounts allow it. Returns those that there is no place to hold for."""
        excess: list[Run] = []
        held = sum(map(len, self._held.values()))
        for run in runs:
            account = run.job.account_id
            if account == NOBODY or self._of_account[account] < self._limits.per_account:
                self._admit(run)
            elif held < self._limits.batch:
                held += 1
                self._held.setdefault(account, deque()).append(run)
            else:
                excess.append(run)
        return excess

    def take_back(self) -> list[Run]:
        """All jobs that have not begun, which then will not."""
        back = [*self._ready, *(run for held in self._held.values() for run in held)]
        self._held.clear()
        while self._ready:
            self._leave(self._ready.popleft())
        return back

    def stop(self, run: Run, why: Stop) -> None:
        """End a job before its time; nothing is written of it. What has not begun never will."""
        if run.stop is not None or run.ended:
            return
        run.stop = why
        if run.scope is not None:
            run.scope.cancel()  # its runner does the rest
        elif run.envelope is not None:
            run.envelope.abandon()
            self._leave(run)
            self._runs.remove(run)
        else:
            self._withdraw(run)
            self._runs.remove(run)

    async def idle(self) -> None:
        """Wait until nothing runs."""
        while self.taken:
            self._idle = trio.Event()
            await self._idle.wait()

    def _withdraw(self, run: Run) -> None:
        held = self._held.get(run.job.account_id)
        if held is not None and run in held:
            held.remove(run)
        elif run in self._ready:
            self._ready.remove(run)
            self._leave(run)

    # Places.

    def _admit(self, run: Run) -> None:
        self.taken += 1
        if run.job.account_id != NOBODY:
            self._of_account[run.job.account_id] += 1
        kind = self._registry.of(run.job.kind)
        address = None if kind is None or kind.beside else self._address_of(run.job.account_id, run.job.key)
        if kind is not None and address is not None:
            self._delivery.deliver(run, address, kind.timeout)
        else:
            self._ready.append(run)
            self._call_runner()

    def _leave(self, run: Run) -> None:
        """A job has given its place back: the next one of its account may have it."""
        self.taken -= 1
        was_full = False
        if run.job.account_id != NOBODY:
            was_full = self._of_account[run.job.account_id] >= self._limits.per_account
            self._of_account[run.job.account_id] -= 1
            self._left.append(run.job.account_id)
            if len(self._left) == 1:  # else this is within the loop below: an actor refused its job at once
                self._follow_up()
        self._on_room(was_full)
        if not self.taken and self._idle is not None:
            self._idle.set()

    def _follow_up(self) -> None:
        while self._left:
            account = self._left[0]
            held = self._held.get(account)
            if held:
                self._admit(held.popleft())
            if not held:
                self._held.pop(account, None)
            if not self._of_account[account]:
                del self._of_account[account]
            del self._left[0]

    # Runners.

    def _call_runner(self) -> None:
        if not self._standby and self._nursery is not None:
            self._standby = True
            self._nursery.start_soon(self._run_ready)

    async def _run_ready(self) -> None:
        self._standby = False
        context = contextvars.copy_context()
        rested = trio.current_time()
        while self._ready:
            run = self._ready.popleft()
            if self._ready:
                self._call_runner()
            else:
                self._on_room(False)
            await self._run(run)
            if contextvars.copy_context() != context:
                break  # what a job left in its context is not for the next one: that gets a task of its own
            if trio.current_time() - rested >= self._limits.quantum:
                await trio.lowlevel.checkpoint()
                rested = trio.current_time()
        if self._ready:
            self._call_runner()

    async def _run(self, run: Run) -> None:
        began = trio.current_time()

        def begun(scope: trio.CancelScope) -> None:
            run.scope = scope

        ending, error = await attempt_here(
            run.job, self._registry, self._directory, self._address_of, self._now, self._limits, begun
        )
        run.scope = None
        self._leave(run)
        if run.stop is None or error is None:
            if error is not None:
                job = run.job
                logger.warning("job %s (%s) failed, attempt %d", job.id, job.kind, job.attempt, exc_info=error)
            self._ends.write(run, ending, trio.current_time() - began)
        elif run.stop is Stop.LOST:
            self._runs.remove(run)
