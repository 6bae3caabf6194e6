"""Who was here a moment ago is greeted without a look at the store, and let in no further than after one."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.account import RemoveAccountUser, UpdateContact
from tertulia.api.auth import REMEMBERED_SECONDS
from tertulia.api.engine import Engine
from tertulia.api.testing import Cable, CableClient
from tertulia.storage.records import Token
from tertulia.storage.writes import Delete, Unit, Update, Write

from .stage import ANA, open_stage

UNAUTHORIZED = {"type": "disconnect", "reason": "unauthorized", "reconnect": False}


def is_greeted(client: CableClient) -> bool:
    return [message["type"] for message in client.messages] == ["welcome"]


async def is_refused(client: CableClient) -> bool:
    """Neither at once nor after a look at the store."""
    nothing_yet = client.messages == []
    await wait_all_tasks_blocked()
    return nothing_yet and client.messages == [UNAUTHORIZED] and client.closed


async def change(engine: Engine, write: Write) -> None:
    await engine.world.journal.write(Unit(1, lambda: None, lambda _: None, writes=[write]))


async def recognise(cable: Cable, token: str) -> CableClient:
    await cable.connect(token)
    client = cable.dial(token)
    assert is_greeted(client)
    return client


async def test_who_comes_back_is_greeted_before_anything_else_happens(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        first = cable.dial("ana")
        assert first.messages == []
        await first.expect("welcome")
        assert is_greeted(cable.dial("ana"))
        assert is_greeted(cable.dial("ana", account_id="1"))
        await cable.connect("visitor 1")
        assert is_greeted(cable.dial("visitor 1"))


async def test_a_token_that_was_revoked_is_refused_although_it_was_recognised_a_moment_ago(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        open_already = await recognise(cable, "bo")
        await change(engine, Delete(Token, {"id": 2}))
        cable.authenticator.revoked([2])
        assert open_already.messages[-1] == UNAUTHORIZED
        assert await is_refused(cable.dial("bo"))
        assert is_greeted(await recognise(cable, "ana"))


async def test_a_token_that_another_process_revoked_works_no_longer_than_it_is_remembered(
    autojump_clock: MockClock,
) -> None:
    """However often it is used meanwhile: being recognised does not make it be remembered for longer."""
    async with open_stage() as (engine, cable):
        await recognise(cable, "bo")
        await change(engine, Delete(Token, {"id": 2}))
        for _ in range(4):
            assert is_greeted(cable.dial("bo"))
            await trio.sleep(REMEMBERED_SECONDS / 4)
        assert await is_refused(cable.dial("bo"))


async def test_a_token_that_has_expired_since_is_refused(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await change(engine, Update(Token, {"id": 2}, {"expires_at": engine.world.wall_clock() + 1000}))
        await recognise(cable, "bo")
        await trio.sleep(1)
        assert await is_refused(cable.dial("bo"))


async def test_who_has_left_the_account_since_is_refused(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await recognise(cable, "cy")
        await engine.account(1).ask(RemoveAccountUser(ANA, 3))
        assert await is_refused(cable.dial("cy"))


async def test_a_contact_that_was_blocked_since_is_refused(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await recognise(cable, "visitor 1")
        await engine.account(1).ask(UpdateContact(ANA, 1, blocked=True))
        assert await is_refused(cable.dial("visitor 1"))


@pytest.mark.parametrize("token", ["ana", "visitor 1"])
@pytest.mark.parametrize("account", ["0", "2", "99", "-1", "one", "9" * 5000])
async def test_an_account_that_is_not_theirs_is_refused_to_those_who_are_recognised_too(
    token: str, account: str, autojump_clock: MockClock
) -> None:
    async with open_stage() as (_, cable):
        await cable.connect("visitor 4")
        await recognise(cable, token)
        assert await is_refused(cable.dial(token, account_id=account))


async def test_who_is_recognised_is_present_until_the_last_connection_ends(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        first = await cable.connect("ana")
        second = cable.dial("ana")
        first.drop()
        await trio.sleep(60)
        assert [event.data["user_id"] for event in engine.presence.snapshot(1)] == [1]
        second.drop()
        await trio.sleep(60)
        assert engine.presence.snapshot(1) == []
