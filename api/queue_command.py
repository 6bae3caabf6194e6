"""`tertulia queue`: look at the queues of jobs, pause them, and limit their rate. It acts on the database.

On PostgreSQL the nodes that run take notice; a SQLite file that a server has open is that server's alone.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence

import trio

from ..actors import times
from ..actors.jobs.queue import JobQueue
from ..storage.job_contract import QueueCount
from ..storage.records import JobQueueRow, JobState
from .command_store import open_command_journal
from .settings import Settings, settings_from

#: The states that are counted; those that end well are only kept for a while.
STATES = (JobState.SCHEDULED, JobState.AVAILABLE, JobState.RUNNING, JobState.DISCARDED)


def add_actions(queue: argparse.ArgumentParser, *, named: bool) -> None:
    """Let a parser know what can be done. `named`: whether the database has to be named."""
    queue.description = __doc__
    actions = queue.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, help: str, *, of_one: bool = True) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=help)
        if of_one:
            parser.add_argument("name", metavar="NAME", help="of the queue")
        parser.add_argument("--database", metavar="URL", required=named)
        parser.set_defaults(run=run)
        return parser

    action("list", "how many jobs each queue has, and what was said of it", of_one=False)
    action("pause", "start none of its jobs any more; those that run go on")
    action("resume", "start its jobs again")
    limit = action("limit", "start at most so many of its jobs a second, on all nodes together")
    limit.add_argument("--rate", metavar="R", type=_rate, required=True, help="jobs a second; `none`: no limit")
    limit.add_argument("--burst", metavar="B", type=_burst, default=1.0, help="jobs at once, after a rest; default: 1")


def _rate(text: str) -> float | None:
    rate = None if text == "none" else float(text)
    if rate is not None and not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError("must be greater than zero, or `none`")
    return rate


def _burst(text: str) -> float:
    burst = float(text)
    if not 1 <= burst < math.inf:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return burst


def run(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = settings_from(environment, database=options.database)
    for line in trio.run(_act, settings, options):
        print(line)
    return 0


async def _act(settings: Settings, options: argparse.Namespace) -> Sequence[str]:
    async with open_command_journal(settings) as (store, journal):
        queue = JobQueue(store, journal, times.now, settings.jobs)
        match options.action:
            case "list":
                return list(table(await store.queue_counts(), await store.queues()))
            case "pause":
                await queue.pause(options.name)
                return [f"The queue {options.name} is paused."]
            case "resume":
                await queue.resume(options.name)
                return [f"The queue {options.name} runs."]
            case _:
                await queue.limit(options.name, options.rate, options.burst)
                return [f"The queue {options.name} {limit_of(options.rate, options.burst)}."]


def limit_of(rate: float | None, burst: float) -> str:
    return "has no limit" if rate is None else f"starts at most {rate:g} jobs a second, {burst:g} at once"


def table(counts: Sequence[QueueCount], rows: Sequence[JobQueueRow]) -> Iterator[str]:
    """A line for each queue that has jobs, or of which something was said."""
    known = {row.name: row for row in rows}
    jobs = {(count.queue, count.state): count.jobs for count in counts}
    names = sorted({*known, *(count.queue for count in counts)})
    width = max(map(len, ("queue", *names)))
    yield f"{'queue':{width}}  {'  '.join(f'{state:>9}' for state in STATES)}  state"
    for name in names:
        row = known.get(name, JobQueueRow(name=name))
        said = ["paused" if row.paused else "runs"]
        if row.rate is not None:
            said.append(limit_of(row.rate, row.burst))
        figures = "  ".join(f"{jobs.get((name, state), 0):>9}" for state in STATES)
        yield f"{name:{width}}  {figures}  {', '.join(said)}"
