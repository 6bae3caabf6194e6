"""The opening handshake (RFC 6455, section 4). In: a whole request head. Out: what was asked for, and the answer's bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.utilities import RemoteProtocolError


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """What a client asked for. Header names are lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    subprotocols: tuple[str, ...]
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
            events = list(self._connection.events())
        except RemoteProtocolError as error:
            version = b"Sec-WebSocket-Version: 13\r\n" if "version" in str(error).lower() else b""
            status = HTTPStatus.UPGRADE_REQUIRED if version else HTTPStatus.BAD_REQUEST
            raise BadHandshake(refusal(status, str(error), extra=version)) from error
        request = events[0] if events else None
        if not isinstance(request, Request):
            raise BadHandshake(refusal(HTTPStatus.BAD_REQUEST, "This is not a WebSocket upgrade."))
        parts = urlsplit(request.target)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.extra_headers}
        self.request = UpgradeRequest(
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={"host": request.host, **headers},
            subprotocols=tuple(request.subprotocols),
            client=client,
        )

    def accept(self, subprotocol: str | None) -> bytes:
        return self._connection.send(AcceptConnection(subprotocol=subprotocol))

    def reject(self, status: int, reason: str) -> bytes:
        body = reason.encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        answer = self._connection.send(RejectConnection(status_code=status, headers=headers, has_body=True))
        return answer + self._connection.send(RejectData(data=body, body_finished=True))


def refusal(status: HTTPStatus, reason: str, *, extra: bytes = b"") -> bytes:
    """A whole HTTP/1.1 answer that closes the connection."""
    body = reason.encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    return head.encode("latin-1") + extra + b"\r\n" + body
