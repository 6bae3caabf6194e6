"""The two real JavaScript clients against a real server on a real socket: they get everything, once, and stay well."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.entities import System

from .driver import Client, client, needs_node
from .live_server import LiveServer, live_server

pytestmark = needs_node

EXTENDED = ["actioncable-v1-ext-json", "actioncable-v1-ext-msgpack"]
PROTOCOLS = ["actioncable-v1-json", "actioncable-v1-msgpack", *EXTENDED]
SYSTEM = System(1)


@asynccontextmanager
async def connected(server: LiveServer, kind: str, token: str = "bo") -> AsyncGenerator[Client, None]:
    """A client of this kind, `rails` or one of AnyCable's subprotocols."""
    arguments = ("rails.mjs", server.url(token)) if kind == "rails" else ("anycable.mjs", server.url(token), kind)
    async with client(*arguments) as found:
        await found.order("connect")
        yield found


async def follow(found: Client, name: str = "chat", **parameters: object) -> None:
    await found.order("subscribe", name=name, channel="ConversationChannel", **(parameters or {"id": 1}))
    await found.expect("connected", name=name)


async def say(server: LiveServer, *contents: str) -> None:
    for content in contents:
        await server.engine.conversation(1, 1).ask(SendMessage(SYSTEM, content))


@pytest.mark.parametrize("kind", ["rails", *PROTOCOLS])
async def test_a_client_subscribes_sends_and_receives(kind: str, tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, kind) as bo:
        await follow(bo)
        await say(server, "Hello ☕")
        await bo.perform("chat", "send_message", content="Hello yourself", client_id="1")
        assert (await bo.expect("received"))["message"]["data"]["content"] == "Hello ☕"
        mine = (await bo.expect("received"))["message"]
        assert (mine["type"], mine["data"]["content"], mine["data"]["client_id"]) == (
            "message.created",
            "Hello yourself",
            "1",
        )
        await bo.perform("chat", "send_message", content="", client_id="2")
        failed = (await bo.expect("received"))["message"]
        assert (failed["type"], failed["data"]["client_id"]) == ("command.failed", "2")
        assert bo.logged("error") == []


@pytest.mark.parametrize("kind", ["rails", *PROTOCOLS])
async def test_a_client_is_told_that_its_subscription_is_rejected(kind: str, tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, kind, "cy") as cy:
        await cy.order("subscribe", name="secret", channel="ConversationChannel", id=2)
        await cy.expect("rejected", name="secret")
        await cy.order("subscribe", name="unknown", channel="NoSuchChannel")
        await cy.expect("rejected", name="unknown")
        await follow(cy)


@pytest.mark.parametrize("kind", PROTOCOLS)
async def test_an_unauthorized_client_is_closed_for_good(kind: str, tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, kind, "nobody") as stranger:
        assert (await stranger.expect("cable closed"))["reason"] == "unauthorized"


async def test_an_unauthorized_rails_client_does_not_try_again(tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, "rails", "nobody") as stranger:
        await stranger.order("subscribe", name="chat", channel="ConversationChannel", id=1)
        gone = await stranger.expect("disconnected", name="chat")
        assert gone["willAttemptReconnect"] is False


@pytest.mark.parametrize("kind", ["rails", *EXTENDED])
async def test_a_revoked_token_ends_a_client(kind: str, tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, kind) as bo:
        await follow(bo)
        server.revoke(2)
        if kind == "rails":
            assert (await bo.expect("disconnected"))["willAttemptReconnect"] is False
        else:
            assert (await bo.expect("cable closed"))["reason"] == "unauthorized"


@pytest.mark.parametrize("kind", EXTENDED)
async def test_a_client_whose_connection_is_cut_misses_nothing_and_gets_nothing_twice(
    kind: str, tmp_path: Path
) -> None:
    async with live_server(tmp_path) as server, connected(server, kind) as bo:
        await follow(bo)
        await say(server, "one", "two")
        await bo.expect_message("chat", "two")
        server.cut()
        await say(server, "three", "four")
        await bo.expect("connected", name="chat", reconnect=True)
        await bo.expect("info", name="chat", type="history_received")
        await say(server, "five")
        await bo.expect_message("chat", "five")
        assert bo.contents("chat") == ["one", "two", "three", "four", "five"]
        assert bo.logged("error") == []


