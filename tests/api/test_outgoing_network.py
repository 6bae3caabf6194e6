"""Where connections lead: to an address that was checked, of a name that was asked once, with a certificate for it.

Sockets are real, time is virtual, except where the operating system's own lookup is the subject.
"""

from __future__ import annotations

import socket as sockets
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tertulia.api.outgoing_address import Address
from tertulia.api.outgoing_network import SystemLookup, Unreachable
from tertulia.api.webhook_sender import WebhookSenderLimits, open_webhook_sender

from .receiver import BODY, JSON, LOCAL, Certificate, Names, receiving

# Addresses


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"])
async def test_a_name_with_a_private_address_is_refused_and_nothing_is_connected(
    autojump_clock: MockClock, address: str
) -> None:
    async with receiving() as receiver:
        for addresses in ([address], ["1.1.1.1", address]):
            names = Names(inside_example=addresses)
            async with open_webhook_sender(WebhookSenderLimits(), resolve=names) as sender:
                answered = await sender.post(f"http://inside.example:{receiver.port}/", JSON, BODY)
            assert answered.status is None
            assert (
                answered.reason
                == "inside.example is not on the public internet; ask the operator to allow its network."
            )
    assert receiver.connections == 0


async def test_the_names_of_the_machine_itself_are_refused() -> None:
    async with receiving() as receiver, open_webhook_sender(WebhookSenderLimits()) as sender:
        answered = await sender.post(f"http://localhost:{receiver.port}/", JSON, BODY)
    assert answered.reason == "localhost is not on the public internet; ask the operator to allow its network."
    assert receiver.connections == 0


async def test_a_name_is_asked_once_for_a_connection_so_that_it_cannot_change_its_answer(
    autojump_clock: MockClock,
) -> None:
    class Rebinding(Names):
        async def __call__(self, host: str) -> list[Address]:
            found = await super().__call__(host)
            self.names[host] = ["127.0.0.2"]  # not allowed, and the receiver's port is closed there
            return found

    names = Rebinding(rebinding_example=["127.0.0.1"])
    limits = WebhookSenderLimits(allowed_networks=("127.0.0.1/32",), idle_connections=0)
    async with receiving() as receiver, open_webhook_sender(limits, resolve=names) as sender:
        url = f"http://rebinding.example:{receiver.port}/"
        first, second = await sender.post(url, JSON, BODY), await sender.post(url, JSON, BODY)
    assert (first.ok, second.status) == (True, None)
    assert "public internet" in str(second.reason)
    assert (len(names.asked), receiver.connections) == (2, 1)


def closed_port() -> int:
    with sockets.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_a_port_where_nobody_listens_is_a_failure(autojump_clock: MockClock) -> None:
    async with open_webhook_sender(LOCAL) as sender:
        answered = await sender.post(f"http://127.0.0.1:{closed_port()}/", JSON, BODY)
    assert answered.reason == "There is no connection to the receiver: connection refused."


async def test_the_next_address_is_tried_where_one_refuses(autojump_clock: MockClock) -> None:
    async with receiving() as receiver:
        names = Names(two_example=["127.0.0.2", "127.0.0.1"])
        async with open_webhook_sender(LOCAL, resolve=names) as sender:
            answered = await sender.post(f"http://two.example:{receiver.port}/", JSON, BODY)
    assert (answered.ok, answered.duration) == (True, 0.0)


@contextmanager
def full_listener(address: tuple[str, int]) -> Generator[None]:
    """Nobody accepts, and there is no room for another connection to wait."""
    with ExitStack() as stack:
        listener = stack.enter_context(sockets.socket())
        listener.bind(address)
        listener.listen(0)
        for _ in range(3):
            client = stack.enter_context(sockets.socket())
            client.setblocking(False)
            client.connect_ex(address)
        yield


@pytest.mark.skipif(sys.platform != "linux", reason="others refuse what does not fit, and have no 127.0.0.2")
async def test_the_next_address_is_tried_where_one_does_not_answer(autojump_clock: MockClock) -> None:
    names = Names(two_example=["127.0.0.2", "127.0.0.1"], one_example=["127.0.0.2"])
    async with receiving() as receiver, open_webhook_sender(LOCAL, resolve=names) as sender:
        with full_listener(("127.0.0.2", receiver.port)):
            second = await sender.post(f"http://two.example:{receiver.port}/", JSON, BODY)
            none = await sender.post(f"http://one.example:{receiver.port}/", JSON, BODY)
    assert second.ok
    assert second.duration == pytest.approx(LOCAL.address_timeout, abs=0.01)
    assert none.reason == "The attempt was given up after 5 s: no connection."


