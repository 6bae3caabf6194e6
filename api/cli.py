"""The command line: `tertulia serve`, `worker`, `queue`, `demo`, `account`, `migrate`, `settings`."""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, cast

import trio

from ..actors import times
from ..engine.errors import TertuliaError
from . import demo as demo_account
from .command_store import open_command_journal, open_command_store
from .first_account import make_account
from .job_worker import run_jobs
from .memory import run_on_returning_allocator, with_returning_allocator
from .queue_command import add_actions
from .serving import Parent, allow_many_files, known_error, serve, serve_as_worker
from .settings import Settings, check_nodes, settings_from, shown, variables
from .workers import serve_with_workers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0, 1 where it failed, 2 where it was asked wrongly."""
    options = _parser().parse_args(arguments)
    process = "" if getattr(options, "parent", None) is None else "%(process)d "
    log_format = f"%(asctime)s {process}%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=options.log_level.upper(), format=log_format)
    try:
        return int(options.run(options, os.environ))
    except TertuliaError as error:
        print(f"tertulia: {error.detail}", file=sys.stderr)
        return 2
    except BaseExceptionGroup as group:
        known = known_error(group)
        if known is None:
            raise
        print(f"tertulia: {known.detail}", file=sys.stderr)
        return 1


_JOBS = "your own jobs: a module with a function `jobs(registry)` that adds them"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tertulia",
        description="A realtime messaging engine for live chat.",
        epilog="Every limit can be set in the environment: `tertulia settings` lists the TERTULIA_* variables.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('tertulia')}")
    parser.add_argument(
        "--log-level", default="warning", choices=("debug", "info", "warning", "error"), help="default: warning"
    )
    named = "TERTULIA_DATABASE" not in os.environ  # what changes a database takes none by default
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve HTTP and /cable on one port", description=_serve.__doc__)
    serve.add_argument("--bind", metavar="HOST:PORT", help="default: 127.0.0.1:8000; port 0 takes a free one")
    serve.add_argument(
        "--database", metavar="URL", help="sqlite:///file.db or postgresql://...; default: sqlite:///tertulia.db"
    )
    serve.add_argument("--redis", metavar="URL", help="what connects nodes that share a PostgreSQL database")
    serve.add_argument(
        "--workers",
        metavar="N",
        type=_workers,
        help="processes that serve on the port (not job workers: `tertulia worker`); `auto`: one for each processor",
    )
    serve.add_argument("--parent", metavar="FD", type=int, help=argparse.SUPPRESS)
    serve.add_argument("--demo", action="store_true", help="fill the database with a demo account first")
    serve.add_argument("--no-jobs", action="store_true", help="run no jobs: `tertulia worker` does, or another node")
    serve.add_argument("--jobs", metavar="MODULE", help=_JOBS)
    serve.set_defaults(run=_serve)

    worker = commands.add_parser("worker", help="run jobs without serving", description=_worker.__doc__)
    worker.add_argument("--database", metavar="URL", help="default: sqlite:///tertulia.db")
    worker.add_argument(
        "--redis", metavar="URL", help="what connects it with the nodes that serve, where there are any"
    )
    worker.add_argument("--queues", metavar="A,B", type=_names, help="only jobs of these queues; default: all")
    worker.add_argument("--jobs", metavar="MODULE", help=_JOBS)
    worker.set_defaults(run=_worker)

    add_actions(commands.add_parser("queue", help="list, pause and limit queues of jobs"), named=named)

    demo = commands.add_parser("demo", help="fill a database with a demo account", description=_demo.__doc__)
    demo.add_argument("--database", metavar="URL", required=named)
    demo.add_argument("--conversations", metavar="N", type=_count, default=demo_account.DEFAULT_CONVERSATIONS)
    demo.add_argument("--json", action="store_true", help="print people, ids and tokens as JSON")
    demo.set_defaults(run=_demo)

    account = commands.add_parser(
        "account", help="make an account with its administrator", description=_account.__doc__
    )
    account.add_argument("--database", metavar="URL", required=named)
    account.add_argument("--name", required=True, help="the account's name")
    account.add_argument("--email", required=True, help="the administrator's e-mail")
    account.add_argument("--user-name", help="the administrator's name (default: what stands before the @)")
    account.set_defaults(run=_account)

    migrate = commands.add_parser("migrate", help="bring a database's schema up to date", description=_migrate.__doc__)
    migrate.add_argument("--database", metavar="URL", required=named)
    migrate.add_argument("--new-epoch", action="store_true", help="after restoring a backup: void clients' positions")
    migrate.set_defaults(run=_migrate)

    settings = commands.add_parser("settings", help="list all settings", description=_settings.__doc__)
    settings.set_defaults(run=_settings)
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("must name a queue")
    return names


def _workers(text: str) -> int:
    if text != "auto":
        return _count(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _serve(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Serve until SIGINT or SIGTERM, then finish what is under way, tell clients to reconnect, and exit with 0.

    With several workers, SIGHUP replaces them one after the other.
    """
    settings = settings_from(
        environment, bind=options.bind, database=options.database, redis=options.redis, workers=options.workers,
        jobs_module=options.jobs,
    )  # fmt: skip
    if options.no_jobs:
        settings = replace(settings, jobs=replace(settings.jobs, run=False))
    check_nodes(settings.server)
    if options.parent is None and settings.server.workers > 1:
        return _serve_with_workers(settings, environment, demo=options.demo)
    run_on_returning_allocator()
    allow_many_files()
    if options.parent is not None:
        return serve_as_worker(settings, Parent(options.parent), demo=options.demo)
    serve(settings, demo=options.demo)
    return 0


