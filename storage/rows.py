"""Between records and rows: JSON columns are text in the row, booleans are integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import msgspec

from .records import Record

R = TypeVar("R", bound=Record)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class _Layout:
    """A record's columns, and which of them a row holds in another form."""

    columns: tuple[str, ...]
    json: tuple[int, ...]
    booleans: tuple[int, ...]


@cache
def _layout(record: type[Record]) -> _Layout:
    info = msgspec.inspect.type_info(record)
    assert isinstance(info, msgspec.inspect.StructType)
    kinds = [field.type for field in info.fields]
    collections = (msgspec.inspect.ListType, msgspec.inspect.DictType)
    return _Layout(
        columns=tuple(field.name for field in info.fields),
        json=tuple(index for index, kind in enumerate(kinds) if isinstance(kind, collections)),
        booleans=tuple(index for index, kind in enumerate(kinds) if isinstance(kind, msgspec.inspect.BoolType)),
    )


def columns_of(record: type[Record]) -> tuple[str, ...]:
    return _layout(record).columns


@cache
def is_numbered(record: type[Record]) -> bool:
    """Whether records of this kind have ids that the store gives: numbers, not texts."""
    return any(field.name == "id" and field.type is int for field in msgspec.structs.fields(record))


def to_value(value: Any) -> Any:
    """A column's value as every store takes it."""
    if isinstance(value, list | dict):
        return _encode(value).decode()
    return value


def values_of(record: Record) -> tuple[Any, ...]:
    """A record's row."""
    values = msgspec.structs.astuple(record)
    json = _layout(type(record)).json
    if not json:
        return values
    row = list(values)
    for index in json:
        row[index] = _encode(row[index]).decode()
    return tuple(row)


def record_from(kind: type[R], row: Sequence[Any]) -> R:
    """The record in a row that holds all of its columns in their order. The store is trusted: nothing is checked."""
    layout = _layout(kind)
    values = list(row)
    for index in layout.json:
        values[index] = _decode(values[index])
    for index in layout.booleans:
        values[index] = bool(values[index])
    return kind(**dict(zip(layout.columns, values, strict=True)))


def records_from(kind: type[R], rows: Iterable[Sequence[Any]]) -> list[R]:
    return [record_from(kind, row) for row in rows]
