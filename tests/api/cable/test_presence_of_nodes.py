"""A dashboard on one node sees who is connected to another, over a real Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from tertulia.actors import times
from tertulia.actors.limits import ChatLimits
from tertulia.api.engine import run_engine
from tertulia.api.settings import Settings
from tertulia.api.testing import ANYCABLE, RAILS, Cable, open_cable
from tertulia.storage.bridge import open_bridge
from tertulia.storage.open import open_store
from tertulia.storage.redis_bus import open_redis_bus

from .stage import fill

PATIENCE = 10.0  # seconds that a test waits for what must come
QUICK = replace(Settings(), chat=ChatLimits(presence_grace_seconds=0.05))


@asynccontextmanager
async def open_two_nodes(redis_url: str) -> AsyncGenerator[list[Cable]]:
    """Two engines on one store, each with its own connection to Redis."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store("memory:"))
        bridge = await stack.enter_async_context(open_bridge())
        cables: list[Cable] = []
        for name in ("one", "two"):
            bus = await stack.enter_async_context(open_redis_bus(redis_url, name, bridge=bridge))
            engine = await stack.enter_async_context(run_engine(store, bus, QUICK, times.now))
            if not cables:
                await fill(engine)
            cables.append(await stack.enter_async_context(open_cable(engine)))
        yield cables


async def test_a_dashboard_sees_who_comes_to_and_goes_from_another_node(redis_url: str) -> None:
    async with open_two_nodes(redis_url) as (one, two):
        dashboard = await (await one.connect("cy", ANYCABLE)).subscribe("AccountChannel")
        visitor = await two.connect("visitor 1")
        await dashboard.assert_push("presence.changed", contact_id=1, status="online", within=PATIENCE)
        visitor.drop()
        await dashboard.assert_push("presence.changed", contact_id=1, status="offline", within=PATIENCE)


async def test_a_dashboard_begins_with_who_is_present_on_another_node(redis_url: str) -> None:
    async with open_two_nodes(redis_url) as (one, two):
        early = await (await two.connect("ana", ANYCABLE)).subscribe("AccountChannel")
        await two.connect("visitor 1")
        await early.assert_push("presence.changed", contact_id=1, status="online", within=PATIENCE)
        for offers in (RAILS, ANYCABLE):
            late = await (await one.connect("cy", offers)).subscribe("AccountChannel")
            await late.assert_push("presence.changed", contact_id=1, status="online", within=PATIENCE)
