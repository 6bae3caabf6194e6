"""Everything that a client says is sent to everybody in its room, itself included. The room is in the query."""

# What it imports is only in its own environment: checkers do not find it.
# mypy: ignore-errors
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false, reportAttributeAccessIssue=false

import os
from urllib.parse import parse_qs

import socketio
import uvicorn

# Handlers that run one after the other keep a sender's order.
server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], async_handlers=False)


@server.event
async def connect(sid, environ):
    room = parse_qs(environ["QUERY_STRING"])["room"][0]
    await server.save_session(sid, room)
    await server.enter_room(sid, room)


@server.event
async def message(sid, text):
    await server.emit("message", text, to=await server.get_session(sid))


uvicorn.run(
    socketio.ASGIApp(server),
    host="127.0.0.1",
    port=int(os.environ["PORT"]),
    log_level="warning",
    ws_per_message_deflate=False,
)
