"""How a run is printed. In: its counts and its verdict. Out: lines, or JSON."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .crowd import Crowd
from .nodes import Node
from .verdict import Verdict

SHOWN = 20  # complaints
#: An error that is right when the store is away.
EXPECTED = "tertulia.group_commit: the store did not commit"


async def facts_of(verdict: Verdict, crowd: Crowd, nodes: Sequence[Node]) -> dict[str, Any]:
    """The verdict's counts, the crowd's, and what the nodes counted."""
    counters: Counter[str] = Counter()
    for node in nodes:
        await node.note_counters()
        counters += node.counters
    found = {name.replace("_", " "): value for name, value in vars(verdict).items() if name != "complaints"}
    own = {
        "kills of nodes": sum(node.kills for node in nodes),
        "CPU seconds of the clients": round(time.process_time()),
    }
    return {**found, **crowd.summary(), **counters, **own}


def show(facts: Mapping[str, Any], done: Sequence[str], complaints: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**facts, "done": list(done), "complaints": list(complaints)}, indent=1))
        return
    for line in done:
        print(line)
    for name, value in _flat(facts):
        print(f"{value:>10}  {name}")
    for complaint in complaints[:SHOWN]:
        print("WRONG", complaint)
    if len(complaints) > SHOWN:
        print(f"... and {len(complaints) - SHOWN} more")
    print("bad" if complaints else "good")


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}: ")  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield prefix + name, value


def errors_in(nodes: Sequence[Node]) -> list[str]:
    """What the nodes logged as an error: a defect, whatever the rest says."""
    return [line for node in nodes for line in _errors(node.name, node.log)]


def _errors(name: str, log: Path) -> Iterator[str]:
    for line in log.read_text(errors="replace").splitlines():
        if EXPECTED in line:
            continue
        if " ERROR " in line or " CRITICAL " in line or line.startswith("Traceback"):
            yield f"node {name} logged: {line}"
