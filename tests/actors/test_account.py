"""An account's actor: people, inboxes, contacts, new conversations, and the rights that follow from them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.access import AccountAccess
from tertulia.actors.commands.account import (
    AddAccountUser,
    CreateContact,
    CreateConversation,
    CreateInbox,
    RemoveAccountUser,
    SetInboxMembers,
    UpdateAccount,
    UpdateAccountUser,
    UpdateContact,
    UpdateInbox,
)
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.entities import Role, Status, System
from tertulia.engine.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from tertulia.storage.contracts import AccountRecords

from .kit import ADMINISTRATOR, AGENT, OUTSIDER, STRANGER, SYSTEM, VISITOR, World, kinds, open_world, payload


async def stored(world: World, account: int = 1) -> AccountRecords:
    records = await world.reads.account(account)
    assert records is not None
    return records


async def access(world: World) -> AccountAccess:
    return await world.collaborators.access.of(1)


def rechecks(world: World) -> list[int]:
    """The versions of account 1's access that sessions were told to look at."""
    seen: list[int] = []
    world.collaborators.access.listeners.append(lambda access: seen.append(access.version))
    return seen


# The account itself


async def test_an_account_is_renamed_and_keeps_its_settings(world: World) -> None:
    account = await world.ask_account(UpdateAccount(ADMINISTRATOR, settings={"locale": "es"}))
    assert account.settings == {"locale": "es"}
    account = await world.ask_account(UpdateAccount(ADMINISTRATOR, name=" Uno "))
    assert (account.name, account.settings) == ("Uno", {"locale": "es"})
    assert (await stored(world)).account == account


async def test_there_is_no_actor_of_an_account_that_does_not_exist(world: World) -> None:
    with pytest.raises(NotFound):
        await world.ask_account(UpdateAccount(SYSTEM, name="Ghost"), account=77)


# People


async def test_a_new_person_is_a_user_with_the_address_in_lower_case(world: World) -> None:
    seen = rechecks(world)
    member, user = await world.ask_account(
        AddAccountUser(ADMINISTRATOR, " Ida@Example.ORG ", "Ida", Role.AGENT, password_hash="hash")
    )
    assert (user.email, user.name, user.password_hash) == ("ida@example.org", "Ida", "hash")
    assert (member.user_id, member.role) == (user.id, "agent")
    assert (await stored(world)).users[user.id] == user
    facts = await access(world)
    assert (facts.roles[user.id], facts.names[user.id]) == (Role.AGENT, "Ida")
    assert seen == [1]


async def test_the_operator_adds_a_known_person_with_the_user_that_exists(world: World) -> None:
    member, user = await world.ask_account(
        AddAccountUser(System(1), "EVE@example.org", "Somebody", Role.VIEWER, password_hash="forged")
    )
    assert (member.user_id, user.name, user.password_hash) == (9, "Eve", None)


async def test_an_administrator_adds_nobody_whose_password_another_account_chose(world: World) -> None:
    with pytest.raises(Conflict, match="operator"):
        await world.ask_account(AddAccountUser(ADMINISTRATOR, "EVE@example.org", "Somebody", Role.ADMINISTRATOR))


async def test_a_person_whom_this_account_made_can_come_back(world: World) -> None:
    _, made = await world.ask_account(AddAccountUser(ADMINISTRATOR, "ida@example.org", "Ida", Role.AGENT))
    await world.ask_account(RemoveAccountUser(ADMINISTRATOR, made.id))
    member, again = await world.ask_account(AddAccountUser(ADMINISTRATOR, "ida@example.org", "Ida", Role.VIEWER))
    assert (member.user_id, member.role, again) == (made.id, "viewer", made)


async def test_of_two_accounts_that_add_the_same_new_person_at_once_one_has_the_user(world: World) -> None:
    users: list[Any] = []
    refused: list[Exception] = []

    async def add(account: int, by: Any) -> None:
        try:
            users.append(
                (await world.ask_account(AddAccountUser(by, "ida@example.org", "Ida", Role.AGENT), account))[1]
            )
        except Conflict as error:
            refused.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(add, 1, ADMINISTRATOR)
        nursery.start_soon(add, 2, STRANGER)
    assert (len(users), len(refused)) == (1, 1)


