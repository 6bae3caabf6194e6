"""Connections to where tenants want them. In: a host and a port. Out: a stream to an address that was checked.

This is the network under httpcore. A name is resolved here, once for each connection; its addresses are checked, and
the connection goes to one of the addresses that were checked. So a name that answers with another address the next time
it is asked (DNS rebinding) gains nothing: nobody asks again. TLS still checks the certificate against the name.

Time limits are the caller's: every wait here can be cancelled, and leaves nothing open.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

import httpcore
import trio

from ..engine.errors import TertuliaError
from .outgoing_address import Address, OutgoingRule, literal

#: Bytes taken from a socket at a time: whatever a receiver packs into them is parsed before other tasks get a turn.
READ_SIZE = 4096

#: Finds the addresses of a host, in the order in which they should be tried.
Resolve = Callable[[str], Awaitable[Sequence[Address]]]


class Unreachable(TertuliaError):
    """There is no connection to the receiver."""

    code = "unreachable"


class AnswerTooLong(httpcore.ReadError):
    """More was sent than is read of an answer."""


class SystemLookup:
    """Names as the operating system resolves them, in threads of its own.

    A thread that waits for a name server cannot be stopped. One whose caller has given up counts against the limit
    until it ends, so that slow name servers take no threads from others.
    """

    def __init__(self, at_once: int, getaddrinfo: Callable[..., Sequence[Any]] = socket.getaddrinfo) -> None:
        self._limiter = trio.CapacityLimiter(at_once)
        self._getaddrinfo = getaddrinfo

    @property
    def under_way(self) -> int:
        """How many threads wait for a name server."""
        return self._limiter.borrowed_tokens

    async def __call__(self, host: str) -> Sequence[Address]:
        """Raises Unreachable: the name cannot be resolved."""
        if (address := literal(host)) is not None:
            return [address]
        ask = partial(self._getaddrinfo, host.encode(), None, type=socket.SOCK_STREAM)
        try:
            found = await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._limiter)
        except OSError as error:
            raise Unreachable(f"The name {host} cannot be resolved: {error.strerror}.") from None
        return list(dict.fromkeys(ip_address(str(entry[4][0])) for entry in found))


class OutgoingNetwork(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to addresses that the rule permits."""

    def __init__(self, rule: OutgoingRule, resolve: Resolve, address_timeout: float, answer: int) -> None:
        """Make a network.

        Args:
            rule: which addresses are permitted.
            resolve: finds the addresses of a host.
            address_timeout: seconds until the next of several addresses is tried.
            answer: bytes that are read of an answer.
        """
        self._rule = rule
        self._resolve = resolve
        self._address_timeout = address_timeout
        self._answer = answer

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises Unreachable: the name has no address, or one that is not permitted, or none of them answers."""
        addresses = await self._resolve(host)
        if not addresses:
            raise Unreachable(f"The name {host} has no address.")
        # One that is not permitted is enough: a public name with a private address beside the public one is an attempt
        # to get inside. The address itself is not told: names of the inner network are nobody's business either.
        if not all(self._rule.permits(address) for address in addresses):
            raise Unreachable(f"{host} is not on the public internet; ask the operator to allow its network.")
        return OutgoingStream(await self._first_that_answers(addresses, port), self._answer)

    async def _first_that_answers(self, addresses: Sequence[Address], port: int) -> trio.SocketStream:
        reason = "it does not answer"
        for address in addresses:
            # The last one may take what is left of the caller's time.
            with trio.move_on_after(math.inf if address is addresses[-1] else self._address_timeout):
                try:
                    return await _connect(address, port)
                except OSError as error:
                    reason = os.strerror(error.errno or errno.EIO).lower()
        raise Unreachable(f"There is no connection to the receiver: {reason}.")


class OutgoingStream(httpcore.AsyncNetworkStream):
    """A trio stream as httpcore wants it. Closing takes no time: a peer that reads nothing cannot hold it up."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream], answer: int) -> None:
        self._stream = stream
        self._answer = answer
        self._left = answer  # bytes until the end of the next answer at the latest

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Raises AnswerTooLong: everything that is read after a request has been read."""
        if not self._left:
            raise AnswerTooLong
        try:
            data = bytes(await self._stream.receive_some(min(max_bytes, READ_SIZE, self._left)))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(str(error)) from error
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._left = self._answer
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Raises Unreachable: the handshake failed."""
        assert isinstance(self._stream, trio.SocketStream)
        # Servers end HTTPS without TLS's own goodbye; HTTP says itself where an answer ends.
        tls = trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True)
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError as error:
            await self.aclose()
            raise Unreachable(_why_no_tls(error.__cause__)) from error
        except BaseException:
            await self.aclose()
            raise
        return OutgoingStream(tls, self._answer)

    def get_extra_info(self, info: str) -> Any:
        """Whether something came unasked, which on an idle connection is its end; the rest is not told."""
        if info != "is_readable":
            return None
        stream = self._stream if isinstance(self._stream, trio.SocketStream) else self._stream.transport_stream
        return stream.socket.is_readable()


async def _connect(address: Address, port: int) -> trio.SocketStream:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connecting = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await connecting.connect((str(address), port))
    except BaseException:
        connecting.close()
        raise
    return trio.SocketStream(connecting)


def _why_no_tls(cause: BaseException | None) -> str:
    match cause:
        case ssl.SSLCertVerificationError():
            return f"The receiver's certificate is not accepted: {cause.verify_message.rstrip('.')}."
        case ssl.SSLError(reason=str(reason)) if reason != "UNEXPECTED_EOF_WHILE_READING":
            return f"The TLS handshake with the receiver failed: {reason.replace('_', ' ').lower()}."
        case _:
            return "The receiver closed the connection during the TLS handshake."
