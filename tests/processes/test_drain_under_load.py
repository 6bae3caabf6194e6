"""SIGTERM in the middle of a stream of sends: the server answers what it accepted and ends well, and what was
acknowledged is there, once."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed

from .cable_client import EXTENDED_JSON, CableClient, connect, conversation
from .server_process import make_demo, serving

pytestmark = pytest.mark.slow

CONVERSATIONS = 4
ACKNOWLEDGED_BEFORE_END = 400
IN_FLIGHT = 50


async def test_a_server_that_is_stopped_under_load_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    demo = make_demo(database, CONVERSATIONS)
    token = demo["users"][0]["token"]
    ids = [contact["conversation_id"] for contact in demo["contacts"]]
    acknowledged: Counter[str] = Counter()
    goodbyes: list[dict[str, object]] = []
    enough = trio.Event()

    def acknowledge(client_id: str) -> None:
        acknowledged[client_id] += 1
        if len(acknowledged) >= ACKNOWLEDGED_BEFORE_END:
            enough.set()

    async with serving(database, settings={"TERTULIA_DRAIN_WINDOW": "0.5"}) as server:

        async def chat(id: int) -> None:
            """Keep some messages in flight until the server says good-bye."""
            async with connect(server.cable_url, token) as client:
                await client.subscribe(conversation(id))
                for n in range(IN_FLIGHT):
                    await say(client, id, n)
                n = IN_FLIGHT
                while True:
                    frame = await client.frame()
                    if frame.get("type") == "disconnect":
                        goodbyes.append(frame)
                        return
                    if frame["message"]["type"] == "message.created":
                        client_id = frame["message"]["data"]["client_id"]
                        if client_id.startswith("cable"):
                            acknowledge(client_id)
                            await say(client, id, n)
                            n += 1

        async def say(client: CableClient, id: int, n: int) -> None:
            with suppress(ConnectionClosed):  # the good-bye is still to be read
                await client.perform(conversation(id), "send_message", content="x" * 100, client_id=f"cable-{id}-{n}")

        async def post() -> None:
            headers = {"Authorization": f"Bearer {token}", "X-Account-Id": "1"}
            async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20) as http:
                for n in range(100_000):
                    client_id = f"http-{n}"
                    body = {"content": "x", "client_id": client_id}
                    try:
                        answer = await http.post(f"/api/v1/conversations/{ids[0]}/messages", json=body)
                    except httpx.TransportError:
                        return
                    if answer.status_code == 201:
                        acknowledge(client_id)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for id in ids:
                    nursery.start_soon(chat, id)
                nursery.start_soon(post)
                await enough.wait()
                assert await server.stop(signal.SIGTERM) == 0

    assert goodbyes == [{"type": "disconnect", "reason": "server_restart", "reconnect": True}] * CONVERSATIONS
    assert any(client_id.startswith("http") for client_id in acknowledged)
    async with serving(database) as server:
        stored = Counter([client_id for id in ids for client_id in await _stored(server.cable_url, token, id)])
    assert set(acknowledged) <= set(stored), "an acknowledged message is gone"
    assert set(stored.values()) == {1}
    assert set(acknowledged.values()) == {1}


async def _stored(cable_url: str, token: str, id: int) -> list[str]:
    """The client ids of the messages in the conversation's log."""
    with trio.fail_after(20):
        async with connect(cable_url, token, EXTENDED_JSON) as client:
            await client.command("subscribe", conversation(id), history={"since": 1})
            found: list[str] = []
            while (frame := await client.frame()).get("type") != "confirm_history":
                if "offset" in frame and frame["message"]["type"] == "message.created":
                    found.append(frame["message"]["data"]["client_id"])
            return found