async def test_nobody_is_added_twice(world: World) -> None:
    with pytest.raises(Conflict):
        await world.ask_account(AddAccountUser(ADMINISTRATOR, "ben@example.org", "Ben", Role.AGENT))


@pytest.mark.parametrize(("email", "name", "field"), [("nobody", "Ida", "email"), ("a@b", " ", "name")])
async def test_what_is_no_address_or_no_name_is_invalid(world: World, email: str, name: str, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await world.ask_account(AddAccountUser(ADMINISTRATOR, email, name, Role.AGENT))
    assert list(refusal.value.fields) == [field]


async def test_a_role_counts_from_its_commit_on(world: World) -> None:
    seen = rechecks(world)
    facts = await access(world)
    world.committer.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.ask_account, UpdateAccountUser(ADMINISTRATOR, 2, Role.VIEWER))
        await wait_all_tasks_blocked()
        assert (facts.roles[2], seen) == (Role.AGENT, [])
        world.committer.gate.set()
    assert (facts.roles[2], seen) == (Role.VIEWER, [1])
    with pytest.raises(Denied):
        await world.ask(SendMessage(AGENT, "still here"))


async def test_the_last_administrator_is_neither_demoted_nor_removed(world: World) -> None:
    for command in (UpdateAccountUser(ADMINISTRATOR, 1, Role.AGENT), RemoveAccountUser(ADMINISTRATOR, 1)):
        with pytest.raises(Conflict):
            await world.ask_account(command)
    await world.ask_account(UpdateAccountUser(ADMINISTRATOR, 2, Role.ADMINISTRATOR))
    await world.ask_account(RemoveAccountUser(ADMINISTRATOR, 1))
    with pytest.raises(NotFound):
        await world.ask_account(RemoveAccountUser(ADMINISTRATOR, 2))


async def test_a_removed_member_is_gone_from_everywhere_at_once(world: World) -> None:
    await world.ask(SendMessage(AGENT, "hello"))
    seen = rechecks(world)
    await world.ask_account(RemoveAccountUser(ADMINISTRATOR, 2))
    records = await stored(world)
    assert 2 not in {member.user_id for member in records.members} | {entry.user_id for entry in records.inbox_members}
    assert seen == [1]
    assert not (await access(world)).admits(AGENT)
    with pytest.raises(NotFound):
        await world.ask(SendMessage(AGENT, "hello?"))


async def test_who_does_not_belong_to_the_account_is_not_found(world: World) -> None:
    for command in (UpdateAccountUser(ADMINISTRATOR, 9, Role.AGENT), RemoveAccountUser(ADMINISTRATOR, 9)):
        with pytest.raises(NotFound):
            await world.ask_account(command)


# Inboxes


async def test_a_new_inbox_has_a_name_for_visitors_and_is_open_to_every_agent(world: World) -> None:
    inbox = await world.ask_account(CreateInbox(ADMINISTRATOR, "Sales"))
    assert await world.reads.inbox_by_identifier(inbox.identifier) == inbox
    assert (await access(world)).may_see_inbox(3, Role.AGENT, inbox.id)
    renamed = await world.ask_account(UpdateInbox(ADMINISTRATOR, inbox.id, "Support"))
    assert (await world.reads.inbox_by_identifier(inbox.identifier)) == renamed
    assert renamed.name == "Support"


async def test_members_of_an_inbox_are_replaced_and_the_others_lose_it(world: World) -> None:
    seen = rechecks(world)
    assert await world.ask_account(SetInboxMembers(ADMINISTRATOR, 1, (3, 4, 3))) == [3, 4]
    facts = await access(world)
    assert (facts.may_see_inbox(2, Role.AGENT, 1), facts.may_see_inbox(3, Role.AGENT, 1)) == (False, True)
    assert [(entry.inbox_id, entry.user_id) for entry in (await stored(world)).inbox_members] == [(1, 3), (1, 4)]
    await world.ask_account(SetInboxMembers(ADMINISTRATOR, 1, (4, 3)))
    assert seen == [1]
    assert await world.ask_account(SetInboxMembers(ADMINISTRATOR, 1, ())) == []
    assert facts.may_see_inbox(2, Role.AGENT, 1)


