"""The opening handshake (RFC 6455, section 4). In: a whole request head. Out: the request, and the answer's bytes.

wsproto reads the head. What it leaves to its user is checked here: the HTTP version, that the key is one, that no body
follows, and values that are not text.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.utilities import RemoteProtocolError

KEY_SIZE = 16
#: Bytes of a full segment on Ethernet: 1500, less the headers of IPv4 (20) and of TCP with its timestamps (32).
FULL_SEGMENT = 1448


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """What a client asked for. Header names are lower case."""

    path: str
    query: Mapping[str, str] = field(repr=False)  # a token may be in any of these
    headers: Mapping[str, str] = field(repr=False)
    subprotocols: tuple[str, ...] = field(repr=False)
    client: str = ""


class BadHandshake(Exception):
    """This head is not an acceptable WebSocket upgrade; `answer` says why."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("bad handshake")
        self.answer = answer


class Handshake:
    """Reads one head and writes one answer."""

    def __init__(self, head: bytes, client: str = "") -> None:
        """Raises BadHandshake where the head is no upgrade."""
        self._connection = WSConnection(ConnectionType.SERVER)
        try:
            self._connection.receive_data(head)
            request = next(self._connection.events(), None)
            if not isinstance(request, Request):
                raise BadHandshake(refusal(HTTPStatus.BAD_REQUEST, "This is not a WebSocket upgrade."))
            self.request = upgrade_request(request, client)
        except RemoteProtocolError as error:
            raise BadHandshake(_answer_to(error)) from error
        except ValueError as error:
            raise BadHandshake(refusal(HTTPStatus.BAD_REQUEST, "A header has a value that is not text.")) from error
        if not head.partition(b"\r\n")[0].endswith(b" HTTP/1.1"):
            raise BadHandshake(refusal(HTTPStatus.BAD_REQUEST, "A WebSocket upgrade needs HTTP/1.1."))
        if not _is_key(self.request.headers["sec-websocket-key"]):
            raise BadHandshake(refusal(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64."))
        if self.request.headers.keys() & {"content-length", "transfer-encoding"}:
            raise BadHandshake(refusal(HTTPStatus.BAD_REQUEST, "A WebSocket upgrade has no body."))

    def accept(self, subprotocol: str | None) -> bytes:
        """The answer that lets the client in, as large as one full segment. `subprotocol` is one that it offered.

        A TCP receiver acknowledges every second segment of full size at once, and small ones when it gets to it
        (RFC 1122, 4.2.3.2). What full size is, it can only learn from the largest segment it has seen. Linux starts at
        536 bytes, so to a client that has seen nothing larger every second chat message is worth an acknowledgement,
        which the server then handles as well: a fifth of what sending a message costs.
        """
        answer = self._connection.send(AcceptConnection(subprotocol=subprotocol))
        missing = FULL_SEGMENT - len(answer) - len(b"Padding: \r\n")
        return answer if missing < 0 else answer[:-2] + b"Padding: " + b"0" * missing + b"\r\n\r\n"


def query_of(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def upgrade_request(request: Request, client: str) -> UpgradeRequest:
    """Raises ValueError where the target is no URL."""
    parts = urlsplit(request.target)
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.extra_headers}
    return UpgradeRequest(
        path=parts.path,
        query=query_of(parts.query),
        headers={"host": request.host, **headers},
        subprotocols=tuple(request.subprotocols),
        client=client,
    )


def refusal(status: HTTPStatus, reason: str, *, extra: bytes = b"") -> bytes:
    """A whole HTTP/1.1 answer that closes the connection."""
    body = reason.encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    return head.encode("latin-1") + extra + b"\r\n" + body


def _answer_to(error: RemoteProtocolError) -> bytes:
    hint = error.event_hint
    if isinstance(hint, RejectConnection) and hint.headers:  # only a wrong version has something to add
        extra = b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        return refusal(HTTPStatus.UPGRADE_REQUIRED, "Sec-WebSocket-Version must be 13.", extra=extra)
    return refusal(HTTPStatus.BAD_REQUEST, f"{error}.")


def _is_key(value: str) -> bool:
    try:
        return len(binascii.a2b_base64(value, strict_mode=True)) == KEY_SIZE
    except ValueError:
        return False
