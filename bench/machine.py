"""Where the figures come from, for whoever reads them."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from tertulia.api.memory import with_returning_allocator

from .results import Machine

GIB = 1 << 30


def this_machine() -> Machine:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    return Machine(
        processor, os.cpu_count() or 1, round(memory, 1), platform.release(), platform.python_version(), _allocator()
    )


def _allocator() -> str:
    """What `tertulia serve` runs on here."""
    environment = with_returning_allocator(os.environ)
    return environment.get("LD_PRELOAD") or environment.get("PYTHONMALLOC", "pymalloc")
