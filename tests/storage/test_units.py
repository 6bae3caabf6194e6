"""What a transaction keeps: whole units, fences, unique keys, and the order of a unit's parts."""

from __future__ import annotations

from typing import Any

import pytest

from tertulia.engine.errors import Conflict, Invalid, StaleWrite
from tertulia.storage.contracts import Store
from tertulia.storage.records import Contact, Conversation, InboxMember, ReadCursor, Token
from tertulia.storage.writes import AmendMessage, Delete, EraseLog, Insert, Unit, Update, Upsert

from .sample import (
    OURS,
    THEIRS,
    T,
    account_event,
    commit_all,
    contact,
    contents,
    conversation,
    event,
    inbox,
    inserting,
    log_unit,
    message,
    refusals,
    seqs,
    writing,
)

# The fence


async def test_a_unit_moves_its_conversation_and_writes_its_rows(store: Store) -> None:
    unit = log_unit(0, message(1), event(2), last_message_seq=1, last_activity_at=T + 5, labels=["vip"])
    await commit_all(store, unit)
    found = await store.conversation(OURS, 1)
    assert found is not None
    now = found.conversation
    assert (now.last_seq, now.last_message_seq, now.last_activity_at, now.labels) == (2, 1, T + 5, ["vip"])
    assert await store.log(OURS, 1, after=0, limit=10) == [message(1), event(2)]


async def test_a_stale_unit_writes_nothing_and_its_neighbours_are_written(store: Store) -> None:
    await commit_all(store, log_unit(0, message(1)))
    stale = log_unit(0, message(1, "again"), status="resolved")
    stale.writes = [Insert(contact(9))]
    neighbours = log_unit(0, message(1, conversation_id=2), conversation_id=2), inserting(contact(8))
    assert await refusals(store, neighbours[0], stale, neighbours[1]) == {1: "StaleWrite"}
    assert await contents(store) == ["hello"]
    found = await store.conversation(OURS, 1)
    assert found is not None
    assert found.conversation.status == "open"
    assert await store.contact(OURS, 9) is None
    assert await store.contact(OURS, 8) is not None
    assert await seqs(store, 2) == [1]


async def test_several_units_of_one_conversation_follow_each_other_in_one_batch(store: Store) -> None:
    await commit_all(store, *(log_unit(n, message(n + 1, str(n))) for n in range(5)))
    assert await contents(store) == ["0", "1", "2", "3", "4"]


async def test_what_follows_a_stale_unit_of_the_same_conversation_is_stale_too(store: Store) -> None:
    units = log_unit(3, message(4)), log_unit(4, message(5)), log_unit(0, message(1))
    assert await refusals(store, *units) == {0: "StaleWrite", 1: "StaleWrite"}
    assert await seqs(store) == [1]


async def test_a_unit_of_an_unknown_conversation_is_stale(store: Store) -> None:
    assert await refusals(store, log_unit(0, message(1, conversation_id=404), conversation_id=404)) == {0: "StaleWrite"}


async def test_a_unit_cannot_move_another_account_s_conversation(store: Store) -> None:
    assert await refusals(store, log_unit(0, conversation_id=21, status="resolved")) == {0: "StaleWrite"}


async def test_a_unit_without_a_log_has_no_fence(store: Store) -> None:
    cursor = ReadCursor(account_id=OURS, conversation_id=1, reader_type="user", reader_id=1, seq=7, updated_at=T)
    await commit_all(store, writing(Upsert(cursor)))
    found = await store.conversation(OURS, 1)
    assert found is not None
    assert list(found.cursors) == [cursor]


async def test_the_account_s_log_has_the_same_fence(store: Store) -> None:
    first = Unit(OURS, account_log=True, new_seq=1, account_events=[account_event(1)], changes={"last_display_id": 7})
    again = Unit(OURS, account_log=True, new_seq=1, account_events=[account_event(1)], changes={"name": "Twice"})
    assert await refusals(store, first, again) == {1: "StaleWrite"}
    assert await store.account_log(OURS) == [account_event(1)]
    found = await store.account(OURS)
    assert found is not None
    assert (found.account.last_seq, found.account.last_display_id, found.account.name) == (1, 7, "Account 1")


# Unique keys


async def test_a_client_id_that_is_there_makes_its_unit_stale_and_only_it(store: Store) -> None:
    await commit_all(store, log_unit(0, message(1, client_id="a")))
    repeated = log_unit(1, message(2, "repeated", client_id="a"))
    other = log_unit(0, message(1, conversation_id=2, client_id="a"), conversation_id=2)
    assert await refusals(store, inserting(contact(8)), repeated, other) == {1: "StaleWrite"}
    assert await contents(store) == ["hello"]
    assert await seqs(store, 2) == [1], "a client_id is unique within its conversation"
    assert await store.contact(OURS, 8) is not None
    await commit_all(store, log_unit(1, message(2, client_id="b")))


