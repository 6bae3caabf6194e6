"""`tertulia serve --workers 2` on a real PostgreSQL and a real Redis: two nodes that look like one server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from tertulia.api.server import listen
from tertulia.api.settings import ServerSettings, WrongSetting
from tertulia.api.workers import reserve

from .cable_client import EXTENDED_JSON, connect, conversation
from .server_process import ServerProcess, make_demo, run, serving

pytestmark = pytest.mark.slow

TIMEOUT = 30.0  # seconds
LOOK = 0.1  # seconds between two looks at the processes
SETTINGS = {"TERTULIA_DRAIN_WINDOW": "0.2"}
WORKERS = 2


@asynccontextmanager
async def workers_on(postgres_url: str, redis_url: str) -> AsyncGenerator[ServerProcess]:
    arguments = ("--redis", redis_url, "--workers", str(WORKERS))
    async with serving(postgres_url, settings=SETTINGS, arguments=arguments) as server:
        yield server


def children_of(pid: int) -> set[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (line.split() for line in listed.splitlines())
    return {int(child) for child, parent in pairs if int(parent) == pid}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(fact: Callable[[], bool]) -> None:
    with trio.fail_after(TIMEOUT):
        while not fact():  # noqa: ASYNC110 - processes set no events
            await trio.sleep(LOOK)


async def test_what_is_sent_to_one_worker_is_heard_at_all_and_a_signal_ends_both(
    postgres_url: str, redis_url: str
) -> None:
    demo = await trio.to_thread.run_sync(make_demo, postgres_url, 1)
    token = demo["users"][0]["token"]
    channel = conversation(demo["contacts"][0]["conversation_id"])
    async with workers_on(postgres_url, redis_url) as server:
        assert [line for line in server.lines if "accepts" in line] == [
            f"tertulia accepts connections on {server.url} with 2 workers (cable: /cable)"
        ]
        async with trio.open_nursery() as nursery:
            heard: list[str] = []

            async def listen(begun: trio.Event) -> None:
                async with connect(server.cable_url, token, EXTENDED_JSON) as client:
                    await client.subscribe(channel)
                    begun.set()
                    heard.append((await client.event("message.created"))["message"]["data"]["client_id"])
                    assert (await client.frame_of_type("disconnect"))["reason"] == "server_restart"

            listening = [trio.Event() for _ in range(8)]  # one worker for all of them: 1 in 128
            for begun in listening:
                nursery.start_soon(listen, begun)
            with trio.fail_after(TIMEOUT):
                for begun in listening:
                    await begun.wait()
                async with connect(server.cable_url, token) as sender:
                    await sender.subscribe(channel)
                    await sender.perform(channel, "send_message", content="Hello", client_id="first")
                    await until(lambda: len(heard) == len(listening))
                assert await server.stop() == 0
        assert set(heard) == {"first"}


async def test_workers_are_replaced_when_they_die_and_when_they_are_told_to(postgres_url: str, redis_url: str) -> None:
    http = httpx.AsyncClient(timeout=TIMEOUT, headers={"Connection": "close"})  # each request meets any worker
    async with workers_on(postgres_url, redis_url) as server, http:
        children = children_of(server.process.pid)
        assert len(children) == WORKERS
        killed, other = sorted(children)
        os.kill(killed, signal.SIGKILL)
        await until(lambda: killed not in children_of(server.process.pid))
        assert (await http.get(f"{server.url}/readyz")).status_code == 200
        await until(lambda: len(children_of(server.process.pid) - {killed}) == WORKERS)
        assert other in children_of(server.process.pid)

        before = children_of(server.process.pid)
        server.process.send_signal(signal.SIGHUP)
        answers: list[int] = []
        with trio.fail_after(TIMEOUT):
            while before & children_of(server.process.pid):
                answers.append((await http.get(f"{server.url}/healthz")).status_code)
                await trio.sleep(LOOK / 10)
        assert set(answers) == {200}
        assert await server.stop() == 0


async def test_workers_end_when_the_process_that_started_them_is_killed(postgres_url: str, redis_url: str) -> None:
    async with workers_on(postgres_url, redis_url) as server:
        children = children_of(server.process.pid)
        server.process.kill()
        await until(lambda: not any(map(is_alive, children)))
        assert len(children) == WORKERS


def test_a_worker_that_cannot_start_is_one_clear_line(postgres_url: str, redis_url: str) -> None:
    missing = f"{postgres_url}-missing"
    done = run("serve", "--bind", "127.0.0.1:0", "--database", missing, "--redis", redis_url, "--workers", "2")
    assert done.returncode == 2
    assert "does not exist" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_where_a_server_listens_is_refused_to_workers_too() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken,
        pytest.raises(WrongSetting, match="cannot listen on"),
    ):
        reserve(ServerSettings(bind=f"127.0.0.1:{taken.getsockname()[1]}"))


def test_a_port_that_is_reserved_is_for_those_who_share_it() -> None:
    with reserve(ServerSettings(bind="127.0.0.1:0")) as reserved:
        host, port = reserved.getsockname()
        with (
            listen(f"{host}:{port}", 1, shared=True) as first,
            listen(f"{host}:{port}", 1, shared=True),
            socket.create_connection((host, port)),
        ):
            assert first.getsockname() == (host, port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, port))
