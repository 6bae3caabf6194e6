"""Who gets in, what is said first, and what happens to commands that come before the welcome."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.api.cable.gateway import account_of, token_of
from tertulia.api.cable.protocol import choose
from tertulia.api.cable_limits import CableLimits
from tertulia.api.testing import ANYCABLE, RAILS, identifier_of
from tertulia.engine.handshake import UpgradeRequest

from .stage import open_stage

HELLO = {"type": "welcome"}


def request(query: dict[str, str], headers: dict[str, str], *offers: str) -> UpgradeRequest:
    return UpgradeRequest("/cable", query, headers, offers)


@pytest.mark.parametrize(
    ("offered", "spoken", "selected"),
    [
        (RAILS, "actioncable-v1-json", "actioncable-v1-json"),
        (("actioncable-v1-ext-json",), "actioncable-v1-ext-json", "actioncable-v1-ext-json"),
        (("nonsense", "actioncable-v1-msgpack"), "actioncable-v1-msgpack", "actioncable-v1-msgpack"),
        (
            ("anycable-token.T", "actioncable-v1-ext-msgpack"),
            "actioncable-v1-ext-msgpack",
            "actioncable-v1-ext-msgpack",
        ),
        (("actioncable-v2", "actioncable-unsupported"), None, "actioncable-unsupported"),
        (("actioncable-v2",), None, None),
        ((), "actioncable-v1-json", None),
        (("anycable-token.T",), "actioncable-v1-json", None),
    ],
)
def test_the_first_offered_subprotocol_that_is_supported_is_spoken(
    offered: tuple[str, ...], spoken: str | None, selected: str | None
) -> None:
    protocol, answer = choose(offered)
    assert (protocol.name if protocol else None, answer) == (spoken, selected)


@pytest.mark.parametrize(
    ("asked", "token"),
    [
        (request({"token": "T"}, {}), "T"),
        (request({"jid": "T"}, {}), "T"),
        (request({}, {"authorization": "Bearer T"}), "T"),
        (request({}, {"authorization": "bearer  T "}), "T"),
        (request({}, {"authorization": "Basic T"}), None),
        (request({}, {}, "actioncable-v1-ext-json", "anycable-token.T"), "T"),
        (request({"token": ""}, {}), None),
    ],
)
def test_a_token_comes_in_the_query_in_a_header_or_as_a_subprotocol(asked: UpgradeRequest, token: str | None) -> None:
    assert token_of(asked) == token


def test_the_account_is_named_in_the_query_or_in_a_header() -> None:
    assert account_of(request({"account_id": "7"}, {})) == 7
    assert account_of(request({}, {"x-account-id": "8"})) == 8
    assert account_of(request({"account_id": ""}, {})) is None


@pytest.mark.parametrize("offers", [RAILS, ("actioncable-v1-msgpack",)])
async def test_the_first_message_on_the_base_protocol_is_a_bare_welcome(
    offers: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", offers)
        assert client.messages == [HELLO]


@pytest.mark.parametrize("offers", [ANYCABLE, ("actioncable-v1-ext-msgpack",)])
async def test_the_extended_welcome_names_a_session_and_restores_nothing(
    offers: tuple[str, ...], autojump_clock: MockClock
) -> None:
    """The client then subscribes again with its positions; a session id is information, never a credential."""
    async with open_stage() as (_, cable):
        first = await cable.connect("ana", offers)
        second = await cable.connect("ana", offers, sid=first.messages[0]["sid"])
        third = await cable.connect("ana", offers, sid="")
        welcomes = [client.messages[0] for client in (first, second, third)]
    assert all(welcome.keys() == {"type", "sid"} for welcome in welcomes)
    assert len({welcome["sid"] for welcome in welcomes}) == 3


@pytest.mark.parametrize(
    ("token", "query"),
    [
        (None, {}),
        ("wrong", {}),
        ("ana", {"account_id": "2"}),
        ("ana", {"account_id": "99"}),
        ("ana", {"account_id": "9" * 30}),
        ("ana", {"account_id": "one"}),
        ("visitor 1", {"account_id": "2"}),
        ("wrong", {"sid": "a-session-that-was"}),
    ],
)
async def test_who_is_not_let_in_is_told_so_and_not_to_come_back(
    token: str | None, query: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with open_stage() as (_, cable):
        client = cable.dial(token, **query)
        assert await client.wait_closed() == 1000
        assert client.messages == [{"type": "disconnect", "reason": "unauthorized", "reconnect": False}]
        assert not cable.gateway.sessions


async def test_commands_that_come_before_the_welcome_run_after_it(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = cable.dial("ana", RAILS)
        identifier = identifier_of("ConversationChannel", id=1)
        client.send("subscribe", identifier)
        client.send("subscribe", identifier)
        client.send("message", identifier, data='{"action":"send_message","content":"early"}')
        await wait_all_tasks_blocked()
        kinds = [message.get("type", "event") for message in client.messages]
    assert kinds == ["welcome", "confirm_subscription", "event"]


async def test_a_client_that_hangs_up_before_its_welcome_leaves_nothing(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = cable.dial("ana")
        client.drop()
        await wait_all_tasks_blocked()
        assert client.messages == []
        assert not cable.gateway.sessions


async def test_every_client_is_pinged_with_rising_whole_seconds(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana")
        await trio.sleep(10)
        assert len(client.pings) == 3
        assert all(isinstance(ping, int) for ping in client.pings)
        assert client.pings == sorted(set(client.pings))


async def test_pings_rise_even_where_the_time_of_day_stands_still(autojump_clock: MockClock) -> None:
    async with open_stage(CableLimits(ping_interval=0.2)) as (_, cable):
        client = await cable.connect("ana")
        await trio.sleep(2)
        assert len(client.pings) > 5
        assert client.pings == sorted(set(client.pings))


async def test_ping_is_answered_and_pong_is_taken(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana", ANYCABLE)
        client.send("pong")
        client.send("ping")
        assert client.messages[1:] == [{"type": "pong"}]