async def test_the_same_client_id_twice_in_one_batch_is_stored_once(store: Store) -> None:
    units = log_unit(0, message(1, client_id="a")), log_unit(1, message(2, client_id="a"))
    assert await refusals(store, *units) == {1: "StaleWrite"}
    assert await seqs(store) == [1]


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (contact(9, email="c1@example.com"), "This email is taken already."),
        (contact(9, identifier="crm-1"), "This identifier is taken already."),
        (contact(1), "This id is taken already."),
        (conversation(9, display_id=1), "This display_id is taken already."),
        (InboxMember(account_id=OURS, inbox_id=1, user_id=1), "This inbox_id and user_id is taken already."),
        (conversation(9, contact_id=404), "This refers to something that does not exist."),
    ],
)
async def test_a_broken_key_is_a_conflict_in_one_sentence(store: Store, record: Any, sentence: str) -> None:
    refused = await store.commit([inserting(contact(8)), inserting(record), inserting(inbox(8))])
    assert isinstance(refused[1], Conflict)
    assert refused[1].detail == sentence
    assert list(refused) == [1]
    assert await store.contact(OURS, 8) is not None


async def test_emails_and_identifiers_are_unique_within_one_account_only(store: Store) -> None:
    await commit_all(store, inserting(contact(9, THEIRS, email="c1@example.com", identifier="crm-1")))


@pytest.mark.parametrize("name", [2**63, "\ud800", object(), None])
async def test_a_value_that_cannot_be_stored_refuses_its_unit_alone(store: Store, name: Any) -> None:
    refused = await store.commit([inserting(contact(8)), inserting(contact(9, name=name))])
    assert {index: type(error) for index, error in refused.items()} == {1: Invalid}
    assert await store.contact(OURS, 8) is not None


async def test_a_unit_that_the_program_got_wrong_is_refused_alone(store: Store) -> None:
    wrong = writing(Update(Contact, {"account_id": OURS}, {"no_such_column": 1}))
    assert await refusals(store, inserting(contact(8)), wrong) == {1: "Invalid"}


async def test_the_same_units_again_are_answered_as_before_and_not_written_twice(store: Store) -> None:
    """What a writer does whose answer was lost. Most of these have no fence that would notice."""
    units = [log_unit(5, message(6)), inserting(contact(8)), log_unit(0, message(1))]
    first = await store.commit(units)
    assert {index: type(error) for index, error in first.items()} == {0: StaleWrite}
    assert await store.commit(units) == first
    assert await seqs(store) == [1]


# Records


async def test_a_unit_creates_a_conversation_with_its_first_event(store: Store) -> None:
    unit = inserting(conversation(9, contact_id=9, last_seq=1), contact(9))
    unit.events = [event(1, conversation_id=9)]
    await commit_all(store, unit)
    assert await seqs(store, 9) == [1]


async def test_the_next_unit_of_a_batch_may_follow_a_conversation_that_this_one_creates(store: Store) -> None:
    await commit_all(store, inserting(conversation(9)), log_unit(0, message(1, conversation_id=9), conversation_id=9))
    assert await seqs(store, 9) == [1]


async def test_records_are_changed_in_the_order_of_their_writes(store: Store) -> None:
    where = {"account_id": OURS, "id": 9}
    await commit_all(
        store,
        writing(
            Insert(contact(9, name="first")),
            Update(Contact, where, {"name": "second", "custom_attributes": {"a": [1]}}),
            Delete(Contact, where),
            Insert(contact(9, name="third")),
        ),
    )
    found = await store.contact(OURS, 9)
    assert found is not None
    assert (found.name, found.custom_attributes) == ("third", {})


async def test_upsert_takes_the_place_of_the_row_with_the_same_key(store: Store) -> None:
    await commit_all(store, writing(Upsert(contact(1, name="Renamed", blocked=True))))
    assert await store.contact(OURS, 1) == contact(1, name="Renamed", blocked=True)
    await commit_all(store, writing(Upsert(InboxMember(account_id=OURS, inbox_id=1, user_id=1))))


async def test_where_finds_null(store: Store) -> None:
    await commit_all(store, writing(Delete(Token, {"account_id": None, "user_id": 1})))
    assert await store.token("hash-1") is None
    assert await store.token("hash-2") is not None


