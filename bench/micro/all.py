"""All micro benchmarks, in the order of a message's way."""

from __future__ import annotations

from collections.abc import Collection

from . import actors, commits, rights, wire
from .bench import MicroBench

BENCHES: tuple[MicroBench, ...] = (*wire.BENCHES, *rights.BENCHES, *actors.BENCHES, *commits.BENCHES)


def available(names: Collection[str] = ()) -> tuple[list[MicroBench], dict[str, str]]:
    """Those that can run here, of these names or all; and the reasons of those that cannot.

    Raises:
        LookupError: there is none of such a name.
    """
    unknown = set(names) - {bench.name for bench in BENCHES}
    if unknown:
        known = ", ".join(bench.name for bench in BENCHES)
        raise LookupError(f"There is no micro benchmark {', '.join(sorted(unknown))}; there are {known}.")
    chosen = [bench for bench in BENCHES if not names or bench.name in names]
    reasons = {bench.name: reason for bench in chosen if (reason := bench.missing()) is not None}
    return [bench for bench in chosen if bench.name not in reasons], reasons
