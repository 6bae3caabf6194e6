"""A small Action Cable client on trio-websocket: independent of the server's own code on the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

JSON = "actioncable-v1-json"
EXTENDED_JSON = "actioncable-v1-ext-json"


def conversation(id: int) -> str:
    """The identifier of a conversation's channel."""
    return json.dumps({"channel": "ConversationChannel", "id": id})


class CableClient:
    """What one connection hears, without pings."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket

    async def command(self, command: str, identifier: str, **more: Any) -> None:
        await self.socket.send_message(json.dumps({"command": command, "identifier": identifier, **more}))

    async def perform(self, identifier: str, action: str, **data: Any) -> None:
        await self.command("message", identifier, data=json.dumps({"action": action, **data}))

    async def subscribe(self, identifier: str, **history: Any) -> dict[str, Any]:
        """Subscribe and wait for the answer."""
        await self.command("subscribe", identifier, **({"history": history} if history else {}))
        return await self.frame_of_type("confirm_subscription", "reject_subscription")

    async def frame(self) -> dict[str, Any]:
        """The next frame that is no ping."""
        while True:
            frame: dict[str, Any] = json.loads(await self.socket.get_message())
            if frame.get("type") != "ping":
                return frame

    async def frame_of_type(self, *types: str) -> dict[str, Any]:
        while True:
            frame = await self.frame()
            if frame.get("type") in types:
                return frame

    async def event(self, *types: str) -> dict[str, Any]:
        """The next event, of one of these types where any are named, with its position."""
        while True:
            frame = await self.frame()
            if "message" in frame and (not types or frame["message"]["type"] in types):
                return frame


@asynccontextmanager
async def connect(cable_url: str, token: str, protocol: str = JSON) -> AsyncGenerator[CableClient]:
    """A connection that has been welcomed, on a stream of our own: the client library leaves it open where the server
    closes first."""
    url = urlsplit(cable_url)
    assert url.hostname is not None
    assert url.port is not None
    stream = await trio.open_tcp_stream(url.hostname, url.port)
    async with stream, trio.open_nursery() as nursery:
        resource = f"{url.path}?token={token}"
        socket = await wrap_client_stream(nursery, stream, url.netloc, resource, subprotocols=[protocol])
        client = CableClient(socket)
        await client.frame_of_type("welcome")
        yield client
        nursery.cancel_scope.cancel()
