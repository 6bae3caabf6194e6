"""What processes and sockets use, as Linux tells it; and what of it is one connection's."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from bench.scenarios.idle import slope
from bench.usage import MIB, socket_size, usage_of

SLABINFO = """slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> ...
TCPv6                 26     26   2496   13    8 : tunables    0    0    0
TCP                  429    429   2368   13    8 : tunables    0    0    0
eventpoll_epi      27312  36416    128   32    1 : tunables    0    0    0
sock_inode_cache     475    475    832   19    4 : tunables    0    0    0
filp                1071   1071    192   21    1 : tunables    0    0    0
dentry            277939 283542    192   21    1 : tunables    0    0    0
"""


def test_a_socket_s_size_is_that_of_what_the_kernel_keeps_for_it(tmp_path: Path) -> None:
    path = tmp_path / "slabinfo"
    path.write_text(SLABINFO)
    assert socket_size(path) == 2368 + 128 + 832 + 192 + 192


def test_a_kernel_that_does_not_tell_is_not_guessed_for(tmp_path: Path) -> None:
    assert socket_size(tmp_path / "slabinfo") is None
    (tmp_path / "slabinfo").write_text(SLABINFO.replace("filp ", "file "))
    assert socket_size(tmp_path / "slabinfo") is None


def test_memory_that_was_there_before_is_no_connection_s() -> None:
    assert slope(1000, [50 * MIB, 50 * MIB + 2_000_000, 50 * MIB + 4_000_000]) == pytest.approx(2000)


def test_a_process_is_counted_by_its_program_in_time_and_memory() -> None:
    before = usage_of([os.getpid()])
    held = mmap.mmap(-1, 4 * MIB)  # pages of its own, not what the heap had left
    held.write(os.urandom(4 * MIB))
    after = usage_of([os.getpid()])
    assert sum(after.resident.values()) - sum(before.resident.values()) > 3 * MIB
    assert sum(after.since(before).values()) > 0
    assert len(held) == 4 * MIB
