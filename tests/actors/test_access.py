"""The shared facts about an account: read once, known to all, and who they admit."""

from __future__ import annotations

import gc

import pytest
import trio

from tertulia.actors.access import AccessBook, AccountAccess
from tertulia.actors.entities import Role, System, Visitor
from tertulia.engine.errors import NotFound

from .kit import AGENT, OUTSIDER, STRANGER, SYSTEM, VISITOR, World


async def access(world: World) -> AccountAccess:
    return await world.collaborators.access.of(1)


async def test_everybody_who_asks_at_once_gets_the_same_facts(world: World) -> None:
    book = AccessBook(world.reads)
    found: list[AccountAccess] = []

    async def ask() -> None:
        found.append(await book.of(1))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert {id(facts) for facts in found} == {id(found[0])}


async def test_facts_that_nobody_uses_are_forgotten(world: World) -> None:
    book = AccessBook(world.reads)
    await book.of(1)
    gc.collect()
    assert book.known(1) is None


async def test_an_account_that_does_not_exist_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.collaborators.access.of(77)


async def test_who_is_admitted(world: World) -> None:
    facts = await access(world)
    assert [facts.admits(by) for by in (AGENT, VISITOR, SYSTEM)] == [True, True, True]
    for by in (STRANGER, System(2), Visitor(2, 1, 1), Visitor(1, 1, 3)):
        assert not facts.admits(by)


async def test_a_suspended_account_admits_nobody_but_the_engine_itself(world: World) -> None:
    facts = await access(world)
    facts.active = False
    assert [facts.admits(by) for by in (AGENT, VISITOR, SYSTEM)] == [False, False, True]


async def test_an_inbox_is_seen_by_its_members_and_an_open_one_by_every_agent(world: World) -> None:
    facts = await access(world)
    seen = {
        (role, user, inbox)
        for role, user in ((Role.AGENT, 2), (Role.AGENT, 3), (Role.VIEWER, 4), (Role.ADMINISTRATOR, 1))
        for inbox in (1, 2, 3)
        if facts.may_see_inbox(user, role, inbox)
    }
    assert seen == {
        (Role.AGENT, 2, 1), (Role.AGENT, 2, 2), (Role.AGENT, 3, 2), (Role.VIEWER, 4, 1), (Role.VIEWER, 4, 2),
        (Role.ADMINISTRATOR, 1, 1), (Role.ADMINISTRATOR, 1, 2),
    }  # fmt: skip


async def test_assigned_is_who_may_answer(world: World) -> None:
    facts = await access(world)
    assert [user for user in (1, 2, 3, 4, 9) if facts.may_be_assigned(user, 1)] == [1, 2]
    assert [user for user in (1, 2, 3, 4, 9) if facts.may_be_assigned(user, 2)] == [1, 2, 3]
    assert facts.role_of(OUTSIDER) is Role.AGENT


async def test_loading_again_tells_whether_anything_is_new(world: World) -> None:
    facts, records = await access(world), await world.reads.account(1)
    assert records is not None
    assert not facts.load(records)
    facts.blocked.add(1)
    assert facts.load(records)
    assert facts.blocked == set()
