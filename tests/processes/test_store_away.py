"""The database is locked by another program: who waits is answered, and afterwards the server goes on by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from .cable_client import EXTENDED_JSON, connect, conversation
from .server_process import make_demo, serving

pytestmark = pytest.mark.slow

#: Seconds: long enough for a busy machine, short enough for a test.
IMPATIENT = {
    "TERTULIA_GROUP_COMMIT_PATIENCE": "1.5",
    "TERTULIA_LIFECYCLE_ASK_TIMEOUT": "1",
    "TERTULIA_CABLE_COMMAND_TIMEOUT": "1",
}
TIMEOUT = 30.0


@contextmanager
def locked(database: Path) -> Generator[None]:
    """Nobody else can write."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("begin immediate")
        yield
        connection.execute("rollback")
    finally:
        connection.close()


async def test_a_locked_database_is_unavailable_until_it_is_released_and_nothing_is_lost(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    demo = make_demo(database, 2)
    token = demo["users"][0]["token"]
    first, second = (contact["conversation_id"] for contact in demo["contacts"])
    async with (
        serving(database, settings=IMPATIENT) as server,
        connect(server.cable_url, token, EXTENDED_JSON) as client,
        httpx.AsyncClient(
            base_url=server.url, headers={"Authorization": f"Bearer {token}", "X-Account-Id": "1"}, timeout=TIMEOUT
        ) as http,
    ):

        async def post(client_id: str) -> httpx.Response:
            path = f"/api/v1/conversations/{first}/messages"
            return await http.post(path, json={"content": "over HTTP", "client_id": client_id})

        async def wait_until_ready_is(status: int) -> httpx.Response:
            while True:
                answer = await http.get("/readyz")
                if answer.status_code == status:
                    return answer
                await trio.sleep(0.05)

        with trio.fail_after(TIMEOUT):
            await client.subscribe(conversation(second))
            assert (await post("before")).status_code == 201
            with locked(database):
                await client.perform(conversation(second), "send_message", content="over cable", client_id="during")
                refused = await post("during")
                assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
                assert int(refused.headers["Retry-After"]) >= 1
                failed = (await client.event("command.failed"))["message"]["data"]
                assert (failed["client_id"], failed["code"], failed["retryable"]) == ("during", "unavailable", True)

                assert "cannot be written" in (await wait_until_ready_is(503)).json()["detail"]
                assert (await http.get("/healthz")).status_code == 200
                assert (await http.get(f"/api/v1/conversations/{first}/messages")).status_code == 200
                answer = await client.subscribe(conversation(first), since=1)
                assert answer["type"] == "confirm_subscription", "who only reads does not wait for the lock"
                assert (await client.event("message.created"))["message"]["data"]["client_id"] == "before"

            await wait_until_ready_is(200)  # although nobody has written since
            for client_id in ("before", "during", "after"):
                assert (await post(client_id)).status_code == 201
            await client.perform(conversation(second), "send_message", content="over cable", client_id="during")
            heard = [(await client.event("message.created")) for _ in range(3)]
            assert sorted(event["message"]["data"]["client_id"] for event in heard) == ["after", "during", "during"]
            listed = (await http.get(f"/api/v1/conversations/{first}/messages")).json()["data"]
            assert [message["client_id"] for message in listed] == ["before", "during", "after"]
