"""Who is let in as a cable connection. In: a whole request head. Out: a handshake to accept, or the refusal's bytes.

The front door on the reactor and the one that has a task per connection ask the same questions here.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from ...engine.connection import Peer
from ...engine.handshake import BadHandshake, Handshake, UpgradeRequest, refusal
from .ports import Transport
from .protocol import CableProtocol

HEAD_END = b"\r\n\r\n"
#: What a request can begin with: a method, or the empty line that RFC 9112 tells servers to ignore.
FIRST_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n")

TOO_SLOW = refusal(HTTPStatus.REQUEST_TIMEOUT, "The request head did not come in time.")
TOO_LARGE = refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request head is too large.")
NOT_HTTP = refusal(HTTPStatus.BAD_REQUEST, "This is not HTTP.")
BROKEN_OFF = refusal(HTTPStatus.BAD_REQUEST, "The request head is not complete.")
CROWDED = refusal(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are waiting.")


class Cable(Protocol):
    """Where upgraded connections go."""

    @property
    def sessions(self) -> Sized: ...

    def connect(self, request: UpgradeRequest, transport: Transport, protocol: CableProtocol, /) -> Peer: ...


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules of one door. No `origins` means that any may come."""

    cable_path: bytes
    origins: frozenset[str]
    connections: int

    def is_cable(self, head: bytes) -> bool:
        target = head[: head.find(b"\r\n")].split(b" ")
        return len(target) > 1 and target[1].partition(b"?")[0] == self.cable_path

    def admit(self, head: bytes, address: str, cable: Cable) -> Handshake:
        """Raises BadHandshake with the answer."""
        handshake = Handshake(head, address)
        if self.origins and handshake.request.headers.get("origin") not in self.origins:
            raise BadHandshake(refusal(HTTPStatus.FORBIDDEN, "This origin is not allowed."))
        if len(cable.sessions) >= self.connections:
            raise BadHandshake(refusal(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections; try again later."))
        return handshake
