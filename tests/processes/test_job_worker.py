"""`tertulia worker`, and jobs in `tertulia serve`, as an operator starts them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from tertulia.actors.jobs.job import BaseJob
from tertulia.actors.jobs.limits import JobLimits
from tertulia.api.engine import open_engine
from tertulia.api.settings import Settings
from tertulia.storage.job_contract import JobFilter
from tertulia.storage.records import JobState

from .server_process import command, environment, run, serving, url_of

pytestmark = pytest.mark.slow

TIMEOUT = 30.0  # seconds
ACCOUNT = 1
QUIET = Settings(jobs=JobLimits(run=False))

MODULE = """
import os
from tertulia import BaseJob

class Note(BaseJob[str]):
    async def perform(self, context, args):
        with open(os.environ["NOTES"], "a") as notes:
            print(args, os.getpid(), file=notes)
        print("noted", args, flush=True)

def jobs(registry):
    registry.add(Note)
"""


class Note(BaseJob[str]):
    """The same to whoever only enqueues it."""


@dataclass
class Shop:
    """A program with a job of its own."""

    folder: Path

    @property
    def settings(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.folder), "NOTES": str(self.folder / "notes")}

    @property
    def notes(self) -> list[list[str]]:
        notes = self.folder / "notes"
        return [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    tmp_path.joinpath("shop_jobs.py").write_text(MODULE)
    return Shop(tmp_path)


async def enqueue(database: str, *notes: str, queue: str = "default") -> None:
    async with open_engine(database, QUIET) as engine:
        for note in notes:
            await engine.jobs.enqueue(Note, note, account_id=ACCOUNT, queue=queue)


async def states(database: str) -> dict[str, str]:
    """By queue, of the last job in it."""
    async with open_engine(database, QUIET) as engine:
        return {job.queue: job.state for job in await engine.jobs.find(ACCOUNT, JobFilter())}


@asynccontextmanager
async def working(shop: Shop, *arguments: str) -> AsyncGenerator[tuple[trio.Process, Output]]:
    process = await trio.lowlevel.open_process(
        command("worker", "--jobs", "shop_jobs", *arguments), env=environment(**shop.settings), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process, Output(process.stdout)
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        await process.stdout.aclose()


class Output:
    """What a process says."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self.text = ""

    async def until(self, *expected: str) -> None:
        with trio.fail_after(TIMEOUT):
            while not all(part in self.text for part in expected):
                chunk = await self._stream.receive_some()
                assert chunk, f"it ended; it said {self.text!r}"
                self.text += bytes(chunk).decode()


async def test_one_process_has_a_file_and_a_worker_runs_what_a_server_was_told_to_leave(shop: Shop) -> None:
    database = url_of(shop.folder / "chat.db")
    await enqueue(database, "one", "two")
    await enqueue(database, "three", queue="mail")
    await enqueue(database, "never", queue="exports")

    async def refused(*arguments: str) -> None:
        done = await trio.to_thread.run_sync(partial(run, *arguments, "--database", database))
        assert done.returncode == 2
        assert "open in another server" in done.stderr
        assert done.stderr.count("\n") == 1

    async with serving(database, settings=shop.settings, arguments=("--jobs", "shop_jobs", "--no-jobs")) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused, "worker")
            nursery.start_soon(refused, "queue", "list")
        assert await server.stop() == 0
    assert set((await states(database)).values()) == {JobState.AVAILABLE}

    async with working(shop, "--database", database, "--queues", "default,mail") as (process, output):
        await output.until("noted one", "noted two", "noted three")
        assert output.text.splitlines()[0] == f"tertulia runs jobs of {database} (queues: default, mail)"
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(TIMEOUT):
            assert await process.wait() == 0
    assert sorted(note for note, _ in shop.notes) == ["one", "three", "two"]
    assert await states(database) == {
        "default": JobState.COMPLETED, "mail": JobState.COMPLETED, "exports": JobState.AVAILABLE,
    }  # fmt: skip


async def test_servers_and_workers_share_the_jobs_of_a_program_by_queue(
    shop: Shop, postgres_url: str, redis_url: str
) -> None:
    nodes = ("--redis", redis_url, "--jobs", "shop_jobs")
    settings = {**shop.settings, "TERTULIA_JOBS_QUEUES": "default"}
    async with (
        serving(postgres_url, settings=settings, arguments=(*nodes, "--workers", "2")) as server,
        working(shop, "--database", postgres_url, *nodes[:2], "--queues", "mail") as (process, output),
    ):
        await output.until("tertulia runs jobs of postgresql://")
        paused = await trio.to_thread.run_sync(run, "queue", "pause", "exports", "--database", postgres_url)
        assert (paused.returncode, paused.stdout) == (0, "The queue exports is paused.\n")
        await enqueue(postgres_url, "served")
        await enqueue(postgres_url, "worked", queue="mail")
        with trio.fail_after(TIMEOUT):
            while len(shop.notes) < 2:  # noqa: ASYNC110 - processes set no events
                await trio.sleep(0.02)
        runners = {note: int(pid) for note, pid in shop.notes}
        assert runners["worked"] == process.pid
        assert runners["served"] not in {process.pid, server.process.pid}  # one of the two that the server keeps
        process.send_signal(signal.SIGINT)
        with trio.fail_after(TIMEOUT):
            assert await process.wait() == 0
        assert await server.stop() == 0
