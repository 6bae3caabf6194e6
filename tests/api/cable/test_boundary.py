"""What one connection can do to the server: nothing. Errors, floods, crashes, and the end of the server itself."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.api.cable.failures import ErrorWindow, failure
from tertulia.api.cable_limits import CableLimits
from tertulia.api.testing import ANYCABLE, ANYCABLE_MSGPACK, RAILS, Subscription, identifier_of
from tertulia.engine.errors import ActorFailed, Draining, Overloaded, RateLimited
from tertulia.engine.frames import BINARY, TEXT

from .seams import Broken, Nobody, Paused, as_authenticator, as_reads
from .stage import open_stage

ONE = identifier_of("ConversationChannel", id=1)

NONSENSE = [
    b"",
    b"Hello",
    b"[]",
    b'{"command":7}',
    b'{"command":"fly"}',
    b'{"command":"unheard","identifier":"x"}',
    b'{"command":"message","identifier":"' + b"\\ud800" + b'"}',
    b'{"command":"message","data":' + b"[" * 60_000,
    b'{"command":"presence"}',
    b'{"command":"whisper","identifier":"nothing"}',
]


@pytest.mark.parametrize("payload", NONSENSE, ids=lambda payload: payload[:40].decode())
async def test_nonsense_is_answered_and_the_connection_lives(payload: bytes, autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", RAILS)
        client.send_raw(payload)
        failed = await client.expect("command.failed")
        assert failed["data"]["code"] == "malformed"
        await client.subscribe("ConversationChannel", id=1)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x81\xa7command", b"\x91" * 60_000, b"\x81\xc4\x01x\x01"])
async def test_nonsense_in_msgpack_is_answered_and_the_connection_lives(
    payload: bytes, autojump_clock: MockClock
) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", ANYCABLE_MSGPACK)
        client.send_raw(payload)
        await client.expect("command.failed")
        await client.subscribe("ConversationChannel", id=1)


@pytest.mark.parametrize(("offers", "first"), [(RAILS, BINARY), (ANYCABLE_MSGPACK, TEXT)])
async def test_a_frame_of_the_wrong_kind_is_an_error(
    offers: tuple[str, ...], first: int, autojump_clock: MockClock
) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", offers)
        client.send_raw(b'{"command":"ping"}', first)
        await client.expect("command.failed")


# Errors are counted.


def test_more_errors_than_the_bound_within_any_period_are_too_many() -> None:
    window = ErrorWindow(3, 10.0)
    assert [window.exceeded(at) for at in (0, 5, 9, 10.5, 11, 12)] == [False, False, False, False, True, True]


@pytest.mark.parametrize(
    "error",
    [
        {"command": "fly"},
        {"command": "subscribe", "identifier": "nonsense"},
        {"command": "subscribe", "identifier": '{"channel":"ConversationChannel","id":4}'},
        {"command": "message", "identifier": "nothing", "data": "{}"},
        {"command": "message", "identifier": ONE, "data": '{"action":"fly"}'},
        {"command": "message", "identifier": ONE, "data": '{"action":"send_message","content":""}'},
        {"command": "presence", "identifier": "nothing"},
    ],
    ids=str,
)
async def test_a_client_with_too_many_errors_of_any_kind_is_closed(
    error: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with open_stage(CableLimits(errors=20)) as (_, cable):
        client = await cable.connect("ana")
        await client.subscribe("ConversationChannel", id=1)
        for _ in range(20):
            client.send(**error)
            await wait_all_tasks_blocked()
        assert not client.closed
        client.send(**error)
        await client.wait_closed()
        assert client.messages[-1] == {"type": "disconnect", "reason": "invalid_request", "reconnect": False}


async def test_errors_that_are_spread_over_time_are_forgiven(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana")
        for _ in range(50):
            client.send("fly")
            await trio.sleep(0.6)
        assert not client.closed


async def test_overload_is_not_the_clients_error(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana")
        await client.subscribe("ConversationChannel", id=1)
        for error in (Overloaded(), Draining(), ActorFailed(), RuntimeError("a defect of ours")) * 20:
            client.session.fail(ONE, None, error)
        assert not client.closed


@pytest.mark.parametrize(
    ("error", "code", "retry_after"),
    [
        (Overloaded(retry_after=0.3), "overloaded", 0.3),
        (RateLimited(retry_after=2), "rate_limited", 2),
        (Draining(), "server_restart", 1.0),
        (ActorFailed(), "unavailable", 1.0),
    ],
)
def test_a_failure_that_may_pass_says_when_to_try_again(error: Exception, code: str, retry_after: float) -> None:
    data = failure("7", error)["data"]
    assert (data["code"], data["retryable"], data["retry_after"]) == (code, True, retry_after)


def test_a_defect_of_ours_is_told_without_its_details() -> None:
    data = failure("7", RuntimeError("secret"))["data"]
    assert (data["code"], data["retryable"]) == ("internal", False)
    assert "secret" not in data["detail"]


# Commands that wait.


async def test_a_client_that_sends_more_than_may_wait_is_not_read_until_it_is_done(autojump_clock: MockClock) -> None:
    async with open_stage(CableLimits(waiting_commands=10)) as (engine, cable):
        client = await cable.connect("ana", ANYCABLE)
        paused = Paused(engine.world.reads)
        cable.gateway.reads = as_reads(paused)
        client.send("subscribe", ONE, history={"since": 1, "streams": {}})
        await client.expect("confirm_subscription")
        for number in range(12):
            assert client.transport.paused is (number >= 10)
            client.send("message", ONE, data=f'{{"action":"send_message","content":"{number}"}}')
        assert client.transport.paused
        paused.before.set()
        paused.after.set()
        await client.expect("confirm_history")
        await wait_all_tasks_blocked()
        assert not client.transport.paused
        contents = [push.data["content"] for push in Subscription(client, ONE).pushes()]
        assert contents == [str(number) for number in range(12)]


async def test_a_client_that_sends_more_bytes_than_may_wait_is_not_read_until_it_is_done(
    autojump_clock: MockClock,
) -> None:
    async with open_stage(CableLimits(waiting_bytes=10_000)) as (engine, cable):
        client = await cable.connect("ana", ANYCABLE)
        paused = Paused(engine.world.reads)
        cable.gateway.reads = as_reads(paused)
        client.send("subscribe", ONE, history={"since": 1, "streams": {}})
        await client.expect("confirm_subscription")
        for _ in range(3):
            assert not client.transport.paused
            client.send("whisper", ONE, data="x" * 4_000)
        assert client.transport.paused
        paused.before.set()
        paused.after.set()
        await client.expect("confirm_history")
        await wait_all_tasks_blocked()
        assert not client.transport.paused


async def test_what_nobody_will_read_is_not_kept_while_it_waits(autojump_clock: MockClock) -> None:
    """A byte of msgpack can be an empty list, which takes fifty times as much in memory."""
    async with open_stage() as (engine, cable):
        client = await cable.connect("visitor 1", ANYCABLE_MSGPACK)
        cable.gateway.reads = as_reads(Paused(engine.world.reads))
        client.send("subscribe", ONE, history={"since": 1, "streams": {}})
        await client.expect("confirm_subscription")
        bomb = msgspec.msgpack.encode({"command": "whisper", "identifier": ONE, "data": [[]] * 60_000})
        client.send_raw(bomb)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            client.send_raw(bomb)
            kept = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert kept < 10_000


# Defects.


async def test_a_defect_closes_the_one_connection_with_a_traceback_in_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_stage() as (engine, cable):
        client, other = await cable.connect("ana"), await cable.connect("bo")
        subscription = await other.subscribe("ConversationChannel", id=1)
        cable.gateway.reads = as_reads(Broken(engine.world.reads))
        with caplog.at_level(logging.ERROR):
            client.send("subscribe", ONE)
            assert await client.wait_closed() == 1011
        assert "ZeroDivisionError" in caplog.text
        subscription.perform("send_message", content="Still here")
        await subscription.assert_push("message.created")


async def test_a_defect_on_the_spot_closes_the_one_connection_too(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_stage() as (_, cable):
        client, other = await cable.connect("ana"), await cable.connect("bo")
        client.session.channels[ONE] = BrokenChannel()  # type: ignore[assignment]
        with caplog.at_level(logging.ERROR):
            client.send("message", ONE, data="{}")
        assert client.close_code == 1011
        assert "ZeroDivisionError" in caplog.text
        assert not other.closed


class BrokenChannel:
    """A channel with a defect."""

    def perform(self, data: str) -> None:
        raise ZeroDivisionError

    def close(self) -> None: ...


# The server goes.


async def test_a_drain_asks_everybody_to_reconnect_spread_over_the_window(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        clients = [await cable.connect("ana") for _ in range(10)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cable.gateway.drain, 5.0)
            await trio.sleep(2.25)
            assert sum(client.closed for client in clients) == 5
        assert [client.close_code for client in clients] == [1001] * 10
        for client in clients:
            assert client.messages[-1] == {"type": "disconnect", "reason": "server_restart", "reconnect": True}


async def test_who_connects_during_a_drain_is_asked_to_reconnect(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        await cable.connect("ana")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cable.gateway.drain, 5.0)
            await trio.sleep(1)
            late = cable.dial("ana")
            assert late.messages == [{"type": "disconnect", "reason": "server_restart", "reconnect": True}]
            assert late.close_code == 1001
        assert not cable.gateway.sessions


async def test_an_engine_that_outlives_its_gateway_has_nothing_more_to_tell_it(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        before = len(engine.world.access.listeners), len(cable.authenticator.listeners)
        await cable.gateway.drain(0)
        await cable.gateway.drain(0)
        after = len(engine.world.access.listeners), len(cable.authenticator.listeners)
        assert after == (before[0] - 1, before[1] - 1)


async def test_a_drain_without_sessions_is_over_at_once(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        await cable.gateway.drain(5.0)
        assert trio.current_time() == 0


async def test_a_store_that_cannot_say_who_it_is_makes_the_client_come_back(autojump_clock: MockClock) -> None:
    async with open_stage(CableLimits(authentication_timeout=5)) as (_, cable):
        cable.gateway.authenticator = as_authenticator(Nobody())
        client = cable.dial("ana")
        await client.wait_closed()
        assert client.messages == [{"type": "disconnect", "reason": "server_restart", "reconnect": True}]
