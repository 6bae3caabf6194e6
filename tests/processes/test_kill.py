"""`kill -9` in the middle of a stream of sends: what was acknowledged is there, once."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
import trio

from .cable_client import EXTENDED_JSON, CableClient, connect, conversation
from .server_process import make_demo, serving

pytestmark = pytest.mark.slow

CONVERSATIONS = 8
ACKNOWLEDGED_BEFORE_KILL = 400


async def test_every_acknowledged_message_survives_a_kill_exactly_once(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    demo = make_demo(database, CONVERSATIONS)
    token = demo["users"][0]["token"]
    ids = [contact["conversation_id"] for contact in demo["contacts"]]
    sent: dict[int, list[str]] = {id: [] for id in ids}
    acknowledged: dict[int, set[str]] = {id: set() for id in ids}
    enough = trio.Event()

    async with serving(database) as server:

        async def chat(id: int) -> None:
            """Send without waiting, and note what comes back, until the server is gone."""
            try:
                async with connect(server.cable_url, token) as client:
                    await client.subscribe(conversation(id))
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(write, client, id)
                        while True:
                            event = await client.event("message.created")
                            acknowledged[id].add(event["message"]["data"]["client_id"])
                            if sum(map(len, acknowledged.values())) >= ACKNOWLEDGED_BEFORE_KILL:
                                enough.set()
            except* Exception:
                pass  # the server is gone, as it should be

        async def write(client: CableClient, id: int) -> None:
            while True:
                client_id = f"{id}-{len(sent[id])}"
                sent[id].append(client_id)
                await client.perform(conversation(id), "send_message", content="x" * 100, client_id=client_id)
                if len(sent[id]) - len(acknowledged[id]) > 200:
                    await trio.sleep(0.001)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for id in ids:
                    nursery.start_soon(chat, id)
                await enough.wait()
                server.process.send_signal(signal.SIGKILL)
                await server.process.wait()

    async with serving(database) as server:
        for id in ids:
            stored = await _stored(server.cable_url, token, id)
            counts = Counter(stored)
            assert acknowledged[id] <= set(counts), "an acknowledged message is gone"
            assert set(counts) <= set(sent[id])
            assert set(counts.values()) <= {1}

            repeated = sent[id][-50:]
            async with connect(server.cable_url, token) as client:
                await client.subscribe(conversation(id))
                for client_id in repeated:
                    await client.perform(conversation(id), "send_message", content="x" * 100, client_id=client_id)
                answered = {(await client.event("message.created"))["message"]["data"]["client_id"] for _ in repeated}
            assert answered == set(repeated)
            assert Counter(await _stored(server.cable_url, token, id)) == Counter({*stored, *repeated})
    assert sum(map(len, acknowledged.values())) >= ACKNOWLEDGED_BEFORE_KILL


async def _stored(cable_url: str, token: str, id: int) -> list[str]:
    """The client ids in the conversation's log, whose numbers have no gap."""
    with trio.fail_after(20):
        async with connect(cable_url, token, EXTENDED_JSON) as client:
            await client.command("subscribe", conversation(id), history={"since": 1})
            found: list[str] = []
            offsets: list[int] = []
            while True:
                frame = await client.frame()
                if frame.get("type") == "confirm_history":
                    break
                if "offset" in frame:
                    offsets.append(frame["offset"])
                    if frame["message"]["type"] == "message.created":
                        found.append(frame["message"]["data"]["client_id"])
    assert offsets == list(range(1, len(offsets) + 1))
    return found
