"""Giving memory back. A server that was busy for an hour should not look busy for the rest of the day.

When many actors have gone to rest, their memory is free inside the process, but the system does not have it back:
CPython's own allocator returns a megabyte only when nothing at all is left in it. `tertulia serve` therefore runs on
the C library's allocator where that is glibc, whose `malloc_trim` gives back every free page. Measured with 10,000
conversations touched once each, resident MiB before, after, and when they were passive again: 54, 124, 61; with
CPython's allocator 53, 119, 77 the first time and 53, 126, 96 the third. It is not free: a durable message takes some
40 us of CPU instead of 35. Whoever wants those back more than the memory sets PYTHONMALLOC=pymalloc.

Its heap lies in huge pages where the system lends them: in a virtual machine, looking up the address of each small page
is a good part of what memory costs. Measured, in turns: 4 % less CPU for a durable message, and as many MiB.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
from collections.abc import Callable, Mapping

import trio

from ..engine.directory import Directory

#: Set in the environment of the process that serves. More than two arenas only scatter what could be given back.
ALLOCATOR = {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "2", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
INTERVAL = 5.0  # seconds between two looks
WORTHWHILE = 1000  # actors that must have gone to rest: below that a trim costs more than it gives


def run_on_returning_allocator() -> None:
    """Start this program again on the C library's allocator, where that gives memory back; the process stays the same.

    Whoever sets PYTHONMALLOC has decided already, and is left alone.
    """
    chosen = with_returning_allocator(os.environ)
    if chosen != os.environ:
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], chosen)


def with_returning_allocator(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a program runs on the C library's allocator, as above."""
    chosen = platform.libc_ver()[0] == "glibc" and "PYTHONMALLOC" not in environment
    return {**(ALLOCATOR if chosen else {}), **environment}


async def give_memory_back(directory: Directory) -> None:
    """Trim when many actors have gone to rest; runs until cancelled."""
    trim = _trimmer()
    most = 0
    while True:
        await trio.sleep(INTERVAL)
        active = directory.statistics().active
        most = max(most, active)
        if most - active >= WORTHWHILE and active * 2 <= most:
            most = active
            gc.collect()  # also empties CPython's free lists, which keep pages alive
            await trio.to_thread.run_sync(trim)


def _trimmer() -> Callable[[], object]:
    """glibc's `malloc_trim(0)`; nothing where there is no glibc."""
    if platform.libc_ver()[0] != "glibc":
        return lambda: None
    trim = ctypes.CDLL(None).malloc_trim
    trim.argtypes = [ctypes.c_size_t]
    return lambda: trim(0)
