"""Dashboards on one node, and conversations on another: the real channels, over a bus that loses things."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.account import RemoveAccountUser, SetInboxMembers
from tertulia.api.auth import digest_of
from tertulia.api.testing import Subscription, open_cable
from tertulia.storage.records import Token
from tertulia.storage.writes import Insert, Unit

from ..actors.kit import ADMINISTRATOR, BASE
from .nodes import Nodes, open_nodes

ANYCABLE = ("actioncable-v1-ext-json",)
SETTLED = 20.0  # seconds: longer than every period of the cluster


async def give_tokens(nodes: Nodes) -> None:
    tokens = [Token(id=id, hash=digest_of(f"user-{id}"), kind="user", user_id=id, created_at=BASE) for id in (1, 2, 3)]
    assert await nodes.store.commit([Unit(1, writes=[Insert(token) for token in tokens])]) == {}


async def test_a_dashboard_that_moves_to_a_node_that_was_told_less_is_told_everything_once(
    autojump_clock: MockClock,
) -> None:
    async with open_nodes(position_check=1000.0) as nodes:
        await give_tokens(nodes)
        home, other = await nodes.start_two()
        async with open_cable(other.engine) as cable:
            await other.listen("inbox:1")
            await trio.sleep(60)
            nodes.lose("topic:")
            await home.send("seen at home")
            await home.send("missed")
            nodes.lose_nothing()
            client = await cable.connect("user-1", ANYCABLE)
            known = {"conversation:1": {"epoch": other.engine.epoch, "offset": 2}}
            dashboard = await client.subscribe("AccountChannel", history={"streams": known})
            await client.expect("confirm_history")
            await home.send("now")
            await trio.sleep(SETTLED)
            assert [push.offset for push in dashboard.pushes() if push.stream_id == "conversation:1"] == [3]


async def test_inboxes_that_are_granted_or_revoked_while_a_dashboard_is_being_opened_are_joined_or_left(
    autojump_clock: MockClock,
) -> None:
    async with open_nodes() as nodes:
        await give_tokens(nodes)
        home, other = await nodes.start_two()
        async with open_cable(other.engine) as cable, trio.open_nursery() as nursery:
            client = await cable.connect("user-3", ANYCABLE)
            nodes.faults.gates["changed"] = gate = trio.Event()
            dashboards: list[Subscription] = []

            async def subscribe() -> None:
                dashboards.append(await client.subscribe("AccountChannel"))

            nursery.start_soon(subscribe)
            await wait_all_tasks_blocked()
            await home.engine.account(1).ask(SetInboxMembers(ADMINISTRATOR, 1, (2, 3)))
            await home.engine.account(1).ask(SetInboxMembers(ADMINISTRATOR, 2, (2,)))
            await wait_all_tasks_blocked()
            nodes.faults.gates.clear()
            gate.set()
            await trio.sleep(1)
            await home.send("granted")
            await home.send("revoked", conversation_id=2)
            await trio.sleep(SETTLED)
            assert [push.stream_id for push in dashboards[0].pushes() if push.offset] == ["conversation:1"]


async def test_a_member_who_is_removed_on_one_node_is_disconnected_from_the_other(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        await give_tokens(nodes)
        a, b = await nodes.start("a"), await nodes.start("b")
        async with open_cable(b.engine) as cable:
            client = await cable.connect("user-2", ANYCABLE)
            await client.subscribe("AccountChannel")
            await a.engine.account(1).ask(RemoveAccountUser(ADMINISTRATOR, 2))
            await client.wait_closed()
