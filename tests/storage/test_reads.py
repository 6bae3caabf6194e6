"""What every read gives."""

from __future__ import annotations

from typing import Any

import pytest

from tertulia.engine.errors import Invalid, NotFound
from tertulia.storage.contracts import ConversationFilter, Store
from tertulia.storage.records import AccountUser, Conversation, Meta, Token, User
from tertulia.storage.writes import Delete, Unit, Update

from .sample import (
    OURS,
    THEIRS,
    T,
    account_event,
    account_records,
    commit_all,
    contact,
    conversation,
    event,
    inbox,
    inserting,
    log_unit,
    message,
    writing,
)

# Accounts and people


async def test_every_record_comes_back_as_it_was_written(store: Store) -> None:
    account, user, member, box, inbox_member, person, first, _, cursor, user_token, contact_token = account_records(
        OURS
    )
    found = await store.account(OURS)
    assert found is not None
    assert (found.account, list(found.users.values()), list(found.members)) == (account, [user], [member])
    assert (list(found.inboxes), list(found.inbox_members)) == ([box], [inbox_member])
    assert await store.user(1) == user
    assert await store.contact(OURS, 1) == person
    assert await store.inbox_by_identifier("inbox-1") == box
    chat = await store.conversation(OURS, 1)
    assert chat is not None
    assert (chat.conversation, chat.contact, list(chat.cursors)) == (first, person, [cursor])
    assert await store.token("hash-1") == user_token
    assert await store.tokens_of(user_id=1) == [user_token]
    assert await store.tokens_of(contact_id=1) == [contact_token]


async def test_what_is_not_there_is_none(store: Store) -> None:
    assert await store.account(9) is None
    assert await store.user(9) is None
    assert await store.user_by_email("nobody@example.com") is None
    assert await store.token("nothing") is None
    assert await store.inbox_by_identifier("nothing") is None
    assert await store.contact(OURS, 9) is None
    assert await store.contact_by_identifier(OURS, "nothing") is None
    assert await store.conversation(OURS, 9) is None
    assert await store.message(OURS, 1, 9) is None
    assert await store.meta("nothing") is None


async def test_an_account_names_its_blocked_contacts(store: Store) -> None:
    await commit_all(store, inserting(contact(8, blocked=True), contact(9, THEIRS, blocked=True)))
    found = await store.account(OURS)
    assert found is not None
    assert list(found.blocked_contacts) == [8]


async def test_a_user_is_found_by_email_in_any_case(store: Store) -> None:
    assert await store.user_by_email("User1@Example.COM") == await store.user(1)


async def test_a_token_lives_until_it_is_deleted_also_when_it_has_expired(store: Store) -> None:
    first, expired, theirs = 1, 2, 21
    assert sorted(await store.live_tokens([first, expired, theirs, 999])) == [first, expired, theirs]
    await commit_all(store, writing(Delete(Token, {"user_id": 1, "id": first})))
    assert sorted(await store.live_tokens({first, expired})) == [expired]


async def test_any_number_of_tokens_is_asked_for_at_once(store: Store) -> None:
    assert list(await store.live_tokens([])) == []
    assert list(await store.live_tokens([1, 1])) == [1]
    assert sorted(await store.live_tokens([*range(22, 40_000), 1])) == [1, 22]
    assert list(await store.live_tokens([1, 10**30])) == [1]


async def test_memberships_are_those_of_one_user_in_all_accounts(store: Store) -> None:
    second = AccountUser(account_id=THEIRS, user_id=1, role="viewer", created_at=T)
    await commit_all(store, inserting(second))
    assert [(member.account_id, member.role) for member in await store.memberships(1)] == [(1, "agent"), (2, "viewer")]


async def test_an_account_knows_its_own_users_only(store: Store) -> None:
    await commit_all(store, inserting(User(id=30, email="x@example.com", name="X", created_at=T)))
    found = await store.account(OURS)
    assert found is not None
    assert list(found.users) == [1]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("ana", [31, 33]),
        ("EXAMPLE.ORG", [32]),
        ("555", [33]),
        ("crm-x", [34]),
        ("100%", [35]),
        ("a_b", [36]),
        ("\\", [37]),
        ("nobody", []),
    ],
)
async def test_contacts_are_searched_by_a_part_of_what_names_them(store: Store, query: str, ids: list[int]) -> None:
    await commit_all(
        store,
        inserting(
            contact(31, name="Ana"),
            contact(32, email="bo@example.org"),
            contact(33, name="Mariana", phone="+34 555"),
            contact(34, identifier="crm-x"),
            contact(35, name="100% sure"),
            contact(36, name="a_b"),
            contact(37, name="back\\slash"),
            contact(38, name="acb 100 sure"),
        ),
    )
    assert [found.id for found in await store.contacts(OURS, query=query)] == ids


async def test_contacts_are_paged_by_id(store: Store) -> None:
    await commit_all(store, inserting(*(contact(id) for id in range(40, 45))))
    first = await store.contacts(OURS, limit=3)
    second = await store.contacts(OURS, after=first[-1].id, limit=9)
    assert [found.id for found in (*first, *second)] == [1, 40, 41, 42, 43, 44]


