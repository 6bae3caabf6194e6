"""Between records and rows: JSON columns are text in the row, booleans may be integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec

from .records import Record

R = TypeVar("R", bound=Record)

_encode = msgspec.json.Encoder().encode


@cache
def columns_of(record: type[Record]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(record))


@cache
def _json_columns(record: type[Record]) -> frozenset[str]:
    """The columns whose type is a list or a dict."""
    kinds = (msgspec.inspect.ListType, msgspec.inspect.DictType)
    info = msgspec.inspect.type_info(record)
    assert isinstance(info, msgspec.inspect.StructType)
    return frozenset(field.name for field in info.fields if isinstance(field.type, kinds))


def to_value(value: Any) -> Any:
    """A column's value as every store takes it."""
    if isinstance(value, list | dict):
        return _encode(value).decode()
    return value


def values_of(record: Record) -> tuple[Any, ...]:
    """A record's row."""
    return tuple(to_value(getattr(record, column)) for column in columns_of(type(record)))


def record_from(kind: type[R], row: Sequence[Any]) -> R:
    """The record in a row that holds all of the record's columns in their order."""
    json = _json_columns(kind)
    values = {
        column: msgspec.json.decode(value) if column in json and isinstance(value, str) else value
        for column, value in zip(columns_of(kind), row, strict=True)
    }
    return msgspec.convert(values, kind, strict=False)


def records_from(kind: type[R], rows: Iterable[Sequence[Any]]) -> list[R]:
    return [record_from(kind, row) for row in rows]