def _worker(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run jobs until SIGINT or SIGTERM, then let those under way finish, give back what has not begun, and exit with 0.

    Any number of these may work on one PostgreSQL database, beside servers or without; a SQLite file is open in one
    process only, so jobs on it are run by the server (`tertulia serve`), or by a worker while no server runs. This is
    not what `tertulia serve --workers` counts: those are processes that serve, and run jobs besides.
    """
    settings = settings_from(
        environment, database=options.database, redis=options.redis, workers=1, jobs_module=options.jobs
    )
    queues = settings.jobs.queues if options.queues is None else options.queues
    settings = replace(settings, jobs=replace(settings.jobs, run=True, queues=queues))
    check_nodes(settings.server)
    run_on_returning_allocator()
    allow_many_files()
    run_jobs(settings)
    return 0


def _serve_with_workers(settings: Settings, environment: Mapping[str, str], *, demo: bool) -> int:
    filled = _fill(settings) if demo else None
    if filled is not None:
        print(demo_account.sheet(filled))

    def accepting(url: str) -> None:
        if filled is not None:
            print(f"# both sides of a chat: {url}/demo")
        server = settings.server
        print(
            f"tertulia accepts connections on {url} with {server.workers} workers (cable: {server.cable_path})",
            flush=True,
        )

    command = [sys.executable, *sys.orig_argv[1:]]
    return serve_with_workers(settings, command, with_returning_allocator(environment), accepting)


def _fill(settings: Settings, conversations: int | None = None) -> dict[str, Any]:
    async def fill() -> dict[str, Any]:
        async with open_command_journal(settings) as (store, journal):
            return await demo_account.fill(store, journal, times.now(), conversations)

    return trio.run(fill)


def _demo(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Fill a database with one account: an administrator, two agents, a viewer, and N contacts with a conversation
    each.

    The same N twice changes nothing and prints the same.
    """
    settings = settings_from(environment, database=options.database)
    filled = _fill(settings, options.conversations)
    print(json.dumps(filled) if options.json else demo_account.sheet(filled))
    return 0


def _account(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Make an account with its first administrator and an inbox. The password is asked for, or read from standard
    input."""
    settings = settings_from(environment, database=options.database)
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    user_name = options.user_name or options.email.partition("@")[0]

    async def make() -> None:
        async with open_command_journal(settings) as (store, journal):
            account, user, inbox = await make_account(
                store, journal, times.now(),
                name=options.name, email=options.email, user_name=user_name, password=password,
            )  # fmt: skip
        print(f"account {account.id}, administrator {user.id} ({user.email}), inbox {inbox.id} ({inbox.identifier})")

    trio.run(make)
    return 0


def _migrate(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Make the database where there is none, and apply the migrations that it lacks."""
    settings = settings_from(environment, database=options.database)

    async def migrate() -> None:
        async with open_command_store(settings) as store:
            if options.new_epoch:
                await store.new_epoch()
            print(f"{shown(settings.server.database)} is up to date (epoch {await store.epoch()})")

    trio.run(migrate)
    return 0


def _settings(_: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Print every setting with the value that it has in this environment."""
    settings = settings_from(environment)
    for name, (section, item) in variables().items():
        value: Any = getattr(getattr(settings, section), item)
        parts = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
        text = ",".join(map(str, parts))
        print(f"{name}={shown(text)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
