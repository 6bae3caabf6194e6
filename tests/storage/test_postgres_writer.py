"""Several nodes that write to one database: fences between them, and one statement for a batch that refuses only what
must be. What every store promises is in `test_units.py`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
import trio

from tertulia.engine.errors import Unavailable
from tertulia.storage.postgres_moves import hot_moves
from tertulia.storage.records import ReadCursor
from tertulia.storage.writes import Insert, Unit, Upsert

from .postgres_nodes import Database, Node
from .sample import OURS, T, account_event, contact, conversation, event, inserting, log_unit, message, writing


@pytest.fixture
async def node(database: Database) -> AsyncGenerator[Node]:
    async with database.node() as node:
        yield node


@pytest.fixture
async def other(database: Database) -> AsyncGenerator[Node]:
    async with database.node() as node:
        yield node


def with_a_write(unit: Unit) -> Unit:
    """The same, but nothing that one statement could write."""
    assert unit.conversation_id is not None
    cursor = ReadCursor(
        account_id=OURS,
        conversation_id=unit.conversation_id,
        reader_type="user",
        reader_id=1,
        seq=unit.new_seq,
        updated_at=T,
    )
    unit.writes = [Upsert(cursor)]
    return unit


def as_it_is(unit: Unit) -> Unit:
    return unit


both_ways = pytest.mark.parametrize("kind", [as_it_is, with_a_write])


async def contents(database: Database, conversation_id: int = 1) -> list[Any]:
    query = "select content from messages where conversation_id = $1 order by seq"
    return [row[0] for row in await database.fetch(query, conversation_id)]


async def last_seq(database: Database, conversation_id: int = 1) -> int:
    last: int = await database.value("select last_seq from conversations where id = $1", conversation_id)
    return last


# Between nodes


@both_ways
async def test_of_two_nodes_at_one_conversation_exactly_one_wins(
    database: Database, node: Node, other: Node, kind: Any
) -> None:
    answers: dict[str, dict[int, str]] = {}

    async def send(name: str, sender: Node) -> None:
        answers[name] = await sender.refusals(kind(log_unit(0, message(1, name))))

    async with (
        database.locked("select from conversations where id = 1 for update") as release,
        trio.open_nursery() as n,
    ):
        n.start_soon(send, "one", node)
        n.start_soon(send, "two", other)
        await database.until_waiting(2)
        await release()
    assert sorted(map(str, answers.values())) == ["{0: 'StaleWrite'}", "{}"]
    winner = next(name for name, refused in answers.items() if not refused)
    assert await contents(database) == [winner]
    assert await last_seq(database) == 1


@both_ways
async def test_nodes_that_write_the_same_conversations_in_opposite_order_do_not_block_each_other(
    database: Database, node: Node, other: Node, kind: Any
) -> None:
    await node.execute("set deadlock_timeout = '30ms'")
    there_and_back: list[dict[int, str]] = []

    async def send(sender: Node, *ids: int) -> None:
        there_and_back.append(
            await sender.refusals(*(kind(log_unit(0, message(1, conversation_id=n), conversation_id=n)) for n in ids))
        )

    before = await database.value("select deadlocks from pg_stat_database where datname = current_database()")
    async with (
        database.locked("select from conversations where id = 2 for update") as release,
        trio.open_nursery() as n,
    ):
        n.start_soon(send, node, 1, 2)
        n.start_soon(send, other, 2, 1)
        await database.until_waiting(2)
        await release()
    assert sorted(map(len, there_and_back)) == [0, 2]
    assert await contents(database, 1) == await contents(database, 2) == ["hello"]
    assert await database.value("select deadlocks from pg_stat_database where datname = current_database()") == before


async def test_a_deadlock_over_records_is_run_again(database: Database, node: Node, other: Node) -> None:
    for each in (node, other):
        await each.execute("set deadlock_timeout = '20ms'")
    await node.commit(inserting(contact(8), contact(9)))
    refused: list[dict[int, str]] = []

    async def rename(sender: Node, name: str, *ids: int) -> None:
        refused.append(await sender.refusals(writing(*(Upsert(contact(n, name=name)) for n in ids))))

    async with database.locked("select from contacts where id = 9 for update") as release, trio.open_nursery() as n:
        n.start_soon(rename, other, "other", 9, 8)
        await database.until_waiting(1)
        n.start_soon(rename, node, "node", 8, 9)
        await database.until_waiting(2)
        await release()  # to `other`, which then wants what `node` has, which waits for `other`
    assert refused == [{}, {}]
    names = await database.fetch("select distinct name from contacts where id in (8, 9)")
    assert len(names) == 1, "one after the other"


async def test_a_conversation_may_be_referred_to_while_its_log_is_written(database: Database, node: Node) -> None:
    async with database.locked("select from conversations where id = 1 for key share"):
        assert await node.commit(log_unit(0, message(1))) == {}
        assert await node.commit(with_a_write(log_unit(1, message(2)))) == {}


# One statement


def test_logs_of_conversations_are_one_statement_and_anything_else_is_not() -> None:
    hot = log_unit(0, message(1), status="open"), log_unit(1, event(2), status="open")
    assert hot_moves(hot) is not None
    assert hot_moves([Unit(OURS)]) == []
    for other in (
        inserting(contact(9)),
        with_a_write(log_unit(2)),
        Unit(OURS, account_log=True, new_seq=1),
        Unit(OURS, events=[event(1)]),
        log_unit(2, message(3, conversation_id=2)),
        log_unit(7, message(8), status="open"),
    ):
        assert hot_moves([*hot, other]) is None


@both_ways
async def test_in_one_batch_each_conversation_changes_its_own_columns_and_keeps_the_others(
    database: Database, node: Node, kind: Any
) -> None:
    await node.commit(log_unit(0, status="snoozed", priority="low"))
    units = (log_unit(0, message(1), priority=None), log_unit(0, status="resolved", labels=["a"], conversation_id=2))
    assert await node.commit(*map(kind, units)) == {}
    rows = await database.fetch("select status, priority, labels from conversations where id in (1, 2) order by id")
    assert [tuple(row) for row in rows] == [("snoozed", None, "[]"), ("resolved", None, '["a"]')]


@both_ways
async def test_units_that_follow_each_other_are_one_move(database: Database, node: Node, kind: Any) -> None:
    units = [kind(log_unit(n, message(n + 1, str(n)), last_message_seq=n + 1, labels=[str(n)])) for n in range(4)]
    assert await node.commit(*units) == {}
    assert await contents(database) == ["0", "1", "2", "3"]
    assert await database.fetch("select last_seq, last_message_seq, labels from conversations where id = 1") == [
        (4, 4, '["3"]')
    ]


@both_ways
async def test_where_the_first_of_them_is_stale_so_are_all(database: Database, node: Node, kind: Any) -> None:
    await node.commit(log_unit(0, message(1)))
    units = [kind(log_unit(n, message(n + 1, str(n)))) for n in range(3)]
    others = log_unit(0, message(1, conversation_id=2), conversation_id=2)
    assert await node.refusals(*units, others) == dict.fromkeys(range(3), "StaleWrite")
    assert await contents(database) == ["hello"]
    assert await contents(database, 2) == ["hello"]


async def test_a_unit_that_does_not_follow_is_stale_and_so_is_what_follows_it(database: Database, node: Node) -> None:
    units = [log_unit(0, message(1, "a")), log_unit(0, message(1, "b")), log_unit(1, message(2, "c"))]
    assert await node.refusals(*units) == {1: "StaleWrite", 2: "StaleWrite"}
    assert await contents(database) == ["a"]


async def test_units_change_different_columns_in_one_batch(database: Database, node: Node) -> None:
    units = log_unit(0, status="resolved"), log_unit(0, conversation_id=2, priority="high"), log_unit(0, labels=["vip"])
    assert await node.commit(*units) == {}
    found = await database.fetch("select status, priority, labels from conversations where id < 3 order by id")
    assert found == [("resolved", None, '["vip"]'), ("open", "high", "[]")]


@pytest.mark.parametrize("wrong", [{"client_id": "taken"}, {"content": "\0"}, {"sender_id": 2**63}, {"type": "x"}])
async def test_a_row_that_cannot_be_written_refuses_only_its_own_unit(
    database: Database, node: Node, wrong: dict[str, Any]
) -> None:
    await node.commit(inserting(*(conversation(n) for n in range(100, 140))))
    await node.commit(log_unit(0, message(1, conversation_id=120, client_id="taken"), conversation_id=120))
    units = [
        log_unit(n == 120, message(1 + (n == 120), conversation_id=n, client_id="new"), conversation_id=n)
        for n in range(100, 140)
    ]
    kind = "StaleWrite" if "client_id" in wrong else "Invalid"
    units[20].changes = {}
    if "type" in wrong:
        units[20].changes = {"no_such_column": 1}
    else:
        units[20].messages = [msgspec.structs.replace(units[20].messages[0], **wrong)]
    assert await node.refusals(*units) == {20: kind}
    assert await database.value("select count(*) from messages where client_id = 'new'") == 39
    assert await last_seq(database, 120) == 1


@both_ways
async def test_a_number_that_no_log_has_refuses_its_unit_alone(database: Database, node: Node, kind: Any) -> None:
    unit = kind(log_unit(0, message(1, conversation_id=2**63), conversation_id=2**63))
    assert await node.refusals(log_unit(0, message(1)), unit) == {1: "Invalid"}
    assert await contents(database) == ["hello"]


async def test_a_seq_that_is_there_makes_its_unit_stale(database: Database, node: Node) -> None:
    await node.commit(log_unit(0, message(1)))
    await database.fetch("update conversations set last_seq = 0 where id = 1")
    assert await node.refusals(log_unit(0, message(1, "again"))) == {0: "StaleWrite"}
    assert await contents(database) == ["hello"]


async def test_accounts_and_conversations_share_a_batch(database: Database, node: Node) -> None:
    created = Unit(
        OURS,
        account_log=True,
        new_seq=1,
        changes={"last_display_id": 9},
        account_events=[account_event(1)],
        writes=[Insert(conversation(9, last_seq=1))],
        events=[event(1, conversation_id=9)],
    )
    next_one = Unit(OURS, account_log=True, old_seq=1, new_seq=2, account_events=[account_event(2)])
    said = log_unit(1, message(2, conversation_id=9), conversation_id=9)
    assert await node.commit(created, log_unit(0, message(1)), said, next_one) == {}
    assert await contents(database, 9) == ["hello"]
    assert await database.fetch("select last_seq, last_display_id from accounts where id = 1") == [(2, 9)]


# The note


async def test_a_writer_keeps_one_row_and_forgets_those_that_are_gone(database: Database, node: Node) -> None:
    await database.fetch("delete from commits")
    await database.fetch(
        "insert into commits (writer, batch, written_at) values (1, 5, now() - interval '2 days'), (2, 5, now())"
    )
    for n in range(3):
        await node.commit(log_unit(n, message(n + 1)))
        await node.commit(with_a_write(log_unit(n, message(1, conversation_id=2), conversation_id=2)))
    rows = await database.fetch("select writer, batch from commits order by batch")
    assert len(rows) == 2
    assert rows[0] == (2, 5)
    assert rows[1][1] == 6


async def test_a_writer_whose_row_was_removed_goes_on(database: Database, node: Node) -> None:
    for unit in (log_unit(0, message(1)), with_a_write(log_unit(1, message(2)))):
        await database.fetch("delete from commits")
        assert await node.commit(unit) == {}
    assert await last_seq(database) == 2


async def test_a_unit_without_rows_is_written_down(database: Database, node: Node) -> None:
    await node.commit(Unit(OURS))
    assert await database.value("select batch from commits") == 1


@pytest.mark.parametrize(
    "unit", [log_unit(0, message(1)), inserting(contact(9)), Unit(OURS)], ids=["log", "record", "none"]
)
async def test_a_server_that_cannot_write_is_unavailable(database: Database, node: Node, unit: Unit) -> None:
    await node.execute("set default_transaction_read_only = on")
    with pytest.raises(Unavailable, match="read-only"):
        await node.commit(unit)
    await node.execute("set default_transaction_read_only = off")
    assert await node.commit(unit) == {}, "the same batch again"
