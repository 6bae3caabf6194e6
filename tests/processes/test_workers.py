"""Workers as the process sees them that keeps them: scripted ones, which start, fail, die and hang as they are told."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from tertulia.api.worker_limits import WorkerLimits
from tertulia.api.workers import CannotStart, Workers

from . import scripted_worker

TIMEOUT = 20.0  # seconds
QUICK = WorkerLimits(min_backoff=0.01, max_backoff=0.02, start_timeout=TIMEOUT, stop_timeout=TIMEOUT)


@dataclass
class Crew:
    """Workers that run, and the signals that they are sent."""

    folder: Path
    signals: trio.MemorySendChannel[int]
    accepting: trio.Event = field(default_factory=trio.Event)
    statuses: list[int] = field(default_factory=list[int])

    @property
    def started(self) -> set[int]:
        """The process ids of all workers that were ever started."""
        return {int(path.name) for path in self.folder.iterdir()}

    @property
    def alive(self) -> set[int]:
        return {pid for pid in self.started if is_alive(pid)}

    async def until(self, fact: Callable[[], bool]) -> None:
        with trio.fail_after(TIMEOUT):
            while not fact():  # noqa: ASYNC110 - processes set no events
                await trio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def crew_of(count: int, what: str, folder: Path, limits: WorkerLimits = QUICK) -> AsyncGenerator[Crew]:
    """Workers that do `what`; after the block they have ended, by a signal where none was sent in it."""
    command = [sys.executable, scripted_worker.__file__, what, str(folder)]
    workers = Workers(command, os.environ, limits)
    send, receive = trio.open_memory_channel[int](10)
    crew = Crew(folder, send)

    async def run() -> None:
        crew.statuses.append(await workers.run(count, receive, crew.accepting.set))

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            yield crew
            send.send_nowait(signal.SIGTERM)
    assert crew.alive == set()


async def test_workers_accept_when_all_do_and_end_with_0_when_they_are_told_to(tmp_path: Path) -> None:
    async with crew_of(3, "works", tmp_path) as crew:
        await crew.accepting.wait()
        assert len(crew.alive) == 3
    assert crew.statuses == [0]


async def test_a_worker_that_is_killed_is_followed_by_another_one(tmp_path: Path) -> None:
    async with crew_of(2, "works", tmp_path) as crew:
        await crew.accepting.wait()
        killed, other = crew.alive
        os.kill(killed, signal.SIGKILL)
        await crew.until(lambda: len(crew.started) == 3)
        assert other in crew.alive
    assert crew.statuses == [0]


async def test_workers_that_die_young_follow_each_other_more_slowly_and_for_ever(tmp_path: Path) -> None:
    async with crew_of(1, "works-briefly", tmp_path) as crew:
        await crew.until(lambda: len(crew.started) >= 6)
        assert crew.statuses == []


@pytest.mark.parametrize(
    ("what", "complaint"),
    [("refuses", "There is no database."), ("dies", "A worker ended with status 3 before it accepted connections.")],
)
async def test_a_worker_that_cannot_start_ends_all_with_its_words(tmp_path: Path, what: str, complaint: str) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(CannotStart, match=complaint)):
        async with crew_of(3, what, tmp_path) as crew:
            await crew.accepting.wait()
            pytest.fail("they accept")


async def test_a_worker_that_never_accepts_is_killed(tmp_path: Path) -> None:
    limits = WorkerLimits(start_timeout=0.5)
    with pytest.RaisesGroup(pytest.RaisesExc(CannotStart, match=r"no connections after 0\.5 s")):
        async with crew_of(1, "says-nothing", tmp_path, limits):
            await trio.sleep_forever()


async def test_a_hangup_replaces_every_worker_and_each_one_only_after_its_follower_accepts(tmp_path: Path) -> None:
    async with crew_of(3, "works", tmp_path) as crew:
        await crew.accepting.wait()
        first, least = crew.alive, 3
        crew.signals.send_nowait(signal.SIGHUP)
        with trio.fail_after(TIMEOUT):
            while first & (alive := crew.alive):
                least = min(least, len(alive))
                await trio.sleep(0.01)
        assert least == 3
        assert len(crew.started) == 6
    assert crew.statuses == [0]


async def test_a_worker_that_hangs_is_killed_after_its_time(tmp_path: Path) -> None:
    async with crew_of(1, "hangs", tmp_path, WorkerLimits(stop_timeout=0.3)) as crew:
        await crew.accepting.wait()
    assert crew.statuses == [1]


async def test_a_second_interrupt_kills(tmp_path: Path) -> None:
    async with crew_of(2, "hangs", tmp_path) as crew:
        await crew.accepting.wait()
        crew.signals.send_nowait(signal.SIGINT)
        crew.signals.send_nowait(signal.SIGINT)
    assert crew.statuses == [1]