# Conversations


async def listed(store: Store, **which: Any) -> list[int]:
    return [found.id for found in await store.conversations(OURS, ConversationFilter(**which))]


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        ({}, [35, 34, 33, 32, 31, 2, 1]),
        ({"status": "pending"}, [31]),
        ({"assignee_id": 1}, [32]),
        ({"unassigned": True}, [35, 34, 33, 31, 2, 1]),
        ({"labels": ["vip"]}, [34, 33]),
        ({"labels": ["vip", "new"]}, [34]),
        ({"contact_id": 5}, [35]),
        ({"inbox_ids": [5]}, [35]),
        ({"inbox_ids": [1, 5], "updated_since": T + 4}, [35, 34]),
        ({"inbox_ids": []}, []),
    ],
)
async def test_conversations_are_filtered(store: Store, which: dict[str, Any], ids: list[int]) -> None:
    chats: list[Conversation] = [
        conversation(31, last_activity_at=T + 1, updated_at=T + 1, status="pending"),
        conversation(32, last_activity_at=T + 2, updated_at=T + 2, assignee_id=1),
        conversation(33, last_activity_at=T + 3, updated_at=T + 3, labels=["vip"]),
        conversation(34, last_activity_at=T + 4, updated_at=T + 4, labels=["new", "vip"]),
        conversation(35, last_activity_at=T + 5, updated_at=T + 5, contact_id=5, inbox_id=5),
        conversation(36, last_activity_at=T + 6, updated_at=T + 6, deleted_at=T + 6),
    ]
    await commit_all(store, inserting(inbox(5), contact(5), *chats))
    assert await listed(store, **which) == ids


async def test_conversations_of_the_same_instant_are_paged_without_loss_or_repetition(store: Store) -> None:
    await commit_all(store, inserting(*(conversation(id) for id in range(40, 50))))
    pages: list[int] = []
    before: tuple[int, int] | None = None
    while True:
        page = await store.conversations(OURS, ConversationFilter(), before=before, limit=5)
        if not page:
            break
        pages += [found.id for found in page]
        before = (page[-1].last_activity_at, page[-1].id)
    assert pages == [*range(49, 39, -1), 2, 1]


async def test_changed_gives_the_earliest_change_first_and_deleted_conversations_too(store: Store) -> None:
    await commit_all(
        store,
        inserting(
            inbox(5),
            conversation(31, updated_at=T + 9, deleted_at=T + 9),
            conversation(32, updated_at=T + 5, inbox_id=5),
            conversation(33, updated_at=T + 6),
        ),
    )

    async def changed(inbox_ids: list[int] | None, since: int, limit: int = 9) -> list[int]:
        return [found.id for found in await store.changed(OURS, inbox_ids, since=since, limit=limit)]

    assert await changed(None, T + 5) == [32, 33, 31]
    assert await changed(None, T + 6) == [33, 31]
    assert await changed([1], T + 1) == [33, 31]
    assert await changed([], T) == []
    assert await changed(None, T + 5, limit=2) == [32, 33]


# Messages and the log


@pytest.fixture
async def chat(store: Store) -> Store:
    """A log of messages, events, private and activity rows."""
    await commit_all(
        store,
        log_unit(
            0,
            event(1),
            message(2, client_id="a"),
            message(3, private=True, sender_type="user", content_attributes='{"a":1}'),
            event(4, private=True, message_seq=3),
            message(5, message_type="activity", sender_type="system", sender_id=None),
            message(6, client_id="b"),
            event(7),
            message(8),
        ),
    )
    return store


@pytest.mark.parametrize(
    ("which", "seqs"),
    [
        ({}, [2, 3, 5, 6, 8]),
        ({"limit": 2}, [6, 8]),
        ({"before": 6}, [2, 3, 5]),
        ({"before": 6, "limit": 2}, [3, 5]),
        ({"after": 2, "limit": 2}, [3, 5]),
        ({"after": 2, "before": 6}, [3, 5]),
        ({"after": 8}, []),
        ({"include_private": False}, [2, 6, 8]),
        ({"include_private": False, "limit": 2}, [6, 8]),
        ({"include_private": False, "after": 2, "limit": 1}, [6]),
    ],
)
async def test_messages_are_paged_in_both_directions(chat: Store, which: dict[str, Any], seqs: list[int]) -> None:
    assert [row.seq for row in await chat.messages(OURS, 1, **which)] == seqs


async def test_a_row_comes_back_as_it_was_written_with_its_types(chat: Store) -> None:
    note = message(3, private=True, sender_type="user", content_attributes='{"a":1}')
    assert await chat.message(OURS, 1, 3) == note
    log = await chat.log(OURS, 1, after=2, limit=2)
    assert log == [note, event(4, private=True, message_seq=3)]
    assert [row.private is True for row in log] == [True, True]


