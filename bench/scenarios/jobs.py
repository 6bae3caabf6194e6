"""Jobs: 64 tasks enqueue a job, wait until it was performed, and enqueue the next. What a durable job costs.

The job itself does nothing. The latency is from before it is enqueued until it has been performed. Engine and worker
are one process, as they are on SQLite; lost is what the store does not call completed at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from ..load.histogram import Histogram
from ..load.marks import Completeness
from ..results import Result, latency_of
from ..servers import TERTULIA, DidNotStart, on_cores, store_for
from ..stage import Stage
from ..usage import MIB
from . import jobs_program
from .jobs_program import AT_ONCE, Measured
from .scenario import Scenario, no_peer

SECONDS, QUICK_SECONDS = 8.0, 1.5


def measure(stage: Stage) -> Iterator[Result]:
    stage.progress.begin(f"{AT_ONCE} jobs at once")
    measured = _run(stage, stage.choose(SECONDS, QUICK_SECONDS))
    done = measured.performed
    yield Result(
        "jobs",
        TERTULIA,
        version(TERTULIA),
        f"{AT_ONCE} at once",
        "job",
        throughput=done / measured.seconds,
        seconds=measured.seconds,
        latency=latency_of(Histogram(measured.latencies)),
        cpu_us={name: 1e6 * used / done for name, used in measured.cpu.items()} if done else {},
        cpu_share=sum(measured.cpu.values()) / measured.seconds,
        resident_mib={name: size / MIB for name, size in measured.resident.items()},
        client_share=0.0,
        completeness=Completeness(measured.enqueued, measured.enqueued - measured.completed, measured.twice),
        complaints=() if done else ("no job was performed",),
    )


def _run(stage: Stage, seconds: float) -> Measured:
    """Raises DidNotStart with what the program said."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="tertulia-bench-")))
        database, _, roots = store_for(stack, stage.place, folder)
        command = [sys.executable, "-m", jobs_program.__name__, database, str(seconds), *map(str, roots)]
        with on_cores(stage.place.cores):
            done = subprocess.run(command, capture_output=True, env=dict(os.environ))
    if done.returncode:
        raise DidNotStart(f"The program that runs jobs failed: {done.stderr.decode()[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)


SCENARIO = Scenario("jobs", "enqueued, performed and completed", measure, fits=no_peer)
