"""The C loop that others are compared with does what its description says, and no less than its protocol wants."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator

import pytest

from bench.peers import peer
from bench.peers.trial import HOST, Client, try_out
from tests.servers import free_port

PATIENCE = 10.0  # seconds
PEER = peer("c-loop")
COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Generator[int]:
    """Where the loop listens."""
    program, port = tmp_path_factory.mktemp("c-loop") / "c-loop", free_port()
    compile_it = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(PEER.folder / "loop.c")]
    subprocess.run(compile_it, check=True)
    with subprocess.Popen([program], env={**os.environ, "PORT": str(port)}) as process:
        try:
            _wait_until_it_listens(port)
            yield port
        finally:
            process.terminate()


def _wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the loop does not listen"
        else:
            return


def test_everything_comes_once_in_order_to_its_room_and_to_no_other(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.peers.trial.QUIET", 0.05)
    try_out(PEER, port)


@pytest.mark.parametrize("size", [1, 125, 126, 20_000])
def test_a_text_of_any_size_comes_back_as_it_was(port: int, size: int) -> None:
    client = Client(PEER.wire, port, 3)
    text = "x" * (size - 1) + "."
    client.say(text)
    client.hear(".", 1)
    client.close()
    assert client.heard == [text]


def test_who_left_is_sent_nothing_more_and_the_others_go_on(port: int) -> None:
    first, gone, last = (Client(PEER.wire, port, 4) for _ in range(3))
    gone.close()
    first.say("once")
    last.hear("once", 1)
    first.say("again")
    last.hear("again", 1)
    first.close()
    last.close()
    assert last.heard == ["once", "again"]


def test_what_is_no_upgrade_is_refused(port: int) -> None:
    with socket.create_connection((HOST, port), timeout=PATIENCE) as plain:
        plain.sendall(b"GET /1 HTTP/1.1\r\nHost: here\r\n\r\n")
        assert plain.recv(100) == b""
