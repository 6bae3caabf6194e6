"""The examples of the README are run as they stand."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import trio

from tertulia.actors.webhooks.signing import headers, new_secret

from .server_process import environment, make_demo, serving, url_of

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_a_trio_program_embeds_an_engine(tmp_path: Path) -> None:
    make_demo(tmp_path / "chat.db", 1)
    done = subprocess.run(
        [sys.executable, EXAMPLES / "embed.py", url_of(tmp_path / "chat.db")],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["1 conversation.created", "2 message.created"]


async def test_the_listener_prints_what_somebody_posts(tmp_path: Path) -> None:
    demo = make_demo(tmp_path / "chat.db", 1)
    agent, visitor = demo["users"][1]["token"], demo["contacts"][0]["token"]
    async with serving(tmp_path / "chat.db") as server:
        listener = await trio.lowlevel.open_process(
            [sys.executable, "-u", str(EXAMPLES / "listen.py"), agent, "1", server.cable_url],
            stdout=subprocess.PIPE, env=environment(),
        )  # fmt: skip
        assert listener.stdout is not None
        try:
            with trio.fail_after(20):
                await _until(listener.stdout, "listening to conversation 1")
                async with httpx.AsyncClient() as http:
                    await http.post(
                        f"{server.url}/api/v1/conversations/1/messages",
                        headers={"Authorization": f"Bearer {visitor}", "X-Account-Id": "1"},
                        json={"content": "Hello, is anybody there?", "client_id": "first"},
                    )
                await _until(listener.stdout, "2 message.created Visitor 1 Hello, is anybody there?")
        finally:
            listener.kill()
            await listener.stdout.aclose()
            with trio.CancelScope(shield=True):
                await listener.wait()


def test_a_program_runs_its_own_jobs() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "jobs.py"],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["receipt 1 to ann@example.org", "receipt 2 to bob@example.org"]


async def test_the_receiver_takes_what_is_signed_once_and_nothing_else() -> None:
    secret = new_secret()
    receiver = await trio.lowlevel.open_process(
        [sys.executable, "-u", str(EXAMPLES / "receiver.py"), secret, "0"],
        stdout=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert receiver.stdout is not None
    body = b'{"type":"message.created","data":{"seq":7,"content":"Hello"}}'
    now = int(time.time())
    tries: list[tuple[dict[str, str], int]] = [
        (headers("msg_1", now, body, [new_secret()]), 401),
        (headers("msg_1", now - 400, body, [secret]), 401),
        ({}, 401),
        (headers("msg_1", now, body, [secret]), 204),
        (headers("msg_1", now, body, [new_secret(), secret]), 204),
        (headers("msg_2", now, body, [secret]), 204),
    ]
    try:
        with trio.fail_after(20):
            text = await _until(receiver.stdout, "/\n")
            async with httpx.AsyncClient() as http:
                for signed, status in tries:
                    answer = await http.post(text.split()[-1], headers=signed, content=body)
                    assert answer.status_code == status
            heard = await _until(receiver.stdout, "Hello\nmessage.created 7 Hello\n")
            assert heard.count("Hello") == 2
    finally:
        receiver.kill()
        await receiver.stdout.aclose()
        with trio.CancelScope(shield=True):
            await receiver.wait()


def test_the_documentation_verifies_as_the_receiver_does() -> None:
    source = (EXAMPLES / "receiver.py").read_text()
    lines = source[source.index("def verified") : source.index("seen: set")].splitlines()
    documented = (EXAMPLES.parent / "docs" / "webhooks.md").read_text()
    for line in lines[2:]:
        assert line.partition("  #")[0].replace("TOLERANCE", "300") in documented


async def _until(output: trio.abc.ReceiveStream, expected: str) -> str:
    text = ""
    while expected not in text:
        chunk = await output.receive_some()
        assert chunk, f"the example ended; it said {text!r}"
        text += bytes(chunk).decode()
    return text
