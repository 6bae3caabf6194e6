"""A receiver of webhooks on a real socket, which treats its requests as the test says; and names that lead to it."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio

from tertulia.api.outgoing_address import Address
from tertulia.api.webhook_sender import WebhookSenderLimits

#: The receivers of the tests are on this machine.
LOCAL = WebhookSenderLimits(allowed_networks=("127.0.0.0/8",))
JSON = {"Content-Type": "application/json"}
BODY = b'{"type":"message.created"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes


#: What becomes of a connection after a request was read from it.
Behaviour = Callable[[trio.abc.Stream, Received], Awaitable[None]]


async def accept(stream: trio.abc.Stream, request: Received) -> None:
    await stream.send_all(OK)


def say(data: bytes) -> Behaviour:
    """Send this, whatever it is."""

    async def behave(stream: trio.abc.Stream, request: Received) -> None:
        await stream.send_all(data)

    return behave


def answer(status: str, *headers: str, body: bytes = b"") -> Behaviour:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return say("\r\n".join([*lines, "", ""]).encode() + body)


async def hang(stream: trio.abc.Stream, request: Received) -> None:
    await trio.sleep_forever()


async def close(stream: trio.abc.Stream, request: Received) -> None:
    await stream.aclose()


@dataclass
class Receiver:
    """Behaviours are used up one request at a time; the last one stays."""

    behaviours: list[Behaviour]
    tls: ssl.SSLContext | None
    port: int
    requests: list[Received] = field(default_factory=list[Received])
    connections: int = 0
    open: int = 0  # now

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            await self._serve(trio.SSLStream(stream, self.tls, server_side=True) if self.tls else stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the sender has gone, or a behaviour has closed
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        waiting = b""
        while True:
            while b"\r\n\r\n" not in waiting:
                waiting += await _more(stream)
            head, _, waiting = waiting.partition(b"\r\n\r\n")
            line, *fields = head.decode().split("\r\n")
            headers = dict(_header(text) for text in fields)
            size = int(headers.get("content-length", 0))
            while len(waiting) < size:
                waiting += await _more(stream)
            request, waiting = Received(line, headers, waiting[:size]), waiting[size:]
            self.requests.append(request)
            behave = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
            await behave(stream, request)


async def _more(stream: trio.abc.Stream) -> bytes:
    data = bytes(await stream.receive_some())
    if not data:
        raise trio.BrokenResourceError("the sender has closed the connection")
    return data


def _header(text: str) -> tuple[str, str]:
    name, _, value = text.partition(": ")
    return name.lower(), value


@asynccontextmanager
async def receiving(*behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Receiver]:
    """A receiver on a free port of 127.0.0.1."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    receiver = Receiver(list(behaviours) or [accept], tls, listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, receiver.serve, listeners)
        yield receiver
        nursery.cancel_scope.cancel()


class Names:
    """A name server. A dot in a name is an underscore in the keyword."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[Address]:
        self.asked.append(host)
        return [ip_address(text) for text in self.names[host]]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for receiver.example, which is its own authority."""

    authority: str  # the file of the certificate
    key: str  # the file of its key

    def server_side(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority, self.key)
        return context


def new_certificate(folder: Path) -> Certificate:
    """Made by the command `openssl`; a test that needs it is skipped where there is none."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("making a certificate needs the command openssl")
    made = Certificate(str(folder / "receiver.crt"), str(folder / "receiver.key"))
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    # Newer releases of Python take an authority only if it says that it is one, and a server that says it signs.
    names = "-addext subjectAltName=DNS:receiver.example -addext keyUsage=digitalSignature,keyCertSign"
    request = f"req -x509 -days 2 -subj /CN=receiver.example {key} {names}".split()
    command = [openssl, *request, "-keyout", made.key, "-out", made.authority]
    subprocess.run(command, check=True, capture_output=True)
    return made
