"""The examples of the README are run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

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


async def _until(output: trio.abc.ReceiveStream, expected: str) -> None:
    text = ""
    while expected not in text:
        chunk = await output.receive_some()
        assert chunk, f"the listener ended; it said {text!r}"
        text += bytes(chunk).decode()
