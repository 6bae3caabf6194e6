"""An echo server on the product's own front door, reactor, connections and frames, for Autobahn's fuzzing client.

python -m tests.autobahn.echo --port 9001
"""

from __future__ import annotations

import argparse
import socket

import trio

from tertulia.api.cable.ports import Transport
from tertulia.api.cable.protocol import CableProtocol
from tertulia.api.front_door import FrontDoor
from tertulia.engine.config import SocketLimits
from tertulia.engine.frames import frame
from tertulia.engine.handshake import UpgradeRequest
from tertulia.engine.reactor import Reactor


class Echo:
    """Sends every message back as it came."""

    def __init__(self, connection: Transport, room: set[Echo]) -> None:
        self.connection = connection
        self.room = room
        room.add(self)

    def received(self, first: int, payload: bytes) -> None:
        self.connection.outbox.send(frame(payload, first))

    def farewell(self) -> bytes:
        return b""

    def closed(self) -> None:
        self.room.discard(self)


class EchoGateway:
    """Every upgraded connection is an echo."""

    def __init__(self) -> None:
        self.sessions: set[Echo] = set()

    def connect(self, request: UpgradeRequest, transport: Transport, protocol: CableProtocol) -> Echo:
        return Echo(transport, self.sessions)


async def serve(listener: socket.socket) -> None:
    """Echo until cancelled."""
    reactor = Reactor()
    FrontDoor(listener, reactor, EchoGateway(), socket.socket.close, SocketLimits(), cable_path="/")
    try:
        await reactor.run()
    finally:
        reactor.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9001)
    options = parser.parse_args()
    listener = socket.create_server((options.host, options.port))
    listener.setblocking(False)
    print(f"echo on ws://{options.host}:{listener.getsockname()[1]}", flush=True)
    try:
        trio.run(serve, listener)
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
