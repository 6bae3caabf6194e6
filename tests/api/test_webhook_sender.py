"""Attempts to deliver a webhook: what arrives, what a receiver can do to the sender (little), and what is told of it.

Sockets are real, time is virtual: a receiver that takes 5 seconds takes none here.
"""

from __future__ import annotations

import socket as sockets
import struct
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.webhooks.port import Answer
from tertulia.actors.webhooks.signing import headers as signed
from tertulia.actors.webhooks.signing import new_secret, verify
from tertulia.api.webhook_sender import WebhookSenderLimits, open_webhook_sender
from tertulia.engine.errors import Invalid

from .receiver import BODY, JSON, LOCAL, OK, Behaviour, Names, Received, Receiver, answer, close, hang, receiving, say

NOW = 1_700_000_000_000  # 2023-11-14T22:13:20Z


async def post(
    receiver: Receiver, path: str = "/hook", headers: Mapping[str, str] = JSON, body: bytes = BODY
) -> Answer:
    """One attempt of a sender of its own."""
    async with open_webhook_sender(LOCAL, wall_clock=lambda: NOW) as sender:
        return await sender.post(f"http://127.0.0.1:{receiver.port}{path}", headers, body)


# What arrives


async def test_a_delivery_arrives_as_it_was_given_and_can_be_verified(autojump_clock: MockClock) -> None:
    secret = new_secret()
    async with receiving() as receiver:
        given = JSON | signed("msg_1", NOW // 1000, BODY, [secret])
        answered = await post(receiver, path="/hook/1?key=a%20b", headers=given)
    assert (answered.ok, answered.status, answered.reason, answered.body) == (True, 200, None, "ok")
    [request] = receiver.requests
    assert (request.line, request.body) == ("POST /hook/1?key=a%20b HTTP/1.1", BODY)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["user-agent"].startswith("Tertulia-Webhooks/")
    verify(request.headers, request.body, [secret], now=NOW / 1000)


async def test_the_sender_s_own_headers_cannot_be_replaced(autojump_clock: MockClock) -> None:
    async with receiving() as receiver:
        await post(receiver, headers={"Host": "intranet", "Content-Length": "9999", "User-Agent": "other"})
    [request] = receiver.requests
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-length"] == str(len(BODY))
    assert request.headers["user-agent"].startswith("Tertulia-Webhooks/")


async def test_a_name_is_resolved_and_told_to_the_receiver(autojump_clock: MockClock) -> None:
    async with receiving() as receiver, open_webhook_sender(LOCAL, resolve=Names(b_example=["127.0.0.1"])) as sender:
        answered = await sender.post(f"http://B.example:{receiver.port}/", JSON, BODY)
    assert answered.ok
    assert receiver.requests[0].headers["host"] == f"b.example:{receiver.port}"


async def test_proxies_of_the_environment_are_not_used(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with receiving() as receiver:
        assert (await post(receiver)).ok


# What a receiver answers


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content", "299 Fine"])
async def test_every_2xx_is_a_success(autojump_clock: MockClock, status: str) -> None:
    async with receiving(answer(status)) as receiver:
        answered = await post(receiver)
    assert (answered.ok, answered.status, answered.reason) == (True, int(status[:3]), None)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("404 Not Found", "The receiver answered 404 (Not Found)."),
        ("410 Gone", "The receiver answered 410 (Gone)."),
        ("500 <script>", "The receiver answered 500 (Internal Server Error)."),
        ("599 Whatever", "The receiver answered 599."),
    ],
)
async def test_another_status_is_a_failure_with_its_reason(autojump_clock: MockClock, status: str, reason: str) -> None:
    async with receiving(answer(status, body=b"out of order")) as receiver:
        answered = await post(receiver)
    assert answered == Answer(int(status[:3]), 0.0, reason, None, "out of order")
    assert not answered.ok


