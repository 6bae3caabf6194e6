"""The command line: `tertulia serve`, `demo`, `account`, `migrate`, `settings`."""

from __future__ import annotations

import argparse
import gc
import getpass
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import trio

from ..actors import times
from ..engine.errors import TertuliaError
from ..engine.hosting import open_shielded_nursery
from ..storage.group_commit import GroupCommit
from ..storage.open import open_store
from ..storage.sqlite import SqliteStore
from . import demo as demo_account
from .engine import open_engine
from .first_account import make_account
from .memory import give_memory_back, run_on_returning_allocator
from .server import open_server
from .settings import Settings, settings_from, variables

#: Generation 0 is collected after so many new objects. Requests leave little garbage that needs the collector, and each
#: run of it walks the live objects: with thousands of connections the default of 700 costs more than it frees.
GC_THRESHOLDS = (50_000, 20, 50)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0, 1 where it failed, 2 where it was asked wrongly."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return int(options.run(options, os.environ))
    except TertuliaError as error:
        print(f"tertulia: {error.detail}", file=sys.stderr)
        return 2
    except BaseExceptionGroup as group:
        known = group.subgroup(TertuliaError)
        if known is None:
            raise
        print(f"tertulia: {_one_of(known)}", file=sys.stderr)
        return 1


def _one_of(group: BaseExceptionGroup[TertuliaError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


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
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve HTTP and /cable on one port", description=_serve.__doc__)
    serve.add_argument("--bind", metavar="HOST:PORT", help="default: 127.0.0.1:8000; port 0 takes a free one")
    serve.add_argument("--database", metavar="URL", help="default: sqlite:///tertulia.db")
    serve.add_argument("--demo", action="store_true", help="fill the database with a demo account first")
    serve.set_defaults(run=_serve)

    demo = commands.add_parser("demo", help="fill a database with a demo account", description=_demo.__doc__)
    demo.add_argument("--database", metavar="URL", required=True)
    demo.add_argument("--conversations", metavar="N", type=_count, default=demo_account.DEFAULT_CONVERSATIONS)
    demo.add_argument("--json", action="store_true", help="print people, ids and tokens as JSON")
    demo.set_defaults(run=_demo)

    account = commands.add_parser(
        "account", help="make an account with its administrator", description=_account.__doc__
    )
    account.add_argument("--database", metavar="URL", required=True)
    account.add_argument("--name", required=True, help="the account's name")
    account.add_argument("--email", required=True, help="the administrator's e-mail")
    account.add_argument("--user-name", help="the administrator's name (default: what stands before the @)")
    account.set_defaults(run=_account)

    migrate = commands.add_parser("migrate", help="bring a database's schema up to date", description=_migrate.__doc__)
    migrate.add_argument("--database", metavar="URL", required=True)
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


def _serve(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Serve until SIGINT or SIGTERM, then finish what is under way, tell clients to reconnect, and exit with 0."""
    settings = settings_from(environment, bind=options.bind, database=options.database)
    run_on_returning_allocator()
    _allow_many_files()
    trio.run(_serving, settings, options.demo, restrict_keyboard_interrupt_to_checkpoints=True)
    return 0


async def _serving(settings: Settings, demo: bool) -> None:
    # A process manager may send SIGTERM more than once; a person who presses Ctrl-C again means it.
    with trio.open_signal_receiver(signal.SIGTERM) as terminations:
        async with open_engine(settings.server.database, settings) as engine:
            world, filled = engine.world, None
            if demo:
                filled = await demo_account.fill(world.reads, world.journal, world.wall_clock())
                _print_demo(filled)
            async with open_server(engine, settings, demo=filled) as server, trio.open_nursery() as nursery:
                nursery.start_soon(give_memory_back, engine.directory)
                gc.collect()
                gc.freeze()
                gc.set_threshold(*GC_THRESHOLDS)
                if filled is not None:
                    print(f"# both sides of a chat: {server.url}/demo")
                print(f"tertulia accepts connections on {server.url} (cable: {settings.server.cable_path})", flush=True)
                with trio.open_signal_receiver(signal.SIGINT) as interrupts:
                    await _first_of_both(terminations, interrupts)
                nursery.cancel_scope.cancel()


async def _first_of_both(*sources: AsyncIterator[int]) -> None:
    async with trio.open_nursery() as nursery:

        async def wait_for(source: AsyncIterator[int]) -> None:
            await anext(source)
            nursery.cancel_scope.cancel()

        for source in sources:
            nursery.start_soon(wait_for, source)


def _allow_many_files() -> None:
    """A connection is a file: raise the soft limit to what the system allows."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS names a hard limit that it does not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 10_240), hard))


def _demo(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Fill a database with one account: an administrator, two agents, a viewer, and N contacts with a conversation
    each.

    The same N twice changes nothing and prints the same.
    """
    settings = settings_from(environment, database=options.database)

    async def fill() -> None:
        async with _open_journal(settings) as (store, journal):
            filled = await demo_account.fill(store, journal, times.now(), options.conversations)
        if options.json:
            print(json.dumps(filled))
        else:
            _print_demo(filled)

    trio.run(fill)
    return 0


def _account(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Make an account with its first administrator and an inbox. The password is asked for, or read from standard
    input."""
    settings = settings_from(environment, database=options.database)
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    user_name = options.user_name or options.email.partition("@")[0]

    async def make() -> None:
        async with _open_journal(settings) as (store, journal):
            account, user, inbox = await make_account(
                store, journal, times.now(),
                name=options.name, email=options.email, user_name=user_name, password=password,
            )  # fmt: skip
        print(f"account {account.id}, administrator {user.id} ({user.email}), inbox {inbox.id} ({inbox.identifier})")

    trio.run(make)
    return 0


@asynccontextmanager
async def _open_journal(settings: Settings) -> AsyncGenerator[tuple[SqliteStore, GroupCommit]]:
    """A store and its writer, without an engine."""
    async with open_store(settings.server.database) as store, open_shielded_nursery() as nursery:
        journal = GroupCommit(store, settings.group_commit)
        nursery.start_soon(journal.run)
        yield store, journal


def _print_demo(filled: Mapping[str, Any]) -> None:
    users, contacts = filled["users"], filled["contacts"]
    print(f"# demo account {filled['account_id']}, inbox {filled['inbox_id']}, password {demo_account.PASSWORD!r}")
    for user in users:
        print(f"# {user['role']:<13} {user['email']:<19} {user['token']}")
    print(
        f"# contacts {contacts[0]['id']} to {contacts[-1]['id']}, each with a conversation; --json prints their tokens"
    )
    print("# an agent and the visitor of the first conversation, for another terminal:")
    print(f"export TOKEN={users[1]['token']}")
    print(f"export VISITOR_TOKEN={contacts[0]['token']}", flush=True)


def _migrate(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Make the database where there is none, and apply the migrations that it lacks."""
    settings = settings_from(environment, database=options.database)

    async def migrate() -> None:
        async with open_store(settings.server.database) as store:
            if options.new_epoch:
                await store.new_epoch()
            print(f"{settings.server.database} is up to date (epoch {await store.epoch()})")

    trio.run(migrate)
    return 0


def _settings(_: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Print every setting with the value that it has in this environment."""
    settings = settings_from(environment)
    for name, (section, item) in variables().items():
        print(f"{name}={getattr(getattr(settings, section), item)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
