"""A right that is revoked closes what depended on it, whatever is under way."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.account import RemoveAccountUser, SetInboxMembers, UpdateContact
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import DeleteConversation
from tertulia.api.testing import ANYCABLE, RAILS, CableClient, Rejected, identifier_of
from tertulia.storage.records import Token
from tertulia.storage.writes import Unit, Update

from .seams import Paused, SlowConversations, SlowIdentities, as_authenticator, as_reads
from .stage import ANA, BO, open_stage

UNAUTHORIZED = {"type": "disconnect", "reason": "unauthorized", "reconnect": False}
ONE = identifier_of("ConversationChannel", id=1)


def is_shut_out(client: CableClient) -> bool:
    return client.closed and client.messages[-1] == UNAUTHORIZED


@pytest.mark.parametrize("offers", [RAILS, ANYCABLE])
async def test_a_conversation_whose_inbox_closes_to_an_agent_is_rejected_at_once(
    offers: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with open_stage() as (engine, cable):
        client = await cable.connect("cy", offers)
        subscription = await client.subscribe("ConversationChannel", id=1)
        await engine.account(1).ask(SetInboxMembers(ANA, 1, (BO.user_id,)))
        await client.expect("reject_subscription", identifier=subscription.identifier)
        await engine.conversation(1, 1).ask(SendMessage(BO, "among us"))
        await subscription.refute_push()
        assert not client.closed
        assert engine.world.hub.statistics().subscriptions == 0


async def test_a_subscription_that_is_being_opened_when_its_right_goes_is_rejected(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        client = await cable.connect("cy")
        slow = SlowConversations(engine.world.reads)
        cable.gateway.reads = as_reads(slow)
        client.send("subscribe", ONE)
        await wait_all_tasks_blocked()
        await engine.account(1).ask(SetInboxMembers(ANA, 1, (BO.user_id,)))
        slow.go_on.set()
        await client.expect("reject_subscription", identifier=ONE)
        assert engine.world.hub.statistics().topics == 0


async def test_a_history_that_is_being_read_when_its_right_goes_is_not_told(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        await engine.conversation(1, 1).ask(SendMessage(BO, "secret"))
        client = await cable.connect("cy", ANYCABLE)
        paused = Paused(engine.world.reads)
        cable.gateway.reads = as_reads(paused)
        client.send("subscribe", ONE, history={"since": 1, "streams": {}})
        await client.expect("confirm_subscription")
        await engine.account(1).ask(SetInboxMembers(ANA, 1, (BO.user_id,)))
        paused.before.set()
        paused.after.set()
        await wait_all_tasks_blocked()
        assert [message["type"] for message in client.messages[2:]] == ["reject_subscription"]
        assert engine.world.hub.statistics().topics == 0


async def test_a_conversation_that_is_deleted_does_not_exist(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        client = await cable.connect("ana")
        await engine.conversation(1, 1).ask(DeleteConversation(ANA))
        with pytest.raises(Rejected):
            await client.subscribe("ConversationChannel", id=1)


async def test_who_leaves_the_account_is_disconnected(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        cy, bo = await cable.connect("cy"), await cable.connect("bo")
        await cy.subscribe("AccountChannel")
        await engine.account(1).ask(RemoveAccountUser(ANA, 3))
        await wait_all_tasks_blocked()
        assert is_shut_out(cy)
        assert not bo.closed


async def test_a_contact_that_is_blocked_is_disconnected_and_not_let_in_again(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        visitor, other = await cable.connect("visitor 1"), await cable.connect("visitor 3")
        await visitor.subscribe("ConversationChannel", id=1)
        await engine.account(1).ask(UpdateContact(ANA, 1, blocked=True))
        await wait_all_tasks_blocked()
        assert is_shut_out(visitor)
        assert not other.closed
        again = cable.dial("visitor 1")
        await again.wait_closed()
        assert is_shut_out(again)


async def test_revoking_a_token_closes_every_connection_that_it_opened_and_no_other(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (_, cable):
        tabs = [await cable.connect("ana") for _ in range(3)]
        other = await cable.connect("bo")
        cable.gateway.revoke_token(1)
        assert all(is_shut_out(tab) for tab in tabs)
        assert not other.closed


async def test_signing_out_tells_the_gateway(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        client = await cable.connect("ana")
        cable.authenticator.revoked([1])
        assert is_shut_out(client)


async def test_a_token_that_is_revoked_while_it_is_looked_at_opens_nothing(autojump_clock: MockClock) -> None:
    async with open_stage() as (_, cable):
        slow = SlowIdentities(cable.authenticator)
        cable.gateway.authenticator = as_authenticator(slow)
        client = cable.dial("ana")
        client.send("subscribe", ONE)
        await wait_all_tasks_blocked()
        cable.gateway.revoke_token(1)
        slow.go_on.set()
        await wait_all_tasks_blocked()
        assert client.messages == [UNAUTHORIZED]
        assert client.closed


async def test_a_contact_that_is_blocked_while_it_is_looked_at_gets_nowhere(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        slow = SlowIdentities(cable.authenticator)
        cable.gateway.authenticator = as_authenticator(slow)
        client = cable.dial("visitor 1")
        await wait_all_tasks_blocked()
        await engine.account(1).ask(UpdateContact(ANA, 1, blocked=True))
        slow.go_on.set()
        await wait_all_tasks_blocked()
        assert client.messages == [UNAUTHORIZED]


async def test_a_token_that_expires_ends_its_connection(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        until = engine.world.wall_clock() + 60_000
        expiry = Update(Token, {"id": 2}, {"expires_at": until})
        await engine.world.journal.write(Unit(1, lambda: None, lambda _: None, writes=[expiry]))
        client, other = await cable.connect("bo"), await cable.connect("ana")
        await trio.sleep(55)
        assert not client.closed
        await trio.sleep(10)
        assert is_shut_out(client)
        assert not other.closed


async def test_presence_counts_connections_that_were_welcomed_and_no_others(autojump_clock: MockClock) -> None:
    async with open_stage() as (engine, cable):
        first, second = await cable.connect("ana"), await cable.connect("ana")
        refused = cable.dial("wrong")
        await refused.wait_closed()
        first.drop()
        await trio.sleep(60)
        assert [event.data["user_id"] for event in engine.presence.snapshot(1)] == [1]
        second.drop()
        await trio.sleep(60)
        assert engine.presence.snapshot(1) == []