async def test_a_redirect_is_a_failure_and_is_not_followed(autojump_clock: MockClock) -> None:
    async with (
        receiving() as inside,
        receiving(answer("302 Found", f"Location: http://127.0.0.1:{inside.port}/")) as one,
    ):
        answered = await post(one)
    assert answered.status == 302
    assert answered.reason is not None
    assert "redirects are not followed" in answered.reason
    assert (len(one.requests), inside.connections) == (1, 0)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        ("429 Too Many Requests", "Retry-After: 120", 120.0),
        ("503 Service Unavailable", "retry-after: 0", 0.0),
        ("503 Service Unavailable", "Retry-After: Tue, 14 Nov 2023 22:14:50 GMT", 90.0),
        ("503 Service Unavailable", "Retry-After: Tuesday, 14-Nov-23 22:14:50 GMT", 90.0),
        ("503 Service Unavailable", "Retry-After: Tue Nov 14 22:14:50 2023", 90.0),
        ("503 Service Unavailable", "Retry-After: Tue, 14 Nov 2000 22:14:50 GMT", 0.0),
        ("503 Service Unavailable", "Retry-After: soon", None),
        ("503 Service Unavailable", "Retry-After: -5", None),
        ("503 Service Unavailable", "Retry-After: Tue, 99 Nov 2023 22:14:50 GMT", None),
        ("503 Service Unavailable", "Retry-After: " + "9" * 5000, None),
        ("503 Service Unavailable", "X-Other: 1", None),
        ("500 Internal Server Error", "Retry-After: 120", None),
    ],
)
async def test_how_long_a_receiver_wants_to_be_left_alone_is_told(
    autojump_clock: MockClock, status: str, header: str, seconds: float | None
) -> None:
    async with receiving(answer(status, header)) as receiver:
        assert (await post(receiver)).retry_after == seconds


async def test_the_beginning_of_an_answer_is_kept_as_text_that_a_database_takes(autojump_clock: MockClock) -> None:
    async with receiving(answer("500 No", body=b"\xff\0" + b"x" * 1000)) as receiver:
        answered = await post(receiver)
    assert answered.body == "\ufffd\ufffd" + "x" * 498


# What a receiver does instead of answering


def drip(data: bytes) -> Behaviour:
    """A byte every second."""

    async def behave(stream: trio.abc.Stream, request: Received) -> None:
        for byte in data:
            await stream.send_all(bytes([byte]))
            await trio.sleep(1)

    return behave


@pytest.mark.parametrize(("behaviour", "name"), [(hang, "hangs"), (drip(OK), "drips")])
async def test_a_receiver_that_hangs_or_drips_is_left_at_the_timeout(
    autojump_clock: MockClock, behaviour: Behaviour, name: str
) -> None:
    async with receiving(behaviour) as receiver:
        answered = await post(receiver)
        await wait_all_tasks_blocked()
    assert (answered.status, answered.reason) == (None, "The attempt was given up after 5 s: no answer.")
    assert answered.duration == pytest.approx(5, abs=0.01), name


