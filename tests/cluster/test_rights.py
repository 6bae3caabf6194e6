"""A right that ends on one node ends on all: at once, or within `access_refresh` seconds where the news was lost."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.access import AccountAccess
from tertulia.actors.commands.account import RemoveAccountUser, UpdateAccountUser
from tertulia.actors.entities import Role
from tertulia.engine.errors import NotFound

from ..actors.kit import ADMINISTRATOR, AGENT
from .nodes import Node, open_nodes


class Sessions:
    """What a node's sessions hear of rights: whether the agent is still admitted, and which tokens are revoked."""

    def __init__(self, node: Node) -> None:
        self.admitted: list[bool] = []
        self.revoked: list[int] = []
        self.listeners: list[Callable[[frozenset[int]], Any]] = []
        self.node = node
        node.engine.world.access.listeners.append(self._changed)
        node.cluster.rights.share(self.listeners, self.revoked_there)

    async def open(self) -> AccountAccess:
        """What a session keeps as long as it is open."""
        return await self.node.engine.world.access.of(1)

    def _changed(self, access: AccountAccess) -> None:
        self.admitted.append(access.admits(AGENT))

    def revoke(self, token_ids: Collection[int]) -> None:
        """As the authenticator does, for tokens that were revoked on this node or another one."""
        self.revoked.extend(token_ids)
        for listener in self.listeners:
            listener(frozenset(token_ids))

    def revoked_there(self, token_ids: list[int]) -> None:
        self.revoke(token_ids)


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
