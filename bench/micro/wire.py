"""What happens to a message between a socket and the actors, and on its way to everybody else."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgpack

from tertulia.actors.events import Event, message_event
from tertulia.api.cable.protocol import PROTOCOLS, EventFormat
from tertulia.engine.config import SocketLimits
from tertulia.engine.frames import FrameReader, Message, frame
from tertulia.engine.hub import Hub
from tertulia.engine.outbox import Outbox
from tertulia.storage.records import MessageRow

from .bench import MicroBench, Round

TEXT = "A visitor asks where the parcel is, which was to come on Monday, and has not come until Wednesday. "
MESSAGES = 256  # frames, commands or events in a round
SUBSCRIBERS = 1000
PUBLICATIONS = 8
LIMIT = 65536  # bytes of one message
IDENTIFIER = '{"channel":"ConversationChannel","id":42}'
JSON, MSGPACK = PROTOCOLS["actioncable-v1-ext-json"], PROTOCOLS["actioncable-v1-ext-msgpack"]
COMMAND = {
    "command": "message",
    "identifier": IDENTIFIER,
    "data": json.dumps({"action": "send_message", "content": TEXT, "client_id": "6f1c9f4e-0d0a-4b6e-9d2a-5b1f"}),
}
ENCODED_JSON = json.dumps(COMMAND).encode()
ENCODED_MSGPACK: bytes = msgpack.packb(COMMAND)
ROW = MessageRow(
    42, 1, 1, 1, "incoming", "text", TEXT, None, False, "contact", 7, "Ana", "6f1c9f4e-0d0a", 1_700_000_000_000
)
MASK = bytes((0x37, 0xFA, 0x21, 0x3D))


def repeated(work: Callable[[], None]) -> Callable[[], AbstractAsyncContextManager[Round]]:
    """The setup of a benchmark that needs none."""

    @asynccontextmanager
    async def setup() -> AsyncGenerator[Round]:
        async def run() -> None:
            work()

        yield run

    return setup


def masked(payload: bytes) -> bytes:
    """A text frame as a client sends it."""
    key = MASK * (len(payload) // 4 + 1)
    return (
        frame(payload)[:1]
        + bytes((0xFE,))
        + len(payload).to_bytes(2, "big")
        + MASK
        + bytes(letter ^ mask for letter, mask in zip(payload, key, strict=False))
    )


FRAMES = masked(ENCODED_JSON) * 16


def parse() -> None:
    reader = FrameReader(LIMIT)
    messages: list[Message] = []
    for _ in range(MESSAGES // 16):
        reader.read(FRAMES, messages)


def build() -> None:
    for _ in range(MESSAGES):
        frame(ENCODED_JSON)


def decode_json() -> None:
    for _ in range(MESSAGES):
        JSON.decode(ENCODED_JSON)


def decode_msgpack() -> None:
    for _ in range(MESSAGES):
        MSGPACK.decode(ENCODED_MSGPACK)


def encode_json() -> None:
    shown = EventFormat(JSON, IDENTIFIER, "visitor", "epoch")
    for _ in range(MESSAGES):
        shown.frame(message_event(ROW))


def encode_msgpack() -> None:
    shown = EventFormat(MSGPACK, IDENTIFIER, "visitor", "epoch")
    for _ in range(MESSAGES):
        shown.frame(message_event(ROW))


class Willing:
    """A connection that an outbox has nothing to tell: its socket takes everything."""

    def want_writable(self, wanted: bool) -> None: ...

    def broken(self) -> None: ...

    def overflowed(self) -> None: ...


@asynccontextmanager
async def fan_out() -> AsyncGenerator[Round]:
    hub: Hub[Event] = Hub()
    for number in range(SUBSCRIBERS):
        format = EventFormat(JSON, IDENTIFIER, "member" if number % 2 else "visitor", "epoch")
        outbox = Outbox(len, Willing(), SocketLimits().outbox, number)  # a socket whose `send` is `len`
        hub.join("room", format, outbox)

    async def run() -> None:
        for _ in range(PUBLICATIONS):
            hub.publish("room", [message_event(ROW)])

    yield run


BENCHES = (
    MicroBench("frame parse", "a masked frame becomes a message", MESSAGES, repeated(parse)),
    MicroBench("frame build", "a message becomes a frame", MESSAGES, repeated(build)),
    MicroBench("json decode", "a frame's text becomes a command", MESSAGES, repeated(decode_json)),
    MicroBench("json encode", "a stored message becomes a frame", MESSAGES, repeated(encode_json)),
    MicroBench("msgpack decode", "a frame's bytes become a command", MESSAGES, repeated(decode_msgpack)),
    MicroBench("msgpack encode", "a stored message becomes a frame", MESSAGES, repeated(encode_msgpack)),
    MicroBench("fan-out", "one of 1,000 subscribers gets a message", SUBSCRIBERS * PUBLICATIONS, fan_out),
)