async def test_a_receiver_that_does_not_take_the_request_is_left_at_the_timeout(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def deaf(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    listeners = await nursery.start(trio.serve_tcp, deaf, 0)
    port = listeners[0].socket.getsockname()[1]
    async with open_webhook_sender(LOCAL) as sender:
        answered = await sender.post(f"http://127.0.0.1:{port}/", JSON, b"x" * 20_000_000)
    assert answered.reason == "The attempt was given up after 5 s: the request was not taken."


async def test_once_there_is_a_status_the_body_changes_nothing(autojump_clock: MockClock) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"

    async def drip_body(stream: trio.abc.Stream, request: Received) -> None:
        await stream.send_all(head)
        await drip(b"drops" * 20)(stream, request)

    async def break_off(stream: trio.abc.Stream, request: Received) -> None:
        await stream.send_all(head + b"no more")
        await stream.aclose()

    async with receiving(drip_body, break_off) as receiver:
        slow, broken = await post(receiver), await post(receiver)
    assert (slow.ok, slow.body) == (True, "drops")
    assert slow.duration == pytest.approx(5, abs=0.01)
    assert (broken.ok, broken.body) == (True, "no more")


async def test_an_endless_answer_is_read_up_to_its_bound(autojump_clock: MockClock) -> None:
    ended = trio.Event()

    async def endless(stream: trio.abc.Stream, request: Received) -> None:
        try:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                await stream.send_all(b"400\r\n" + b"y" * 1024 + b"\r\n")
        except trio.BrokenResourceError:
            ended.set()

    async with receiving(endless) as receiver:
        answered = await post(receiver)
        await ended.wait()
    assert (answered.ok, answered.body, answered.duration) == (True, "y" * 500, 0.0)


@pytest.mark.parametrize(
    "endless", [b"HTTP/1.1 200 OK\r\n" + b"X-Long: x\r\n" * 10_000, b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000]
)
async def test_an_endless_head_is_a_failure(autojump_clock: MockClock, endless: bytes) -> None:
    async with receiving(say(endless)) as receiver:
        answered = await post(receiver)
    assert (answered.status, answered.reason) == (None, "The receiver's answer is too long.")


async def reset(stream: trio.abc.Stream, request: Received) -> None:
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (close, "The receiver closed the connection without an answer."),
        (reset, "The receiver closed the connection without an answer."),
        (say(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "The receiver's answer is not HTTP."),
        (
            say(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            "The receiver's answer is not HTTP.",
        ),
    ],
)
async def test_what_is_no_answer_is_a_failure_with_its_reason(
    autojump_clock: MockClock, behaviour: Behaviour, reason: str
) -> None:
    async with receiving(behaviour) as receiver:
        answered = await post(receiver)
    assert (answered.status, answered.reason) == (None, reason)
    assert len(receiver.requests) == 1


# Which URLs it takes


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "ftp://example.org/",
        "file:///etc/passwd",
        "//example.org/",
        "https:///hook",
        "https:example.org",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://exa mple.org/",
        "https://example.org/\n",
        "https://*/",
        "https://%31%32%37.0.0.1/",
        "https://name@example.org/",
        "https://name:swordfish@example.org/",
        "https://:swordfish@example.org/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::FFFF:127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "https://example.org/" + "x" * 2048,
        "https://example.org/\ud800",
    ],
)
async def test_a_url_that_can_never_be_a_target_is_refused_before_it_is_stored(
    autojump_clock: MockClock, url: str
) -> None:
    async with open_webhook_sender(WebhookSenderLimits()) as sender:
        with pytest.raises(Invalid) as refused:
            sender.check(url)
        answered = await sender.post(url, JSON, BODY)
    assert refused.value.fields["url"] == refused.value.detail
    assert answered == Answer(None, 0.0, refused.value.detail)
    assert "swordfish" not in refused.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org:8443/hook?key=value#part",
        "http://EXAMPLE.org./",
        "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example/",
        "https://my_container/",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::ABCD]:8443/",
    ],
)
async def test_other_urls_are_taken(url: str) -> None:
    async with open_webhook_sender(WebhookSenderLimits()) as sender:
        sender.check(url)


async def test_an_allowed_network_makes_its_addresses_targets() -> None:
    async with open_webhook_sender(WebhookSenderLimits(allowed_networks=("10.0.0.0/8",))) as sender:
        sender.check("http://10.1.2.3/")
        with pytest.raises(Invalid):
            sender.check("http://127.0.0.1/")


# Limits


@pytest.mark.parametrize(
    "wrong",
    [{"timeout": 0}, {"connections": -1}, {"idle_connections": -1}, {"answer": 0}, {"allowed_networks": ("intranet",)}],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"WebhookSenderLimits|write it as"):
        WebhookSenderLimits(**wrong)
