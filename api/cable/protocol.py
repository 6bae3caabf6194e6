"""Action Cable on the wire: what its messages look like in each subprotocol.

The protocol is what two real clients speak: `@rails/actioncable` (base, JSON) and `@anycable/core` (base and
extended, JSON and msgpack). A client never gets a message type that its subprotocol does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from ...actors.events import Audience, Encoding, Event
from ...engine.frames import BINARY, TEXT, frame

UNSUPPORTED = "actioncable-unsupported"
TOKEN_PREFIX = "anycable-token."

_json = msgspec.json.Encoder().encode
_msgpack = msgspec.msgpack.Encoder().encode

DisconnectReason: TypeAlias = Literal["unauthorized", "invalid_request", "server_restart", "remote", "too_slow"]


#: A time no client means, in seconds: the year 33658. Larger numbers have no milliseconds in 64 bits.
LAST_SINCE = 10.0**12


class StreamPosition(msgspec.Struct, frozen=True):
    epoch: str = ""
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


class HistoryRequest(msgspec.Struct, frozen=True):
    """`since` in seconds; a position per stream takes precedence.

    A client whose `historyTimestamp` is off sends false.
    """

    since: float | bool | None = None
    streams: dict[str, StreamPosition] = {}

    @property
    def since_millis(self) -> int | None:
        """The instant, in milliseconds; None where the client names none."""
        if not self.since or isinstance(self.since, bool):
            return None
        return int(min(LAST_SINCE, max(0.0, self.since)) * 1000)  # in this order, msgpack's NaN becomes 0


class Command(msgspec.Struct, frozen=True):
    """What a client sends. `data` is a JSON string in `message`, anything in `whisper` and `presence`."""

    command: str
    identifier: str = ""
    data: Any = None
    history: HistoryRequest | None = None


class Outline(msgspec.Struct):
    """As much of an unreadable command as it takes to answer it."""

    command: str = ""
    identifier: str = ""


class CableProtocol:
    """One subprotocol: how to read commands and write messages."""

    def __init__(self, name: str, encoding: Encoding, *, extended: bool) -> None:
        self.name = name
        self.encoding: Encoding = encoding
        self.extended = extended
        #: The first byte of its frames, both ways.
        self.first = TEXT if encoding == "json" else BINARY
        self._encode = _json if encoding == "json" else _msgpack
        decoder: Any = msgspec.json.Decoder(Command) if encoding == "json" else msgspec.msgpack.Decoder(Command)
        #: Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError where this is no command.
        self.decode: Callable[[bytes], Command] = decoder.decode
        outline: Any = msgspec.json.Decoder(Outline) if encoding == "json" else msgspec.msgpack.Decoder(Outline)
        self._outline = outline.decode

    def outline(self, payload: bytes) -> Outline:
        """What can be made out of something that is no command."""
        try:
            outline: Outline = self._outline(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Outline()
        return outline

    def message(self, content: Any) -> bytes:
        """One whole frame."""
        return frame(self._encode(content), self.first)

    def welcome(self, session_id: str) -> bytes:
        return self.message({"type": "welcome", "sid": session_id} if self.extended else {"type": "welcome"})

    def ping(self, seconds: int) -> bytes:
        return self.message({"type": "ping", "message": seconds})

    def disconnect(self, reason: DisconnectReason, *, reconnect: bool) -> bytes:
        return self.message({"type": "disconnect", "reason": reason, "reconnect": reconnect})

    def about(self, kind: str, identifier: str) -> bytes:
        """`confirm_subscription`, `reject_subscription`, `confirm_history`, `reject_history`."""
        return self.message({"type": kind, "identifier": identifier})

    def data(self, identifier: str, content: Any) -> bytes:
        """A message for one subscription that has no position."""
        return self.message({"identifier": identifier, "message": content})


class EventFormat:
    """How one group of subscribers sees events; equal formats share the encoded bytes."""

    __slots__ = ("__weakref__", "_epoch", "_hash", "_prefix", "audience", "identifier", "protocol")

    def __init__(self, protocol: CableProtocol, identifier: str, audience: Audience, epoch: str) -> None:
        self.protocol = protocol
        self.identifier = identifier
        self.audience: Audience = audience
        self._epoch = epoch
        self._hash = hash((protocol.name, identifier, audience))
        if protocol.encoding == "json":
            self._prefix: bytes = b'{"identifier":%b,"message":' % _json(identifier)
        else:
            self._prefix = _msgpack("identifier") + _msgpack(identifier) + _msgpack("message")

    def frame(self, event: Event) -> bytes | None:
        """The event as one whole frame; None where this audience must not see it."""
        return self._frame(event, event.seq if self.protocol.extended else None)

    def frame_without_position(self, event: Event) -> bytes | None:
        """The same for a client that must not take the event for its newest."""
        return self._frame(event, None)

    def _frame(self, event: Event, offset: int | None) -> bytes | None:
        if event.private and self.audience == "visitor":
            return None
        protocol = self.protocol
        body = self._prefix + event.encoded(protocol.encoding, self.audience)
        if protocol.encoding == "json":
            return frame(body + (b"}" if offset is None else self._json_position(event, offset)), TEXT)
        if offset is None:
            return frame(b"\x82" + body, BINARY)  # a map of two
        return frame(b"\x85" + body + self._msgpack_position(event, offset), BINARY)  # a map of five

    def _json_position(self, event: Event, offset: int) -> bytes:
        return b',"stream_id":"%b","epoch":"%b","offset":%d}' % (event.stream.encode(), self._epoch.encode(), offset)

    def _msgpack_position(self, event: Event, offset: int) -> bytes:
        position = {"stream_id": event.stream, "epoch": self._epoch, "offset": offset}
        return b"".join([_msgpack(name) + _msgpack(value) for name, value in position.items()])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, EventFormat)
            and self.protocol is other.protocol
            and self.identifier == other.identifier
            and self.audience == other.audience
        )

    def __hash__(self) -> int:
        return self._hash


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        CableProtocol("actioncable-v1-json", "json", extended=False),
        CableProtocol("actioncable-v1-ext-json", "json", extended=True),
        CableProtocol("actioncable-v1-msgpack", "msgpack", extended=False),
        CableProtocol("actioncable-v1-ext-msgpack", "msgpack", extended=True),
    )
}


def choose(offered: tuple[str, ...]) -> tuple[CableProtocol | None, str | None]:
    """The protocol to speak, and the subprotocol to select.

    The first offered one that is supported. A client that offers nothing speaks base JSON. One that offers only what
    is not supported gets `actioncable-unsupported` if it knows that word, and no subprotocol otherwise. A token is
    never echoed.
    """
    for name in offered:
        if name in PROTOCOLS:
            return PROTOCOLS[name], name
    if UNSUPPORTED in offered:
        return None, UNSUPPORTED
    if any(not name.startswith(TOKEN_PREFIX) for name in offered):
        return None, None
    return PROTOCOLS["actioncable-v1-json"], None
