"""HTTP and cable on one port: what is done over one is seen over the other."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tertulia.api.server import Server, open_server
from tertulia.api.settings import ServerSettings, Settings

from .town import MINE, NORTH, Town, open_town

SETTINGS = Settings(server=ServerSettings(bind="127.0.0.1:0", drain_window=0.01))
IDENTIFIER = json.dumps({"channel": "ConversationChannel", "id": MINE})
PATIENCE = 30.0  # seconds, also for a busy machine


@pytest.fixture
async def server(town: Town) -> AsyncGenerator[Server, None]:
    async with open_server(town.engine, SETTINGS) as opened:
        with trio.fail_after(PATIENCE):
            yield opened


@asynccontextmanager
async def cable(server: Server, token: str) -> AsyncGenerator[WebSocketConnection, None]:
    """A cable client; its stream is closed here, because the library leaves that to a server that closes first."""
    resource = f"/cable?token={token}&account_id={NORTH}"
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream, trio.open_nursery() as nursery:
        yield await wrap_client_stream(nursery, stream, "127.0.0.1", resource, subprotocols=["actioncable-v1-json"])
        nursery.cancel_scope.cancel()


async def until(socket: WebSocketConnection, type: str) -> dict[str, Any]:
    """The next message of a type, of the protocol or of an event."""
    while True:
        message: dict[str, Any] = json.loads(await socket.get_message())
        event = message.get("message")
        of_event = cast("dict[str, Any]", event).get("type") if isinstance(event, dict) else None
        if type in (message.get("type"), of_event):
            return message


def api(server: Server, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} | ({} if token == "visitor" else {"X-Account-Id": str(NORTH)})
    return httpx.AsyncClient(base_url=f"{server.url}/api/v1", headers=headers)


async def test_a_message_that_is_posted_is_pushed(server: Server) -> None:
    async with cable(server, "visitor") as socket, api(server, "agent") as http:
        await socket.send_message(json.dumps({"command": "subscribe", "identifier": IDENTIFIER}))
        await until(socket, "confirm_subscription")
        posted = (await http.post(f"/conversations/{MINE}/messages", json={"content": "Hello"})).json()["data"]
        assert (await until(socket, "message.created"))["message"]["data"] == posted


async def test_signing_out_closes_the_holder_s_sockets_and_no_other(server: Server) -> None:
    async with cable(server, "visitor") as leaving, cable(server, "agent") as staying:
        async with api(server, "visitor") as http:
            assert (await http.post("/auth/sign_out")).status_code == 204
        assert await until(leaving, "disconnect") == {
            "type": "disconnect",
            "reason": "unauthorized",
            "reconnect": False,
        }
        with pytest.raises(ConnectionClosed):
            await leaving.get_message()
        await staying.send_message(json.dumps({"command": "subscribe", "identifier": IDENTIFIER}))
        await until(staying, "confirm_subscription")


async def test_a_token_that_signed_out_connects_no_more(server: Server) -> None:
    async with api(server, "visitor") as http:
        await http.get("/conversations")
        await http.post("/auth/sign_out")
    async with cable(server, "visitor") as socket:
        assert (await until(socket, "disconnect"))["reason"] == "unauthorized"


async def test_the_server_s_settings_reach_the_api() -> None:
    settings = Settings(server=SETTINGS.server, http=SETTINGS.http.__class__(body=100))
    async with open_town() as town, open_server(town.engine, settings) as server, api(server, "agent") as http:
        refused = await http.post(f"/conversations/{MINE}/messages", json={"content": "x" * 100})
        metrics = (await http.get(f"{server.url}/metrics")).text
    assert refused.status_code == 413
    for name in ("reactor_sockets", "gateway_sessions", "http_connections"):
        assert f"\ntertulia_{name} " in metrics
