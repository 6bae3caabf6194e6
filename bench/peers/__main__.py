"""`python -m bench.peers [install | try] [NAME...]`: which peers there are, and whether they work here."""

from __future__ import annotations

import argparse
import subprocess
import sys

from . import Peer, peer, peers
from .running import DoesNotStart, run_peer
from .trial import TrialFailed, try_out


def main() -> int:
    """List, install or try peers; 1 where one of those that were named does not do."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("list", "install", "try"), default="list")
    parser.add_argument("name", nargs="*", help="all where none is named")
    given = parser.parse_args()
    try:
        chosen = [peer(name) for name in given.name] or peers()
    except LookupError as error:
        parser.error(str(error))
    good = True
    for one in chosen:
        if given.what == "install":
            subprocess.run([one.folder / "install"], check=False)
            one = peer(one.name)
        state = one.missing or "installed"
        if given.what == "try" and one.missing is None:
            state = _tried(one)
            good = good and state == "works"
        good = good and (one.missing is None or not given.name)
        kept = "durable" if one.durable else "not durable"
        print(f"{one.name:12} {one.title:20} {one.version:10} {kept:12} {state}", flush=True)
    return 0 if good else 1


def _tried(one: Peer) -> str:
    try:
        with run_peer(one) as running:
            try_out(one, running.port)
    except (DoesNotStart, TrialFailed, OSError) as error:
        return f"fails: {error}"
    return "works"


if __name__ == "__main__":
    sys.exit(main())
