"""Memory that is free goes back to the system: measured on a real process with each allocator that is installed."""

from __future__ import annotations

import ctypes.util
import json
import os
import platform
import subprocess
import sys

import pytest

from tertulia.api.memory import with_returning_allocator

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
NONE_CHOSEN = {name: value for name, value in os.environ.items() if name not in ("PYTHONMALLOC", "LD_PRELOAD")}

# Two hundred thousand small objects, of which some stay, so that hardly a megabyte becomes quite free.
BUSY_HOUR = """
import json, re
from tertulia.api.memory import trimmer
def resident():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmRSS:\\s+(\\d+) kB", status.read())[1]) / 1024
trim = trimmer()
before = resident()
busy = [bytes(400) for _ in range(200_000)]
most = resident()
stays = busy[::1_000]
del busy
trim()
print(json.dumps([before, most, resident()]))
"""


def resident_of_a_busy_hour(environment: dict[str, str]) -> list[float]:
    done = subprocess.run([sys.executable, "-c", BUSY_HOUR], env=environment, check=True, capture_output=True)
    assert done.stderr == b""
    figures: list[float] = json.loads(done.stdout)
    return figures


@glibc
@pytest.mark.parametrize("library", ["glibc", "jemalloc"])
def test_what_a_busy_hour_took_goes_back_though_some_of_it_stays(library: str) -> None:
    if library == "jemalloc" and ctypes.util.find_library("jemalloc") is None:
        pytest.skip("jemalloc is not installed")
    no_jemalloc = {"LD_PRELOAD": ""} if library == "glibc" else {}
    before, most, after = resident_of_a_busy_hour(with_returning_allocator({**NONE_CHOSEN, **no_jemalloc}))
    assert most - before > 60  # MiB
    assert after - before < (most - before) / 5


@glibc
def test_jemalloc_is_taken_where_it_is_installed() -> None:
    assert with_returning_allocator({}).get("LD_PRELOAD") == ctypes.util.find_library("jemalloc")


@pytest.mark.parametrize("decided", [{"PYTHONMALLOC": "pymalloc"}, {"PYTHONMALLOC": "pymalloc", "LD_PRELOAD": "x.so"}])
def test_whoever_has_decided_on_an_allocator_is_left_alone(decided: dict[str, str]) -> None:
    assert with_returning_allocator(decided) == decided


def test_a_library_that_somebody_preloads_is_not_replaced() -> None:
    assert with_returning_allocator({"LD_PRELOAD": "/opt/mine.so"})["LD_PRELOAD"] == "/opt/mine.so"