async def test_strangers_are_no_members(world: World) -> None:
    with pytest.raises(Invalid) as refusal:
        await world.ask_account(SetInboxMembers(ADMINISTRATOR, 1, (2, 9)))
    assert list(refusal.value.fields) == ["user_ids"]


async def test_another_account_s_inbox_does_not_exist(world: World) -> None:
    for command in (UpdateInbox(ADMINISTRATOR, 3, "Mine"), SetInboxMembers(SYSTEM, 3, ())):
        with pytest.raises(NotFound):
            await world.ask_account(command)


# Contacts


async def test_contacts_are_events_of_the_account(world: World) -> None:
    heard = world.listen("account:1")
    contact = await world.ask_account(CreateContact(AGENT, "Ida", email="Ida@Example.org", identifier="i-1"))
    changed = await world.ask_account(UpdateContact(AGENT, contact.id, phone="+351 123"))
    assert kinds(heard) == ["contact.created", "contact.updated"]
    assert [event.seq for event in heard] == [1, 2]
    assert payload(heard[1])["contact"]["phone"] == "+351 123"
    assert all(event.private for event in heard)
    assert await world.reads.contact(1, contact.id) == changed
    assert [row.seq for row in await world.reads.account_log(1)] == [1, 2]


async def test_what_is_so_already_is_no_event(world: World) -> None:
    heard = world.listen("account:1")
    contact = await world.ask_account(UpdateContact(AGENT, 1, name="Ana"))
    assert contact == await world.reads.contact(1, 1)
    assert heard == []


@pytest.mark.parametrize("taken", [{"email": "Ida@example.org"}, {"identifier": "i-1"}])
async def test_an_address_or_identifier_is_taken_once(world: World, taken: dict[str, Any]) -> None:
    await world.ask_account(CreateContact(AGENT, "Ida", email="ida@example.org", identifier="i-1"))
    heard = world.listen("account:1")
    with pytest.raises(Conflict):
        await world.ask_account(CreateContact(AGENT, "Another", **taken))
    with pytest.raises(Conflict):
        await world.ask_account(UpdateContact(AGENT, 1, **taken))
    assert heard == []


async def test_a_blocked_contact_can_do_nothing_at_once_and_after_a_restart(
    world: World, autojump_clock: MockClock
) -> None:
    await world.ask(SendMessage(VISITOR, "hello"))
    seen = rechecks(world)
    await world.ask_account(UpdateContact(ADMINISTRATOR, 1, blocked=True))
    assert seen == [1]
    assert not (await access(world)).admits(VISITOR)
    for _ in range(2):
        with pytest.raises(NotFound):
            await world.ask(SendMessage(VISITOR, "let me in"))
        with pytest.raises(NotFound):
            await world.ask_account(CreateConversation(VISITOR, 1, 1))
        await world.forget_actors(autojump_clock)
    await world.ask_account(UpdateContact(ADMINISTRATOR, 1, blocked=False))
    await world.ask(SendMessage(VISITOR, "thank you"))


# Conversations


async def test_a_new_conversation_has_the_next_number_and_the_first_event(world: World) -> None:
    dashboard, heard = world.listen("inbox:1"), world.listen("conversation:4")
    record = await world.ask_account(
        CreateConversation(AGENT, 1, 1, Status.PENDING, assignee_id=2, labels=("vip",), custom_attributes={"a": 1})
    )
    assert (record.id, record.display_id, record.last_seq, record.status) == (4, 3, 1, "pending")
    assert record == await world.record(4)
    assert kinds(dashboard) == kinds(heard) == ["conversation.created"]
    assert [payload(event) for event in await world.log(4)] == [payload(heard[0])]
    data = payload(heard[0])
    assert (data["labels"], data["contact"], data["seq"]) == (["vip"], {"id": 1, "name": "Ana"}, 1)
    assert payload(heard[0], "visitor").keys() == data.keys() - {"labels", "priority", "custom_attributes"}


