"""`python -m tests.chaos`: real nodes, real servers, and everything goes wrong while people chat.

    python -m tests.chaos [chaos]    a node is killed every 10 s, Redis and PostgreSQL once each
    python -m tests.chaos frozen     a node, Redis and PostgreSQL are frozen in turn (SIGSTOP) and go on
    python -m tests.chaos rolling    every node is stopped and started in turn, under load
    python -m tests.chaos latency    how long a message takes from one node to a subscriber of another
    python -m tests.chaos jobs       a worker is killed amid its jobs; --database for another one than a new SQLite file
    python -m tests.chaos tenants    how long one tenant's webhooks wait while the receiver of another one is slow

Exits with 1 where somebody lost something, saw something twice or in another order.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import trio

from . import killed_worker, slow_tenant
from .crowd import Crowd
from .faults import FREEZES, Planned, run_faults, schedule
from .latency import line_of as latency_line
from .latency import measure
from .report import errors_in, facts_of, show
from .rolling import complaints_about, roll
from .rolling import line_of as restart_line
from .stage import Stage, open_stage
from .tally import Tally

SETTLE = 40.0  # seconds that the end may take


def main() -> int:
    options = _parser().parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tertulia-chaos-"))
    good: bool = trio.run(RUNS[options.what], options, folder)
    if good:
        shutil.rmtree(folder)
    else:
        print(f"the nodes' logs are in {folder}", file=sys.stderr)
    return 0 if good else 1


async def _chaos(options: argparse.Namespace, folder: Path) -> bool:
    return await _with_faults(options, folder, schedule(options.seconds, options.kill_every), options.seconds)


async def _frozen(options: argparse.Namespace, folder: Path) -> bool:
    return await _with_faults(options, folder, FREEZES, 0.0)


async def _with_faults(options: argparse.Namespace, folder: Path, planned: Sequence[Planned], seconds: float) -> bool:
    async with open_stage(folder, nodes=options.nodes, conversations=options.conversations) as stage:
        crowd = _crowd(stage, options)
        async with crowd.chatting():
            began = trio.current_time()
            done = await run_faults(stage, planned)
            await trio.sleep_until(began + seconds)
            verdict = await crowd.settle(stage.read_logs, SETTLE)
        facts = await facts_of(verdict, crowd, stage.nodes)
        complaints = [*verdict.complaints, *errors_in(stage.nodes)]
    show(facts, [*done, *crowd.notes()], complaints, as_json=options.json)
    return not complaints


async def _rolling(options: argparse.Namespace, folder: Path) -> bool:
    settings = {"TERTULIA_DRAIN_WINDOW": str(options.drain_window)}
    async with open_stage(folder, nodes=options.nodes, conversations=options.conversations, settings=settings) as stage:
        crowd = _crowd(stage, options, only_accepting=True)
        async with crowd.chatting():
            await trio.sleep(2)
            done = await roll(stage, crowd.tally, options.drain_window)
            verdict = await crowd.settle(stage.read_logs, SETTLE)
        facts = await facts_of(verdict, crowd, stage.nodes)
        complaints = [*verdict.complaints, *complaints_about(done, crowd.tally), *errors_in(stage.nodes)]
    lines = [*map(restart_line, done), *crowd.notes()]
    show(facts, lines, complaints, as_json=options.json)
    return not complaints


async def _latency(options: argparse.Namespace, folder: Path) -> bool:
    async with open_stage(folder, nodes=options.nodes, conversations=options.conversations) as stage:
        for measured in await measure(stage):
            print(latency_line(measured))
    return True


async def _jobs(options: argparse.Namespace, folder: Path) -> bool:
    database = options.database or f"sqlite:///{folder}/jobs.db"
    verdict = await killed_worker.run(
        database, folder, jobs=options.jobs, kills=options.kills, seconds=options.job_seconds, pause=options.pause
    )
    show({}, verdict.lines(), verdict.complaints, as_json=options.json)
    return not verdict.complaints


async def _tenants(options: argparse.Namespace, folder: Path) -> bool:
    database = options.database or f"sqlite:///{folder}/tenants.db"
    turns = await slow_tenant.measure(database, turns=3, seconds=10.0, rate=20.0, webhooks=10, sleep=5.0)
    for turn in turns:
        print(slow_tenant.line_of(turn))
    return True


def _crowd(stage: Stage, options: argparse.Namespace, *, only_accepting: bool = False) -> Crowd:
    return Crowd(
        stage.demo,
        stage.nodes,
        Tally(trio.current_time()),
        senders=options.senders,
        subscribers=options.subscribers,
        dashboards=options.dashboards,
        rate=options.rate,
        only_accepting=only_accepting,
    )


RUNS: dict[str, Callable[[argparse.Namespace, Path], Awaitable[bool]]] = {
    "chaos": _chaos,
    "frozen": _frozen,
    "rolling": _rolling,
    "latency": _latency,
    "jobs": _jobs,
    "tenants": _tenants,
}


def _parser() -> argparse.ArgumentParser:
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="?", choices=RUNS, default="chaos")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--senders", type=int, default=200)
    parser.add_argument("--subscribers", type=int, default=600)
    parser.add_argument("--dashboards", type=int, default=6, help="subscribers of the account: of all conversations")
    parser.add_argument("--conversations", type=int, default=50)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--rate", type=float, default=100.0, help="messages a second, of all senders together")
    parser.add_argument("--kill-every", type=float, default=10.0, help="seconds")
    parser.add_argument("--drain-window", type=float, default=5.0, help="seconds, of each node in `rolling`")
    parser.add_argument("--database", metavar="URL", help="in `jobs` and `tenants`")
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--job-seconds", type=float, default=0.2)
    parser.add_argument("--pause", type=float, default=1.5, help="seconds from a worker's start to its death")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
