"""A right that ends on one node ends on all: at once, or within `access_refresh` seconds where the news was lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from trio_websocket import wrap_client_stream

from tertulia.actors.access import AccountAccess
from tertulia.actors.commands.account import RemoveAccountUser, UpdateAccountUser
from tertulia.actors.entities import Role
from tertulia.api.auth import digest_of
from tertulia.api.server import open_server
from tertulia.api.settings import ServerSettings, Settings
from tertulia.api.testing import open_cable
from tertulia.engine.errors import NotFound, Unavailable
from tertulia.storage.records import Token
from tertulia.storage.writes import Delete, Insert, Unit

from ..actors.kit import ADMINISTRATOR, AGENT, BASE
from .nodes import Node, Nodes, open_nodes

RAILS = "actioncable-v1-json"
PATIENCE = 30.0  # seconds, also for a busy machine


class Sessions:
    """What a node's sessions hear of rights: whether the agent is still admitted, and which tokens are revoked."""

    def __init__(self, node: Node) -> None:
        self.admitted: list[bool] = []
        self.revoked: list[int] = []
        self.tokens: set[int] = set()  # that open sessions use
        self.listeners: list[Callable[[frozenset[int]], Any]] = []
        self.node = node
        node.engine.world.access.listeners.append(self._changed)
        node.cluster.rights.share(self.listeners, self.revoked_there, lambda: self.tokens)

    async def open(self) -> AccountAccess:
        """What a session keeps as long as it is open."""
        return await self.node.engine.world.access.of(1)

    def _changed(self, access: AccountAccess) -> None:
        self.admitted.append(access.admits(AGENT))

    def revoke(self, token_ids: Collection[int]) -> None:
        """As the authenticator does, for tokens that were revoked on this node or another one."""
        self.revoked.extend(token_ids)
        self.tokens.difference_update(token_ids)
        for listener in self.listeners:
            listener(frozenset(token_ids))

    def revoked_there(self, token_ids: list[int]) -> None:
        self.revoke(token_ids)


async def give_tokens(nodes: Nodes, *token_ids: int) -> None:
    tokens = [Token(id=id, hash=digest_of(f"t{id}"), kind="user", user_id=2, created_at=BASE) for id in token_ids]
    assert await nodes.store.commit([Unit(1, writes=[Insert(token) for token in tokens])]) == {}


async def sign_out(nodes: Nodes, here: Sessions, *token_ids: int) -> None:
    """Delete tokens from the store and revoke them on one node, as the API does."""
    writes = [Delete(Token, {"user_id": 2, "id": token_id}) for token_id in token_ids]
    assert await nodes.store.commit([Unit(1, writes=list(writes))]) == {}
    here.revoke(token_ids)
    await wait_all_tasks_blocked()