async def test_the_conversation_goes_on_from_there(world: World) -> None:
    record = await world.ask_account(CreateConversation(VISITOR, 1, 1))
    sent = await world.ask(SendMessage(VISITOR, "hello"), record.id)
    assert sent.message.seq == 2


async def test_numbers_have_no_gap_and_no_double_whatever_is_refused(world: World, autojump_clock: MockClock) -> None:
    numbers: list[int] = []

    async def create(contact: int) -> None:
        with suppress(NotFound):
            numbers.append((await world.ask_account(CreateConversation(AGENT, 1, contact))).display_id)

    async with trio.open_nursery() as nursery:
        for contact in (1, 77, 2, 1, 3, 2):
            nursery.start_soon(create, contact)
    await world.forget_actors(autojump_clock)
    await create(1)
    assert numbers == [3, 4, 5, 6, 7]


async def test_a_visitor_only_opens_its_own_conversation(world: World) -> None:
    for inbox, contact in ((2, 1), (1, 2), (3, 3)):
        with pytest.raises(NotFound):
            await world.ask_account(CreateConversation(VISITOR, inbox, contact))


@pytest.mark.parametrize(
    "extra", [{"labels": ("vip",)}, {"assignee_id": 2}, {"status": Status.RESOLVED}, {"custom_attributes": {"a": 1}}]
)
async def test_a_visitor_says_nothing_else_about_it(world: World, extra: dict[str, Any]) -> None:
    with pytest.raises(Denied):
        await world.ask_account(CreateConversation(VISITOR, 1, 1, **extra))


async def test_other_tenants_things_do_not_exist(world: World) -> None:
    for by, inbox, contact in ((ADMINISTRATOR, 3, 1), (ADMINISTRATOR, 1, 3), (OUTSIDER, 1, 1), (STRANGER, 1, 1)):
        with pytest.raises(NotFound):
            await world.ask_account(CreateConversation(by, inbox, contact))


async def test_its_assignee_must_be_able_to_answer(world: World) -> None:
    with pytest.raises(Invalid) as refusal:
        await world.ask_account(CreateConversation(ADMINISTRATOR, 1, 1, assignee_id=3, labels=(" ",)))
    assert list(refusal.value.fields) == ["assignee_id", "labels"]


# What fails


async def test_a_commit_that_fails_for_a_moment_is_tried_again_and_happens_once(
    world: World, autojump_clock: MockClock
) -> None:
    heard = world.listen("account:1")
    for fault in ("fail", "lose"):
        world.committer.faults.append(fault)
        await world.ask_account(CreateContact(AGENT, fault))
    assert [payload(event)["contact"]["name"] for event in heard] == ["fail", "lose"]
    assert len(await world.reads.contacts(1)) == 4


async def test_a_store_that_stays_away_is_told_and_nothing_is_left_behind(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        heard = world.listen("account:1")
        world.committer.faults.extend(["fail"] * 1000)
        answer = await failure(world, CreateContact(AGENT, "Ida"))
        assert isinstance(answer, Unavailable)
        world.committer.faults.clear()
        await world.ask_account(CreateContact(AGENT, "Ida"))
        assert [event.seq for event in heard] == [1]
        assert [contact.name for contact in await world.reads.contacts(1)] == ["Ana", "Bob", "Ida"]


async def test_what_was_written_although_the_answer_was_lost_is_told_to_subscribers(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        heard = world.listen("account:1")
        world.committer.faults.extend(["lose"] * 1000)
        assert isinstance(await failure(world, CreateContact(AGENT, "Ida")), Unavailable)
        world.committer.faults.clear()
        await world.ask_account(CreateContact(AGENT, "Joe"))
        assert [event.seq for event in heard] == [1, 2]


async def failure(world: World, command: Any) -> Exception | None:
    """Ask with more patience than the store has."""
    answer = world.post_account(command)
    await answer.done.wait()
    return answer.error
