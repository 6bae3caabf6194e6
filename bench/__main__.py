"""`python -m bench`: how fast Tertulia is, and what others would do in its place.

    python -m bench list                     what there is to measure, and which peers are installed
    python -m bench run [NAME...]            scenarios, all where none is named; the report goes into --out
    python -m bench run --quick              all of them in two minutes: figures that are good for a first look
    python -m bench micro [...]              single parts: mailbox, codec, frames, group commit
    python -m bench guard [...]              compare the parts with the figures that are kept; 1 where one got slower
    python -m bench peers [...]              list, install or try the peers

Exits with 1 where something was lost, came twice or in another order, or the generator was the bottleneck.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from . import peers as known_peers
from .peers import Peer
from .progress import Progress
from .report import folder as report
from .report.lines import line_of
from .results import all_ok
from .run import Plan, carry_out, missing
from .scenarios.catalogue import SCENARIOS
from .servers import Place

#: Commands that are programs of their own: what follows is theirs.
PROGRAMS = {"micro": "bench.micro", "guard": "bench.guard", "peers": "bench.peers"}
ALL, NONE = "all", "none"


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; returns the exit status."""
    if arguments and arguments[0] in PROGRAMS:
        sys.argv = [f"python -m {PROGRAMS[arguments[0]]}", *arguments[1:]]
        runpy.run_module(PROGRAMS[arguments[0]], run_name="__main__", alter_sys=True)
        return 0
    options = _parser().parse_args(arguments)
    return _list() if options.command == "list" else _run(options)


def _list() -> int:
    for scenario in SCENARIOS.values():
        print(f"{scenario.name:16} {scenario.summary}")
    print()
    for peer in known_peers.peers():
        print(f"{peer.name:16} {peer.title} {peer.version}: {peer.missing or 'installed'}")
    return 0


def _run(options: argparse.Namespace) -> int:
    chosen = _peers(options.peers if options.peers is not None else NONE if options.quick else ALL)
    plan = Plan(
        [SCENARIOS[name] for name in options.name or SCENARIOS],
        [None, *(peer for peer in chosen if peer.missing is None)],
        options.runs,
        options.quick,
        spare_peers=not options.name,
        place=Place(options.server_cores, options.database, options.redis),
        client_cores=options.client_cores,
    )
    progress = Progress(plan.points)
    outcome = carry_out(plan, progress, lambda result: progress.say(line_of(result)))
    outcome = report.with_skipped(outcome, missing(chosen))
    page = report.write(outcome, options.out)
    print(f"the report is in {page}")
    return 0 if all_ok(outcome.results) and outcome.results else 1


def _peers(names: str) -> list[Peer]:
    if names == NONE:
        return []
    return known_peers.peers() if names == ALL else [known_peers.peer(name) for name in names.split(",")]


def _scenario(text: str) -> str:
    if text not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"there is no scenario {text}; there are {', '.join(SCENARIOS)}")
    return text


def _cores(text: str) -> tuple[int, ...]:
    return tuple(int(core) for core in text.split(",") if core)


def _parser() -> argparse.ArgumentParser:
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="what there is to measure")
    for name, module in PROGRAMS.items():
        commands.add_parser(name, help=f"python -m {module}", add_help=False)
    run = commands.add_parser("run", help="measure scenarios")
    run.add_argument("name", nargs="*", type=_scenario, metavar="NAME", help="default: all; see `list`")
    run.add_argument("--quick", action="store_true", help="less of everything; peers only if --peers asks")
    run.add_argument("--runs", type=int, default=1, metavar="N", help="the table shows medians and the spread")
    run.add_argument("--out", type=Path, default=Path("bench-report"), metavar="DIR", help="default: bench-report")
    run.add_argument("--peers", metavar="NAMES", help="all, none, or names with commas between; default: all")
    server, client = ("0", "1") if (os.cpu_count() or 1) > 1 else ("", "")
    cores = "cores with commas between; empty: no fixed ones"
    run.add_argument("--server-cores", type=_cores, default=_cores(server), metavar="CORES", help=cores)
    run.add_argument("--client-cores", type=_cores, default=_cores(client), metavar="CORES", help=cores)
    run.add_argument("--database", default="sqlite", metavar="WHICH", help="sqlite, postgres (started), or a URL")
    run.add_argument("--redis", metavar="URL", help="with a PostgreSQL's URL")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