# Names


async def test_a_name_server_that_does_not_answer_is_left_at_the_timeout(autojump_clock: MockClock) -> None:
    async def never(host: str) -> list[Address]:
        await trio.sleep_forever()
        raise AssertionError

    async with open_webhook_sender(LOCAL, resolve=never) as sender:
        answered = await sender.post("http://slow.example/", JSON, BODY)
    assert answered.reason == "The attempt was given up after 5 s: no connection."


async def test_a_lookup_that_hangs_is_abandoned_and_counts_until_it_ends() -> None:
    started, release = threading.Event(), threading.Event()

    def blocked(host: bytes, *args: Any, **options: Any) -> list[Any]:
        started.set()
        assert release.wait(timeout=10)
        return [(sockets.AF_INET, sockets.SOCK_STREAM, 6, "", ("1.1.1.1", 0))] * 2

    lookup = SystemLookup(at_once=1, getaddrinfo=blocked)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lookup, "one.example")
            await trio.to_thread.run_sync(started.wait)
            nursery.cancel_scope.cancel()
        assert lookup.under_way == 1
    finally:
        release.set()
    assert await lookup("two.example") == [ip_address("1.1.1.1")]


async def test_a_name_that_does_not_exist_is_a_reason() -> None:
    def unknown(*args: Any, **options: Any) -> list[Any]:
        raise sockets.gaierror(sockets.EAI_NONAME, "Name or service not known")

    with pytest.raises(Unreachable, match=r"^The name no\.example cannot be resolved: Name or service not known\.$"):
        await SystemLookup(at_once=1, getaddrinfo=unknown)("no.example")


# TLS


NAMES = {"receiver_example": ["127.0.0.1"], "other_example": ["127.0.0.1"]}


async def test_the_certificate_is_checked_against_the_name_although_the_address_is_given(
    autojump_clock: MockClock, certificate: Certificate
) -> None:
    async with (
        receiving(tls=certificate.server_side()) as receiver,
        open_webhook_sender(replace(LOCAL, ca_file=certificate.authority), resolve=Names(**NAMES)) as sender,
    ):
        right = [await sender.post(f"https://receiver.example:{receiver.port}/", JSON, BODY) for _ in range(2)]
        wrong = await sender.post(f"https://other.example:{receiver.port}/", JSON, BODY)
    assert [answered.ok for answered in right] == [True, True]
    assert len(receiver.requests) == 2
    assert wrong.reason == (
        "The receiver's certificate is not accepted: Hostname mismatch, certificate is not valid for 'other.example'."
    )


async def test_a_certificate_of_an_unknown_authority_is_refused(
    autojump_clock: MockClock, certificate: Certificate
) -> None:
    async with (
        receiving(tls=certificate.server_side()) as receiver,
        open_webhook_sender(LOCAL, resolve=Names(**NAMES)) as sender,
    ):
        answered = await sender.post(f"https://receiver.example:{receiver.port}/", JSON, BODY)
    assert str(answered.reason).startswith("The receiver's certificate is not accepted: self")
    assert receiver.requests == []


async def silent(stream: trio.SocketStream) -> None:
    async with stream:
        await trio.sleep_forever()


async def plain(stream: trio.SocketStream) -> None:
    async with stream:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def gone(stream: trio.SocketStream) -> None:
    await stream.aclose()


@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (silent, "The attempt was given up after 5 s: no TLS handshake."),
        (plain, "The TLS handshake with the receiver failed: "),
        (gone, "The receiver closed the connection during the TLS handshake."),
    ],
)
async def test_a_handshake_that_comes_to_nothing_is_a_failure_with_its_reason(
    autojump_clock: MockClock, nursery: trio.Nursery, serve: Callable[[trio.SocketStream], Any], reason: str
) -> None:
    listeners = await nursery.start(trio.serve_tcp, serve, 0)
    port = listeners[0].socket.getsockname()[1]
    async with open_webhook_sender(LOCAL, resolve=Names(**NAMES)) as sender:
        answered = await sender.post(f"https://receiver.example:{port}/", JSON, BODY)
    assert answered.status is None
    assert str(answered.reason).startswith(reason)
