"""An engine on the store in memory, and workers that tests hire, dismiss and kill. Time is virtual."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from tertulia.actors.jobs.dispatcher import Dispatcher, Workplace
from tertulia.actors.jobs.job import BaseJob, JobContext, Result
from tertulia.actors.jobs.limits import JobLimits
from tertulia.actors.jobs.registry import JobRegistry
from tertulia.api.engine import Engine, address_of, run_engine
from tertulia.api.settings import Settings
from tertulia.api.testing import virtual_wall_clock
from tertulia.engine.errors import Unavailable
from tertulia.storage.group_commit import GroupCommitLimits
from tertulia.storage.job_contract import JobFilter, JobStore
from tertulia.storage.open import open_store
from tertulia.storage.records import Job

Act = Callable[[JobContext], Awaitable[Result]]

QUIET = JobLimits(run=False)


class Script(BaseJob[str]):
    """Does what the test says under the name that is its argument."""

    timeout = 50.0
    max_attempts = 3

    def __init__(self, acts: dict[str, Act]) -> None:
        self._acts = acts

    async def perform(self, context: JobContext, args: str) -> Result:
        return await self._acts[args](context)

    def backoff(self, attempt: int) -> float:
        return 7.0 * attempt


class FaultyStore:
    """A store that raises `fault`, where there is one, instead of doing one of the things that it is to fail at."""

    def __init__(self, store: JobStore, *fails_at: str) -> None:
        self._store = store
        self._fails_at = fails_at  # empty: everything
        self.fault: Callable[[], Exception] | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name == "job_wakeups" or (self._fails_at and name not in self._fails_at):
            return method

        async def ask(*arguments: Any, **options: Any) -> Any:
            if self.fault is not None:
                await trio.lowlevel.checkpoint()
                raise self.fault()
            return await method(*arguments, **options)

        return ask

    def go_away(self) -> None:
        self.fault = lambda: Unavailable("The store is away.")

    def come_back(self) -> None:
        self.fault = None


@dataclass
class Worker:
    dispatcher: Dispatcher
    store: FaultyStore
    scope: trio.CancelScope

    def kill(self) -> None:
        """As SIGKILL: nothing is given back."""
        self.scope.cancel()


@dataclass
class Shop:
    """An engine, and who works in it."""

    engine: Engine
    nursery: trio.Nursery
    disk: FaultyStore  # fails at commits
    own_crons: Collection[str]  # of the engine; they do not run here
    acts: dict[str, Act] = field(default_factory=dict[str, Act])
    begun: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])  # name and instant, of `takes`
    running: int = 0
    most: int = 0
    workers: int = 0

    def hire(self, registry: JobRegistry | None = None, **limits: Any) -> Worker:
        """Another worker, as on another node; with a registry of its own, it runs another version of the program."""
        world = self.engine.world
        self.workers += 1
        store: Any = FaultyStore(world.jobs.store)
        place = Workplace(
            store,
            world.journal,
            world.jobs,
            world.registry if registry is None else registry,
            self.engine.directory,
            address_of,
            world.wall_clock,
            replace(world.job_limits, **limits),
        )
        worker = Worker(Dispatcher(f"worker-{self.workers}", place), store, trio.CancelScope())
        self.nursery.start_soon(self._work, worker)
        return worker

    async def _work(self, worker: Worker) -> None:
        with worker.scope:
            await worker.dispatcher.run()

    def takes(self, name: str, seconds: float, result: Result = None) -> None:
        """A job of this name notes when it began, and takes so long."""

        async def act(_: JobContext) -> Result:
            self.begun.append((name, trio.current_time()))
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                if seconds:
                    with trio.move_on_after(seconds):
                        await trio.sleep_forever()
            finally:
                self.running -= 1
            return result

        self.acts[name] = act

    def fails(self, name: str, error: Exception) -> None:
        async def act(_: JobContext) -> Result:
            self.begun.append((name, trio.current_time()))
            raise error

        self.acts[name] = act

    async def enqueue(self, name: str, count: int = 1, **options: Any) -> str:
        """Jobs that do what has this name; returns the id of the last."""
        id = ""
        for _ in range(count):
            id = await self.engine.jobs.enqueue(Script, name, **options)
        return id

    async def job(self, id: str, account_id: int = 0) -> Job:
        job = await self.engine.jobs.store.job(account_id, id)
        assert job is not None
        return job

    async def jobs(self, account_id: int = 0, **which: str) -> Sequence[Job]:
        return await self.engine.jobs.store.jobs(account_id, JobFilter(kind=Script.name, **which), limit=1000)

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.begun]

    @property
    def times(self) -> list[float]:
        return [when for _, when in self.begun]


@asynccontextmanager
async def open_shop(limits: JobLimits = QUIET, *, patience: float = 10.0) -> AsyncGenerator[Shop]:
    """Nobody works there yet."""
    settings = Settings(jobs=limits, group_commit=GroupCommitLimits(patience=patience))
    async with AsyncExitStack() as stack:
        disk: Any = FaultyStore(await stack.enter_async_context(open_store("memory:")), "commit")
        engine_open = run_engine(disk, None, settings, virtual_wall_clock)
        engine = await stack.enter_async_context(engine_open)
        nursery = await stack.enter_async_context(trio.open_nursery())
        known = engine.world.registry
        shop = Shop(engine, nursery, disk, list(known.crons))
        known.add(Script, lambda: Script(shop.acts))
        known.crons.clear()
        yield shop
        nursery.cancel_scope.cancel()