async def test_the_log_is_the_union_of_messages_and_events_in_order(chat: Store) -> None:
    rows = await chat.log(OURS, 1, after=0, limit=100)
    assert [(row.seq, type(row).__name__[0]) for row in rows] == [
        (1, "E"), (2, "M"), (3, "M"), (4, "E"), (5, "M"), (6, "M"), (7, "E"), (8, "M"),
    ]  # fmt: skip
    assert [row.seq for row in await chat.log(OURS, 1, after=3, limit=3)] == [4, 5, 6]
    assert await chat.log(OURS, 1, after=8, limit=3) == []


async def test_sent_finds_the_messages_of_client_ids(chat: Store) -> None:
    assert await chat.sent(OURS, 1, {"a", "b", "c"}) == [message(2, client_id="a"), message(6, client_id="b")]
    assert await chat.sent(OURS, 2, {"a"}) == []
    assert await chat.sent(OURS, 1, set()) == []


async def test_sent_takes_any_number_of_client_ids(chat: Store) -> None:
    assert [row.seq for row in await chat.sent(OURS, 1, [f"n{n}" for n in range(40_000)] + ["a"])] == [2]


@pytest.mark.parametrize(("since", "seq"), [(T + 1, 0), (T + 2, 1), (T + 5, 4), (T + 8, 7), (T + 99, 8), (0, 0)])
async def test_last_seq_before_counts_messages_and_events(chat: Store, since: int, seq: int) -> None:
    assert await chat.last_seq_before(OURS, 1, since) == seq


async def test_last_seq_before_survives_a_clock_that_was_set_back(store: Store) -> None:
    await commit_all(store, log_unit(0, message(1, created_at=T + 10), message(2, created_at=T + 5), event(3)))
    assert await store.last_seq_before(OURS, 1, T + 8) == 3
    assert await store.last_seq_before(OURS, 1, T + 2) == 0


async def test_the_account_s_log_is_read_after_a_seq_or_from_an_instant(store: Store) -> None:
    rows = [account_event(1), account_event(2, created_at=T + 9), account_event(3), account_event(4)]
    await commit_all(store, Unit(OURS, account_log=True, new_seq=4, account_events=rows))
    assert await store.account_log(OURS) == rows
    assert await store.account_log(OURS, after=2) == rows[2:]
    assert await store.account_log(OURS, since=T + 4) == [rows[1], rows[3]]
    assert await store.account_log(OURS, after=2, since=T + 4) == [rows[3]]
    assert await store.account_log(OURS, limit=2) == rows[:2]
    assert await store.account_log(THEIRS) == []


# The store itself


async def test_a_store_has_an_epoch_until_it_is_given_another(store: Store) -> None:
    first = await store.epoch()
    assert first == await store.epoch() != ""
    second = await store.new_epoch()
    assert await store.epoch() == second != first


async def test_a_store_answers_a_ping(store: Store) -> None:
    await store.ping()


async def test_facts_about_the_database_are_kept(store: Store) -> None:
    await commit_all(store, inserting(Meta(key="demo", value="yes")))
    assert await store.meta("demo") == "yes"


async def test_a_number_beyond_64_bits_names_nothing(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.conversation(OURS, 10**30)
    assert await store.conversations(OURS, ConversationFilter(inbox_ids=[10**30])) == []
    await store.ping()


async def test_a_text_that_is_no_unicode_is_refused(store: Store) -> None:
    with pytest.raises(Invalid):
        await store.contact_by_identifier(OURS, "\ud800")
    await store.ping()


# Ids


async def test_ids_are_consecutive_and_go_on_from_what_is_there(store: Store) -> None:
    assert await store.reserve(Conversation, 3) == range(23, 26)
    assert await store.reserve(Conversation) == range(26, 27)
    assert await store.reserve(Token) == range(23, 24)


@pytest.mark.parametrize(("kind", "count"), [(Conversation, 0), (Conversation, -1), (AccountUser, 1)])
async def test_what_cannot_be_numbered_is_a_mistake_of_the_caller(store: Store, kind: type[Any], count: int) -> None:
    with pytest.raises(ValueError, match=r"reserve|no id"):
        await store.reserve(kind, count)


async def test_a_deleted_record_s_id_does_not_come_back(store: Store) -> None:
    await commit_all(store, inserting(Token(id=50, hash="x", kind="user", created_at=T, user_id=1)))
    await commit_all(store, writing(Delete(Token, {"user_id": 1, "id": 50})))
    assert await store.reserve(Token) == range(51, 52)


async def test_a_change_of_another_record_moves_no_ids(store: Store) -> None:
    await commit_all(store, writing(Update(Conversation, {"account_id": OURS, "id": 1}, {"status": "resolved"})))
    assert await store.reserve(Conversation) == range(23, 24)


async def test_the_last_seqs_of_many_conversations_are_read_at_once(store: Store) -> None:
    found = await store.last_seqs(OURS, {1, 999_999})
    chat = await store.conversation(OURS, 1)
    assert chat is not None
    assert found == {1: chat.conversation.last_seq}