@pytest.mark.parametrize("kind", EXTENDED)
async def test_a_client_misses_nothing_over_a_restart_of_the_server(kind: str, tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, kind) as bo:
        await follow(bo)
        await say(server, "one")
        await bo.expect_message("chat", "one")
        await server.stop()
        assert (await bo.expect("cable disconnected"))["reason"] == "server_restart"
        await say(server, "two")
        await server.start()
        await bo.expect("connected", name="chat", reconnect=True)
        await bo.expect("info", name="chat", type="history_received")
        await say(server, "three")
        await bo.expect_message("chat", "three")
        assert bo.contents("chat") == ["one", "two", "three"]


@pytest.mark.parametrize("kind", EXTENDED)
async def test_a_repeated_command_does_not_set_a_client_back(kind: str, tmp_path: Path) -> None:
    """Its first result has no position; otherwise the client would ask again for everything after it."""
    async with live_server(tmp_path) as server, connected(server, kind) as bo:
        await follow(bo)
        await bo.perform("chat", "send_message", content="one", client_id="1")
        await bo.expect_message("chat", "one")
        await say(server, "two")
        await bo.expect_message("chat", "two")
        await bo.perform("chat", "send_message", content="one", client_id="1")
        await bo.expect_message("chat", "one")
        server.cut()
        await bo.expect("info", name="chat", type="history_received")
        await say(server, "three")
        await bo.expect_message("chat", "three")
        assert bo.contents("chat") == ["one", "two", "one", "three"]


async def test_a_rails_client_comes_back_after_a_cut_and_after_a_restart(tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, "rails") as bo:
        await follow(bo)
        server.cut()
        await bo.expect("disconnected", willAttemptReconnect=True)
        await bo.expect("connected", reconnected=True)
        await say(server, "one")
        await bo.expect_message("chat", "one")
        await server.stop()
        await bo.expect("disconnected", willAttemptReconnect=True)
        await server.start()
        await bo.expect("connected", reconnected=True)
        await say(server, "two")
        await bo.expect_message("chat", "two")
        assert bo.contents("chat") == ["one", "two"]


async def test_a_rails_client_with_two_subscriptions_to_one_conversation_is_satisfied(tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, "rails") as bo:
        await follow(bo, "first")
        await follow(bo, "second")
        await say(server, "one")
        await bo.expect_message("first", "one")
        await bo.expect_message("second", "one")


@pytest.mark.parametrize("kind", EXTENDED)
async def test_a_dashboard_over_anycable_misses_nothing_of_any_conversation(kind: str, tmp_path: Path) -> None:
    async with live_server(tmp_path) as server, connected(server, kind) as bo:
        await bo.order("subscribe", name="board", channel="AccountChannel")
        await bo.expect("connected", name="board")
        await say(server, "1.1")
        await bo.expect_message("board", "1.1")
        server.cut()
        await say(server, "1.2")
        await server.engine.conversation(1, 2).ask(SendMessage(SYSTEM, "2.1"))
        await bo.expect("connected", name="board", reconnect=True)
        await bo.expect("info", name="board", type="history_received")
        await say(server, "1.3")
        while not {"1.3", "2.1"} <= set(bo.contents("board")):  # conversations have no order among each other
            await bo.expect("received", name="board")
        assert sorted(bo.contents("board")) == ["1.1", "1.2", "1.3", "2.1"]


async def test_whispers_are_taken_and_presence_requests_fail_at_once(tmp_path: Path) -> None:
    kind = "actioncable-v1-ext-json"
    async with live_server(tmp_path) as server, connected(server, kind) as bo:
        await follow(bo)
        await bo.order("whisper", name="chat", data={"event": "typing"})
        await bo.order("presence", name="chat")
        await bo.expect("presence failed", name="chat")
        await say(server, "still here")
        await bo.expect_message("chat", "still here")


@pytest.mark.parametrize("where", ["header", "sub-protocol", "param"])
async def test_a_token_may_come_every_way_that_anycable_knows(where: str, tmp_path: Path) -> None:
    """Its header is for tokens of another kind: ours go into `Authorization`."""
    async with live_server(tmp_path) as server:
        url = server.url("").partition("?")[0]
        options = {
            "header": '{"websocketOptions":{"headers":{"authorization":"Bearer bo"}}}',
            "sub-protocol": '{"websocketAuthStrategy":"sub-protocol","auth":{"token":"bo"}}',
            "param": '{"auth":{"token":"bo"}}',
        }
        async with client("anycable.mjs", url, "actioncable-v1-ext-json", options[where]) as bo:
            await bo.order("connect")
            await follow(bo)
