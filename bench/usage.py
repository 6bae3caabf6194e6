"""What processes use, from Linux's /proc. In: a process and its descendants. Out: CPU time and memory by program."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
KIB = 1024
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Usage:
    """At one moment, by the name of the program.

    Attributes:
        cpu: seconds of user and system time since the start.
        resident: bytes; memory that processes share is divided among them.
    """

    cpu: dict[str, float] = field(default_factory=dict[str, float])
    resident: dict[str, int] = field(default_factory=dict[str, int])

    def since(self, before: Usage) -> dict[str, float]:
        """CPU seconds from then until now. What ended meanwhile, and took its time with it, counts nothing."""
        return {name: max(0.0, seconds - before.cpu.get(name, 0.0)) for name, seconds in self.cpu.items()}


def usage_of(roots: Iterable[int]) -> Usage:
    """Of these processes and all their descendants."""
    usage = Usage()
    for root in roots:
        for pid in family(root):
            with suppress(OSError):  # it ended while we looked
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                usage.cpu[name] = usage.cpu.get(name, 0.0) + cpu_seconds(pid)
                usage.resident[name] = usage.resident.get(name, 0) + resident(pid)
    return usage


def family(root: int) -> Iterator[int]:
    yield root
    with suppress(OSError):
        for thread in Path(f"/proc/{root}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from family(int(child))


def cpu_seconds(pid: int) -> float:
    """Of all threads. The scheduler's own count where there is one, because ticks are 10 ms."""
    total = 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return total / 1e9


def resident(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * KIB
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


#: What Linux keeps for a connected socket that waits in an epoll, by the names of /proc/slabinfo: the connection, its
#: inode, the open file, its entry in a directory that nobody sees, and the wait itself.
SOCKET_CACHES = frozenset({"TCP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi"})


def socket_size(slabinfo: Path = Path("/proc/slabinfo")) -> int | None:
    """Bytes of kernel memory that a silent connection takes at one end; None where the kernel does not tell (not root).

    Its buffers are not in it: they hold nothing where nothing is on the way.
    """
    with suppress(OSError):
        rows = [line.split() for line in slabinfo.read_text().splitlines()[2:]]  # after the version and the columns
        sizes = {row[0]: int(row[3]) for row in rows if row[0] in SOCKET_CACHES}
        if sizes.keys() == SOCKET_CACHES:
            return sum(sizes.values())
    return None