async def test_update_and_delete_stay_in_their_account(store: Store) -> None:
    await commit_all(
        store,
        writing(Update(Contact, {"account_id": THEIRS, "id": 1}, {"name": "stolen"})),
        writing(Delete(ReadCursor, {"account_id": THEIRS, "conversation_id": 1})),
    )
    found = await store.conversation(OURS, 1)
    assert found is not None
    assert found.contact.name == "Contact 1"
    assert len(found.cursors) == 1


@pytest.mark.parametrize("record", [Contact, Conversation, ReadCursor])
def test_a_change_without_an_account_cannot_be_made(record: type[Any]) -> None:
    with pytest.raises(ValueError, match="account_id"):
        Delete(record, {"id": 1})
    with pytest.raises(ValueError, match="account_id"):
        Update(record, {"id": 1}, {"name": "x"})


# Changes of the log


def erase(seq: int, account_id: int = OURS) -> AmendMessage:
    return AmendMessage(account_id, 1, seq, None, deleted_at=T + 50)


async def test_an_edit_replaces_the_content(store: Store) -> None:
    await commit_all(store, log_unit(0, message(1), message(2)))
    unit = log_unit(2, event(3, '{"content":"better"}', message_seq=1))
    unit.writes = [AmendMessage(OURS, 1, 1, "better", edited_at=T + 9)]
    await commit_all(store, unit)
    assert await store.message(OURS, 1, 1) == message(1, "better", edited_at=T + 9)
    assert await store.message(OURS, 1, 2) == message(2)


async def test_an_erased_message_keeps_its_place_and_no_text_anywhere(store: Store) -> None:
    await commit_all(
        store,
        log_unit(
            0,
            message(1, "SECRET", content_attributes='{"items":"SECRET"}', client_id="a"),
            event(2, '{"content":"SECRET edited","content_attributes":{"a":"SECRET"},"by":7}', message_seq=1),
            event(3, '{"content":"other"}', message_seq=9),
        ),
    )
    unit = log_unit(3, event(4, '{"message_seq":1}', message_seq=1))
    unit.writes = [erase(1)]
    await commit_all(store, unit)
    assert await store.log(OURS, 1, after=0, limit=9) == [
        message(1, None, client_id="a", deleted_at=T + 50),
        event(2, '{"content":null,"content_attributes":{},"by":7}', message_seq=1),
        event(3, '{"content":"other"}', message_seq=9),
        event(4, '{"message_seq":1}', message_seq=1),
    ]


async def test_an_erased_message_cannot_be_edited_back(store: Store) -> None:
    await commit_all(store, log_unit(0, message(1)), writing(erase(1)))
    await commit_all(store, writing(AmendMessage(OURS, 1, 1, "back", edited_at=T + 60)))
    found = await store.message(OURS, 1, 1)
    assert found is not None
    assert (found.content, found.deleted_at) == (None, T + 50)


async def test_a_batch_may_amend_what_it_writes(store: Store) -> None:
    """A message, its edit and its deletion may share a transaction, in one unit or in several."""
    sent, edited, erased = log_unit(0, message(1, "SECRET"), message(2, "typo")), log_unit(2), log_unit(3)
    edited.new_seq, edited.events = 3, [event(3, '{"content":"SECRET"}', message_seq=1)]
    edited.writes = [AmendMessage(OURS, 1, 1, "SECRET 2", edited_at=T + 3), AmendMessage(OURS, 1, 2, "fixed")]
    erased.writes = [erase(1)]
    await commit_all(store, sent, edited, erased)
    assert await contents(store) == [None, "fixed"]
    assert (await store.log(OURS, 1, after=2, limit=1))[0] == event(3, '{"content":null}', message_seq=1)


async def test_a_batch_that_is_run_one_by_one_amends_what_it_writes_too(store: Store) -> None:
    sent = log_unit(0, message(1, "SECRET"))
    sent.writes = [erase(1)]
    assert await refusals(store, sent, inserting(contact(1))) == {1: "Conflict"}
    assert await contents(store) == [None]


async def test_erase_log_removes_a_conversation_s_log_up_to_a_seq(store: Store) -> None:
    await commit_all(
        store,
        log_unit(0, message(1), event(2), message(3)),
        log_unit(0, message(1, conversation_id=2), conversation_id=2),
    )
    unit = log_unit(3, event(4))
    unit.writes = [EraseLog(OURS, 1, 3)]
    await commit_all(store, unit)
    assert await seqs(store) == [4]
    assert await seqs(store, 2) == [1]


async def test_amendments_stay_in_their_account(store: Store) -> None:
    await commit_all(store, log_unit(0, message(1)))
    await commit_all(store, writing(AmendMessage(THEIRS, 1, 1, "stolen"), erase(1, THEIRS), EraseLog(THEIRS, 1, 9)))
    assert await contents(store) == ["hello"]
