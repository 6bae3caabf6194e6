"""One process that runs jobs and serves nobody: an engine, and an orderly end. Next hop: `engine`."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable

import trio

from .engine import open_engine
from .jobs_module import load_jobs
from .memory import give_memory_back
from .serving import GC_THRESHOLDS, first_of, next_of, run_reporting
from .settings import Settings, shown


def run_jobs(settings: Settings) -> None:
    """Run jobs until SIGINT or SIGTERM, then let those that run finish, for as long as `JobLimits.drain` says.

    Raises:
        TertuliaError: the worker cannot start.
        BaseExceptionGroup: with a TertuliaError, it failed later.
    """

    async def work(started: Callable[[], None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as terminations:
            server = settings.server
            jobs = load_jobs(server.jobs_module)
            async with (
                open_engine(server.database, settings, redis=server.redis or None, jobs=jobs) as engine,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(give_memory_back, engine.directory)
                gc.collect()
                gc.freeze()
                gc.set_threshold(*GC_THRESHOLDS)
                started()
                queues = ", ".join(settings.jobs.queues) or "all"
                print(f"tertulia runs jobs of {shown(server.database)} (queues: {queues})", flush=True)
                with trio.open_signal_receiver(signal.SIGINT) as interrupts:
                    await first_of(next_of(terminations), next_of(interrupts))
                nursery.cancel_scope.cancel()

    run_reporting(work)
