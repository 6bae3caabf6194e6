"""Giving memory back. A server that was busy for an hour should not look busy for the rest of the day.

When many actors have gone to rest, their memory is free inside the process, but the system does not have it back:
CPython's own allocator returns a megabyte only when nothing at all is left in it. `tertulia serve` therefore runs on
an allocator that gives back every free page when it is asked to: jemalloc where it is installed, else the C library's
where that is glibc. Measured with 10,000 conversations touched once each, resident MiB before, after, and when they
were passive again, the first time and the fourth: jemalloc 94, 144, 73 and 76; glibc 90, 131, 69 and 69; CPython's
own 83, 122, 85 and 98. A durable message takes 24 us of CPU with jemalloc, 25 with CPython's own, 27 with glibc.
Whoever wants another sets PYTHONMALLOC or LD_PRELOAD.

glibc's heap lies in huge pages where the system lends them: in a virtual machine, looking up the address of each small
page is a good part of what memory costs. Measured, in turns: 4 % less CPU for a durable message, and as many MiB.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import os
import platform
import sys
from collections.abc import Callable, Mapping

import trio

from ..engine.directory import Directory

#: Set in the environment of the process that serves. More than two arenas only scatter what could be given back.
GLIBC = {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "2", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
ALL_ARENAS = 4096  # jemalloc's MALLCTL_ARENAS_ALL
INTERVAL = 5.0  # seconds between two looks
WORTHWHILE = 1000  # actors that must have gone to rest: below that a trim costs more than it gives


def run_on_returning_allocator() -> None:
    """Start this program again on an allocator that gives memory back, where there is one; the process stays the same.

    Whoever sets PYTHONMALLOC or LD_PRELOAD has decided already, and is left alone.
    """
    chosen = with_returning_allocator(os.environ)
    if chosen != os.environ:
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], chosen)


def with_returning_allocator(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a program runs on an allocator that gives memory back, as above."""
    if platform.libc_ver()[0] != "glibc" or "PYTHONMALLOC" in environment:
        return dict(environment)
    jemalloc = ctypes.util.find_library("jemalloc")  # by its name, as the dynamic linker finds it
    return {**GLIBC, **({"LD_PRELOAD": jemalloc} if jemalloc else {}), **environment}


async def give_memory_back(directory: Directory) -> None:
    """Trim when many actors have gone to rest; runs until cancelled."""
    trim = trimmer()
    most = 0
    while True:
        await trio.sleep(INTERVAL)
        active = directory.statistics().active
        most = max(most, active)
        if most - active >= WORTHWHILE and active * 2 <= most:
            most = active
            gc.collect()  # also empties CPython's free lists, which keep pages alive
            await trio.to_thread.run_sync(trim)


def trimmer() -> Callable[[], object]:
    """What gives back every free page of this process; nothing where neither jemalloc nor glibc is its allocator."""
    loaded = ctypes.CDLL(None)
    if hasattr(loaded, "mallctl"):
        purge = f"arena.{ALL_ARENAS}.purge".encode()
        return lambda: loaded.mallctl(purge, None, None, None, ctypes.c_size_t(0))
    if platform.libc_ver()[0] != "glibc":
        return lambda: None
    trim = loaded.malloc_trim
    trim.argtypes = [ctypes.c_size_t]
    return lambda: trim(0)
