"""Events on their way to other nodes. In: what an actor publishes. Out: bytes, and on the other side equal events.

An event's JSON for members is made once, for the local subscribers and for the bus; every other projection follows from
it. Therefore an event that crossed nodes reads the same, byte for byte, in every encoding and for every audience.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .events import Event
from .wire_errors import UNREADABLE, WireError


class _WireEvent(msgspec.Struct, frozen=True, array_like=True):
    stream: str
    seq: int | None
    at: int  # milliseconds since 1970
    private: bool
    shown: bytes  # `{"type": ..., "data": ...}`, as members see it in JSON


class _Batch(msgspec.Struct, frozen=True, array_like=True):
    ephemeral: bool
    events: list[_WireEvent]


class _Shown(msgspec.Struct, frozen=True):
    type: str
    data: msgspec.Raw


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Batch).decode
_read = msgspec.json.Decoder(_Shown).decode


def encode_events(events: Sequence[Event], *, ephemeral: bool) -> bytes:
    """`ephemeral` is how the hub is to publish them on the other side."""
    return _encode(
        (
            ephemeral,
            [(event.stream, event.seq, event.at, event.private, event.encoded("json", "member")) for event in events],
        )
    )


def decode_events(payload: bytes) -> tuple[list[Event], bool]:
    """The events in their order, and whether they are ephemeral. Their `data` is `msgspec.Raw`.

    Raises:
        WireError: these are no encoded events.
    """
    try:
        batch = _decode(payload)
        return [_event(item, _read(item.shown)) for item in batch.events], batch.ephemeral
    except UNREADABLE as error:
        raise WireError from error


def _event(item: _WireEvent, shown: _Shown) -> Event:
    return Event(shown.type, item.stream, item.seq, item.at, shown.data, private=item.private)
