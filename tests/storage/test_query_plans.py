"""No query on the way of a message or of a list reads a whole table: each finds its rows by an index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping

import pytest

from tertulia.storage import sqlite_reads as reads
from tertulia.storage import sqlite_writer
from tertulia.storage.contracts import ConversationFilter
from tertulia.storage.migrations.apply import apply_migrations
from tertulia.storage.records import Token
from tertulia.storage.sqlite_connections import connect
from tertulia.storage.writes import AmendMessage, Delete, EraseLog, Update

from .query_plans import Query, plans, whole_tables
from .sample import OURS, THEIRS, T, account_records, inserting, log_unit, message, writing


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = connect(":memory:")
    apply_migrations(connection)
    sqlite_writer.commit(connection, [inserting(*account_records(OURS)), inserting(*account_records(THEIRS))])
    yield connection
    connection.close()


QUERIES: Mapping[str, Query] = {
    "account": lambda db: reads.account(db, 1),
    "account_log after": lambda db: reads.account_log(db, 1, 5, None, 9),
    "account_log since": lambda db: reads.account_log(db, 1, None, T, 9),
    "changed": lambda db: reads.changed(db, 1, [1], T, 9),
    "contact": lambda db: reads.contact(db, 1, 1),
    "contact_by_identifier": lambda db: reads.contact_by_identifier(db, 1, "crm-1"),
    "contacts": lambda db: reads.contacts(db, 1, "ana", 0, 9),
    "conversation": lambda db: reads.conversation(db, 1, 1),
    "conversations": lambda db: reads.conversations(
        db, 1, ConversationFilter(inbox_ids=[1], status="open", labels=["a"]), (T, 1), 9
    ),
    "conversations of a contact": lambda db: reads.conversations(db, 1, ConversationFilter(contact_id=1), (T, 1), 9),
    "conversations updated since": lambda db: reads.conversations(db, 1, ConversationFilter(updated_since=T), None, 9),
    "epoch": reads.epoch,
    "inbox_by_identifier": lambda db: reads.inbox_by_identifier(db, "inbox-1"),
    "last_seq_before": lambda db: reads.last_seq_before(db, 1, 1, T),
    "live_tokens": lambda db: reads.live_tokens(db, [1, 2]),
    "log": lambda db: reads.log(db, 1, 1, 0, 9),
    "memberships": lambda db: reads.memberships(db, 1),
    "message": lambda db: reads.message(db, 1, 1, 1),
    "messages": lambda db: reads.messages(db, 1, 1, None, None, False, 9),
    "messages after": lambda db: reads.messages(db, 1, 1, 1, 5, True, 9),
    "sent": lambda db: reads.sent(db, 1, 1, ["a", "b"]),
    "token": lambda db: reads.token(db, "hash-1"),
    "tokens of a contact": lambda db: reads.tokens_of(db, None, 1),
    "tokens of a user": lambda db: reads.tokens_of(db, 1, None),
    "user": lambda db: reads.user(db, 1),
    "user_by_email": lambda db: reads.user_by_email(db, "user1@example.com"),
    "write a message": lambda db: sqlite_writer.commit(db, [log_unit(0, message(1), last_message_seq=1)]),
    "amend a message": lambda db: sqlite_writer.commit(
        db, [writing(AmendMessage(1, 1, 1, "x"), AmendMessage(1, 1, 1, None, deleted_at=T), EraseLog(1, 1, 5))]
    ),
    "change a token": lambda db: sqlite_writer.commit(
        db, [writing(Update(Token, {"id": 1}, {"expires_at": T}), Delete(Token, {"account_id": 1, "contact_id": 1}))]
    ),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_no_whole_table_is_read(database: sqlite3.Connection, query: Query) -> None:
    assert whole_tables(plans(database, query)) == []


def test_a_whole_table_would_be_noticed(database: sqlite3.Connection) -> None:
    assert whole_tables(plans(database, lambda db: db.execute("select * from contacts where name = 'x'")))


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("conversations", "conversations_by_activity"),
        ("conversations of a contact", "conversations_by_contact"),
        ("changed", "conversations_by_update"),
        ("account_log since", "account_events_by_time"),
        ("sent", "messages_by_client_id"),
        ("messages", "PRIMARY KEY (conversation_id=?)"),
        ("account_log after", "PRIMARY KEY (account_id=? AND seq>?)"),
    ],
)
def test_the_index_that_was_made_for_a_query_serves_it(database: sqlite3.Connection, name: str, index: str) -> None:
    assert index in " ".join(plans(database, QUERIES[name]))


@pytest.mark.parametrize("name", ["conversations", "changed", "messages", "messages after", "log", "contacts"])
def test_a_page_is_read_in_the_order_of_its_index(database: sqlite3.Connection, name: str) -> None:
    """Sorting would read everything before it gives the first row."""
    assert "USE TEMP B-TREE FOR ORDER BY" not in plans(database, QUERIES[name])