async def test_who_is_removed_on_one_node_loses_the_sessions_on_all(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        a, b = await nodes.start("a"), await nodes.start("b")
        here, there = Sessions(a), Sessions(b)
        kept = await here.open(), await there.open()
        await a.engine.account(1).ask(RemoveAccountUser(ADMINISTRATOR, 2))
        await wait_all_tasks_blocked()
        assert here.admitted[-1:] == there.admitted[-1:] == [False]
        assert len(kept) == 2


async def test_who_is_removed_while_the_bus_loses_everything_is_gone_after_a_refresh(autojump_clock: MockClock) -> None:
    async with open_nodes(access_refresh=10.0) as nodes:
        a, b = await nodes.start("a"), await nodes.start("b")
        here, there = Sessions(a), Sessions(b)
        kept = await here.open(), await there.open()
        nodes.lose("rights")
        await a.engine.account(1).ask(RemoveAccountUser(ADMINISTRATOR, 2))
        await wait_all_tasks_blocked()
        assert here.admitted[-1:] != there.admitted[-1:]
        await trio.sleep(11)
        assert here.admitted[-1:] == there.admitted[-1:] == [False]
        assert len(kept) == 2


async def test_a_node_whose_bus_was_away_looks_when_it_is_back(autojump_clock: MockClock) -> None:
    async with open_nodes(access_refresh=1000.0) as nodes:
        a, b = await nodes.start("a"), await nodes.start("b")
        there = Sessions(b)
        kept = await there.open()
        b.bus.cut()
        await a.engine.account(1).ask(RemoveAccountUser(ADMINISTRATOR, 2), timeout=60)
        b.bus.mend()
        await wait_all_tasks_blocked()
        assert there.admitted == [False]
        assert not kept.admits(AGENT)


async def test_what_the_store_said_before_a_change_does_not_undo_it(autojump_clock: MockClock) -> None:
    async with open_nodes(access_refresh=1000.0) as nodes:
        a, b = await nodes.start("a"), await nodes.start("b")
        home = a if a.cluster.homes.is_here(a.engine.account(1).address) else b
        await home.engine.account(1).ask(UpdateAccountUser(ADMINISTRATOR, 3, Role.VIEWER))
        sessions = Sessions(home)
        kept = await sessions.open()
        store = nodes.faults
        store.gates["account"] = gate = trio.Event()
        home.cluster.rights.refresh_soon()
        await wait_all_tasks_blocked()
        await home.engine.account(1).ask(RemoveAccountUser(ADMINISTRATOR, 2))
        gate.set()
        await wait_all_tasks_blocked()
        assert not kept.admits(AGENT)
        assert set(sessions.admitted) == {False}


async def test_an_error_that_nobody_expected_does_not_end_the_refreshing(autojump_clock: MockClock) -> None:
    async with open_nodes(access_refresh=10.0) as nodes:
        a, b = await nodes.start("a"), await nodes.start("b")
        there = Sessions(b)
        kept = await there.open()
        store = nodes.faults
        store.errors["account"] = OverflowError("a bug")
        await trio.sleep(25)
        store.errors["account"] = NotFound()
        await trio.sleep(25)
        store.errors.clear()
        nodes.lose("rights")
        await a.engine.account(1).ask(RemoveAccountUser(ADMINISTRATOR, 2))
        await trio.sleep(11)
        assert not kept.admits(AGENT)


async def test_a_token_that_is_revoked_on_one_node_is_revoked_on_all_and_told_once(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        sessions = [Sessions(await nodes.start(name)) for name in ("a", "b", "c")]
        sessions[0].revoke([7, 8])
        await wait_all_tasks_blocked()
        assert [sorted(each.revoked) for each in sessions] == [[7, 8]] * 3


async def test_a_token_that_is_revoked_while_the_bus_loses_everything_is_revoked_on_all_after_a_refresh(
    autojump_clock: MockClock,
) -> None:
    async with open_nodes(access_refresh=10.0) as nodes:
        await give_tokens(nodes, 7, 8)
        here, there = Sessions(await nodes.start("a")), Sessions(await nodes.start("b"))
        there.tokens = {7, 8}
        nodes.lose("rights")
        await sign_out(nodes, here, 7)
        assert there.revoked == []
        await trio.sleep(11)
        assert there.revoked == [7]
        await trio.sleep(30)
        assert there.revoked == [7]
        assert there.tokens == {8}


async def test_a_node_whose_bus_was_away_looks_at_its_tokens_when_it_is_back(autojump_clock: MockClock) -> None:
    async with open_nodes(access_refresh=1000.0) as nodes:
        await give_tokens(nodes, 7, 8)
        a, b = await nodes.start("a"), await nodes.start("b")
        here, there = Sessions(a), Sessions(b)
        there.tokens = {7, 8}
        b.bus.cut()
        await sign_out(nodes, here, 7)
        b.bus.mend()
        await wait_all_tasks_blocked()
        assert there.revoked == [7]


async def test_the_tokens_of_every_server_of_a_node_are_looked_at(autojump_clock: MockClock) -> None:
    async with open_nodes(access_refresh=10.0) as nodes:
        await give_tokens(nodes, 7, 8, 9)
        a, b = await nodes.start("a"), await nodes.start("b")
        here, servers = Sessions(a), [Sessions(b), Sessions(b)]
        servers[0].tokens, servers[1].tokens = {7, 8}, {8, 9}
        nodes.lose("rights")
        await sign_out(nodes, here, 7, 9)
        await trio.sleep(11)
        assert [server.tokens for server in servers] == [{8}, {8}]


async def test_many_tokens_are_looked_at_in_slices_and_one_that_cannot_be_read_waits(autojump_clock: MockClock) -> None:
    async with open_nodes(access_refresh=10.0, token_batch=2) as nodes:
        await give_tokens(nodes, 5, 6, 7, 8, 9)
        a, b = await nodes.start("a"), await nodes.start("b")
        here, there = Sessions(a), Sessions(b)
        there.tokens = {5, 6, 7, 8, 9}
        nodes.lose("rights")
        await sign_out(nodes, here, 5, 9)
        for error in (Unavailable("The database is away."), OverflowError("a bug")):
            nodes.faults.errors["live_tokens"] = error
            await trio.sleep(11)
        assert there.revoked == []
        nodes.faults.errors.clear()
        nodes.faults.calls.clear()
        await trio.sleep(10)
        assert there.tokens == {6, 7, 8}
        assert nodes.faults.calls.count("live_tokens") == 3


async def test_a_token_that_the_store_has_lost_is_no_news_to_the_others(autojump_clock: MockClock) -> None:
    async with open_nodes(access_refresh=10.0) as nodes:
        await give_tokens(nodes, 7)
        a, b = await nodes.start("a"), await nodes.start("b")
        here, there = Sessions(a), Sessions(b)
        there.tokens = {7}
        nodes.lose("rights")
        await sign_out(nodes, here, 7)
        nodes.lose_nothing()
        await trio.sleep(11)
        assert there.revoked == [7]
        assert here.revoked == [7]  # by its own sign-out alone


async def test_a_client_whose_token_was_revoked_while_the_bus_was_away_is_disconnected(
    autojump_clock: MockClock,
) -> None:
    async with open_nodes(access_refresh=10.0) as nodes:
        await give_tokens(nodes, 7, 8)
        a, b = await nodes.start("a"), await nodes.start("b")
        here = Sessions(a)
        async with open_cable(b.engine) as cable:
            authenticator, gateway = cable.authenticator, cable.gateway
            b.cluster.rights.share(authenticator.listeners, authenticator.revoked, gateway.tokens_in_use)
            signed_out, other = await cable.connect("t7"), await cable.connect("t8")
            nodes.lose("rights")
            await sign_out(nodes, here, 7)
            await trio.sleep(11)
            assert signed_out.closed
            assert not other.closed
            assert set(gateway.tokens_in_use()) == {8}


async def test_a_server_asks_for_the_tokens_of_its_own_clients() -> None:
    settings = Settings(server=ServerSettings(bind="127.0.0.1:0", drain_window=0.01))
    with trio.fail_after(PATIENCE):
        async with open_nodes(access_refresh=0.1) as nodes:
            await give_tokens(nodes, 7)
            here, b = Sessions(await nodes.start("a")), await nodes.start("b")
            async with open_server(b.engine, settings) as server:
                stream = await trio.open_tcp_stream("127.0.0.1", server.port)
                async with stream, trio.open_nursery() as nursery:
                    client = await wrap_client_stream(
                        nursery, stream, "127.0.0.1", "/cable?token=t7", subprotocols=[RAILS]
                    )
                    assert json.loads(await client.get_message())["type"] == "welcome"
                    nodes.lose("rights")
                    await sign_out(nodes, here, 7)
                    while json.loads(await client.get_message()).get("reason") != "unauthorized":
                        pass
                    nursery.cancel_scope.cancel()


async def test_news_of_rights_do_not_go_around(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        a, b = await nodes.start("a"), await nodes.start("b")
        kept = await Sessions(a).open(), await Sessions(b).open()
        heard: list[str] = []

        def listen(channel: str, payload: bytes, node: str) -> bool:
            if channel == "rights":
                heard.append(node)
            return False

        nodes.exchange.loses = listen
        await a.engine.account(1).ask(UpdateAccountUser(ADMINISTRATOR, 3, Role.VIEWER))
        await trio.sleep(60)
        assert len(heard) == 2  # one publication, to two nodes
        assert len(kept) == 2
