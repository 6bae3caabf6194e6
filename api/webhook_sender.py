"""Webhooks leave the server here. In: a URL, headers and a body. Next hop: `outgoing_connections`, then the receiver.

Nothing that a receiver does takes more than its share: an attempt ends at its timeout, an answer is read up to its
bound, and a host gets a bounded number of connections. Redirects are not followed, since they would name another target
than the one that was entered. Nothing is taken from the environment: no proxy, no `.netrc`.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import httpcore
import httpx
import trio

from ..actors.times import now
from ..actors.webhooks.port import Answer
from ..engine.errors import Invalid
from .outgoing_address import OutgoingRule, literal
from .outgoing_connections import ConnectionLimits, OutgoingConnections
from .outgoing_network import AnswerTooLong, OutgoingNetwork, Resolve, SystemLookup, Unreachable
from .settings import WrongSetting
from .webhook_answer import answer_of
from .webhook_limits import WebhookSenderLimits

__all__ = ["HttpWebhookSender", "WebhookSenderLimits", "new_webhook_sender", "open_webhook_sender"]

#: A host name or an address, as URLs have them. Underscores are in the names of containers.
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
#: What an attempt is doing, by the events of httpcore's trace extension.
_STEPS = {
    "connection.connect_tcp.started": "no connection",
    "connection.start_tls.started": "no TLS handshake",
    "http11.send_request_headers.started": "the request was not taken",
    "http11.receive_response_headers.started": "no answer",
}


@asynccontextmanager
async def open_webhook_sender(
    limits: WebhookSenderLimits, *, resolve: Resolve | None = None, wall_clock: Callable[[], int] = now
) -> AsyncGenerator[HttpWebhookSender]:
    """A sender for as long as the block lasts; see `new_webhook_sender`."""
    sender = new_webhook_sender(limits, resolve=resolve, wall_clock=wall_clock)
    try:
        yield sender
    finally:
        await sender.aclose()


def new_webhook_sender(
    limits: WebhookSenderLimits, *, resolve: Resolve | None = None, wall_clock: Callable[[], int] = now
) -> HttpWebhookSender:
    """A sender, for somebody who closes it.

    Args:
        limits: what an attempt may take.
        resolve: finds the addresses of a host; the operating system, unless told otherwise.
        wall_clock: the time of day in milliseconds since 1970-01-01 UTC.

    Raises:
        WrongSetting: the file of certificate authorities cannot be read.
    """
    rule = OutgoingRule(limits.allowed_networks)
    network = OutgoingNetwork(rule, resolve or SystemLookup(limits.lookups), limits.address_timeout, limits.answer)
    # The system's authorities take long enough to read that they wait for the first https URL. A file that is set is
    # tried at once.
    tls = cache(partial(ssl.create_default_context, cafile=limits.ca_file or None))
    if limits.ca_file:
        try:
            tls()
        except OSError as error:
            why = f"The file of certificate authorities {limits.ca_file} cannot be read: {error.strerror}."
            raise WrongSetting(why) from None
    bounds = ConnectionLimits(
        limits.connections, limits.connections_per_host, limits.idle_connections, limits.keep_alive
    )
    return HttpWebhookSender(limits, rule, OutgoingConnections(bounds, network, tls), wall_clock)


class HttpWebhookSender:
    """A `WebhookSender` over HTTP/1.1. Made by `open_webhook_sender` or `new_webhook_sender`."""

    def __init__(
        self,
        limits: WebhookSenderLimits,
        rule: OutgoingRule,
        connections: OutgoingConnections,
        wall_clock: Callable[[], int],
    ) -> None:
        self._limits = limits
        self._rule = rule
        self._connections = connections
        self._wall_clock = wall_clock
        self._agent = f"Tertulia-Webhooks/{version('tertulia')}"

    async def aclose(self) -> None:
        await self._connections.aclose()

    def check(self, url: str) -> None:
        """Raises Invalid: the URL can never be a target."""
        self._target(url)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One attempt. What goes wrong on the way is in the answer.

        It waits for a place among the connections first, for as long as that takes; the timeout and the duration begin
        after that.
        """
        try:
            request = self._request(self._target(url), headers, body)
        except Invalid as error:
            return Answer(None, 0.0, error.detail)
        async with self._connections.place(request.place):
            begun = trio.current_time()
            exchange = _Exchange()
            failure = await self._attempt(request, exchange)
            duration = trio.current_time() - begun
        if exchange.status is None:
            return Answer(None, duration, failure)
        # There is a status, and what became of the rest changes nothing.
        return answer_of(
            exchange.status,
            exchange.headers,
            bytes(exchange.body),
            duration=duration,
            now=self._wall_clock() / 1000,
            kept=self._limits.kept_answer,
        )

    async def _attempt(self, request: _Request, exchange: _Exchange) -> str | None:
        """Gives the reason, if there was no complete answer."""
        with trio.move_on_after(self._limits.timeout):
            try:
                await self._exchange(request, exchange)
            except Unreachable as error:
                return error.detail
            except AnswerTooLong:
                return "The receiver's answer is too long."
            except httpcore.RemoteProtocolError as error:
                # httpcore raises it from h11's error, or itself where the connection ended.
                return "The receiver's answer is not HTTP." if error.__cause__ else _NO_ANSWER
            except httpcore.NetworkError:
                return _NO_ANSWER
            return None
        return f"The attempt was given up after {self._limits.timeout:g} s: {exchange.step}."

    async def _exchange(self, request: _Request, exchange: _Exchange) -> None:
        try:
            await self._exchange_once(request, exchange)
        except (httpcore.NetworkError, httpcore.RemoteProtocolError):
            if exchange.connected or exchange.status is not None:
                raise
            # The receiver closed an idle connection just when it was used again, which says nothing about the receiver.
            # If it took the request nevertheless, it knows the second by its id.
            await self._exchange_once(request, exchange, new=True)

    async def _exchange_once(self, request: _Request, exchange: _Exchange, *, new: bool = False) -> None:
        extensions = {"trace": exchange.trace}
        async with (
            self._connections.connection(request.url.origin, new=new) as connection,
            connection.stream(
                "POST", request.url, headers=request.headers, content=_Once(request.body), extensions=extensions
            ) as response,
        ):
            exchange.status, exchange.headers = response.status, response.headers
            # The network ends this where the answer is too long. To leave the loop early would leave httpcore's
            # generators behind.
            async for part in response.aiter_stream():
                exchange.body += part

    def _target(self, url: str) -> httpx.URL:
        """Raises Invalid: see `check`."""
        if len(url) > self._limits.url:
            raise _invalid(f"A URL has at most {self._limits.url} characters.")
        try:
            target = httpx.URL(url)
        except (httpx.InvalidURL, UnicodeError):
            raise _invalid("This is no URL; write it as https://example.org/webhooks.") from None
        if target.scheme not in ("http", "https"):
            raise _invalid("The URL of a webhook begins with https:// or http://.")
        if target.userinfo:
            raise _invalid("The URL holds a name or a password; leave them out: deliveries are signed.")
        host = target.raw_host.decode("ascii").lower()
        if not _HOST.fullmatch(host) or not (target.port is None or 0 < target.port < 65536):
            raise _invalid("The URL names no host to send to; write it as https://example.org/webhooks.")
        if (address := literal(host)) is not None and not self._rule.permits(address):
            raise _invalid("The URL names an address that is not on the public internet.")
        return target

    def _request(self, target: httpx.URL, headers: Mapping[str, str], body: bytes) -> _Request:
        url = httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path)
        ours = {
            "host": target.netloc.decode("ascii"),
            "user-agent": self._agent,
            "accept-encoding": "identity",
            "content-length": str(len(body)),
        }
        theirs = {name.lower(): value for name, value in headers.items()}
        return _Request(ours["host"], url, list({**theirs, **ours}.items()), body)


@dataclass(frozen=True, slots=True)
class _Request:
    place: str  # the host, and the port where it is not the usual one
    url: httpcore.URL
    headers: list[tuple[bytes | str, bytes | str]]
    body: bytes = field(repr=False)


class _Once:
    """A body as httpcore takes it. Of the bytes themselves it makes a generator, and leaves it behind when it fails."""

    def __init__(self, body: bytes) -> None:
        self._parts = [body]

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()


@dataclass(slots=True)
class _Exchange:
    """How far an attempt came."""

    step: str = _STEPS["connection.connect_tcp.started"]
    connected: bool = False  # with a connection of its own
    status: int | None = None
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytearray = field(default_factory=bytearray)

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore."""
        self.step = _STEPS.get(event, self.step)
        self.connected = self.connected or event == "connection.connect_tcp.started"


_NO_ANSWER = "The receiver closed the connection without an answer."


def _invalid(reason: str) -> Invalid:
    return Invalid(reason, fields={"url": reason})
