"""Records and rows are two forms of the same thing."""

from __future__ import annotations

import typing

import pytest

from tertulia.storage.records import TABLES, Contact, Conversation, Record
from tertulia.storage.rows import columns_of, record_from, to_value, values_of

from .sample import OURS, T, account_records, contact, conversation


@pytest.mark.parametrize("record", account_records(OURS), ids=lambda record: type(record).__name__)
def test_a_record_survives_the_way_to_a_row_and_back(record: Record) -> None:
    assert record_from(type(record), values_of(record)) == record


def test_a_row_holds_plain_values_in_the_order_of_the_columns() -> None:
    row = dict(zip(columns_of(Conversation), values_of(conversation(7, labels=["a"])), strict=True))
    assert (row["id"], row["labels"], row["custom_attributes"], row["assignee_id"]) == (7, '["a"]', "{}", None)


def test_a_boolean_comes_back_as_a_boolean() -> None:
    row = [1 if value is True else value for value in values_of(contact(1, blocked=True))]
    assert record_from(Contact, row).blocked is True


def test_a_value_that_is_no_record_is_turned_in_the_same_way() -> None:
    assert [to_value(value) for value in ({"a": [1]}, ["x"], "text", 5, None)] == [
        '{"a":[1]}',
        '["x"]',
        "text",
        5,
        None,
    ]


def test_every_kind_of_record_has_a_table_with_keys_among_its_columns() -> None:
    kinds = {kind for kind in Record.__subclasses__() if kind.__module__ == Record.__module__}
    assert set(TABLES) == kinds
    for kind, (_, keys) in TABLES.items():
        assert set(keys) <= set(columns_of(kind))


def test_times_are_integers() -> None:
    for kind in TABLES:
        hints = typing.get_type_hints(kind)
        for column in columns_of(kind):
            if column.endswith("_at"):
                assert hints[column] in (int, int | None)
    assert conversation(1).created_at == T
