"""From bytes and query strings to structs. Everything that is wrong is said at once, field by field.

The good case is one call of a decoder. Only a request that fails is looked at again, to name all of its faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast

import msgspec
from werkzeug.datastructures import MultiDict

from ..actors.attributes import why_not
from ..actors.limits import ChatLimits
from ..engine.errors import Invalid, Malformed
from .schemas import Body, Query

B = TypeVar("B", bound=Body)
Q = TypeVar("Q", bound=Query)

REQUIRED = "Is required."
UNKNOWN = "There is no such field."
SPECIFIC_TO_ALL = frozenset({"account_id"})  # every route takes it, see `calls.py`


class BodyReader(Generic[B]):
    """Reads one kind of body."""

    def __init__(self, kind: type[B]) -> None:
        self.kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def read(self, raw: bytes, limits: ChatLimits) -> B:
        """Raises Malformed where this is no JSON, Invalid where it is the wrong JSON."""
        try:
            body = self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise Invalid(fields=self._faults(raw, error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Malformed("The body is not JSON.") from None
        if self.kind.sized:
            faults = oversized(body, limits)
            if faults:
                raise Invalid(fields=faults)
        return body

    def _faults(self, raw: bytes, error: msgspec.ValidationError) -> dict[str, str]:
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            # The validation saw a fault before the end of what is no JSON at all.
            raise Malformed("The body is not JSON.") from None
        if not isinstance(value, dict):
            return {"": _sentence(str(error))[0]}
        return faults_in(self.kind, cast("dict[str, Any]", value), strict=True)


class QueryReader(Generic[Q]):
    """Reads one kind of query string."""

    def __init__(self, kind: type[Q]) -> None:
        self._kind = kind
        info = msgspec.inspect.type_info(kind)
        assert isinstance(info, msgspec.inspect.StructType)
        self._lists = {field.name for field in info.fields if isinstance(field.type, msgspec.inspect.ListType)}

    def read(self, arguments: MultiDict[str, str]) -> Q:
        """Raises Invalid where a parameter is unknown or has a wrong value."""
        values: dict[str, Any] = {
            name: arguments.getlist(name) if name in self._lists else arguments[name]
            for name in arguments
            if name not in SPECIFIC_TO_ALL
        }
        try:
            return msgspec.convert(values, self._kind, strict=False)
        except msgspec.ValidationError:
            raise Invalid(fields=faults_in(self._kind, values, strict=False)) from None


def faults_in(kind: type[msgspec.Struct], values: Mapping[str, Any], *, strict: bool) -> dict[str, str]:
    """What is wrong with each field."""
    faults: dict[str, str] = {}
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in values.keys() - fields.keys():
        faults[name] = UNKNOWN
    for name, field in fields.items():
        if name not in values:
            if field.required:
                faults[name] = REQUIRED
            continue
        try:
            msgspec.convert(values[name], field.type, strict=strict)
        except msgspec.ValidationError as error:
            detail, path = _sentence(str(error))
            faults[name + path] = detail
    return dict(sorted(faults.items()))


def _sentence(message: str) -> tuple[str, str]:
    """``Expected `str`, got `int` - at `$[0]` `` as sentence and path."""
    text, _, place = message.partition(" - at `$")
    return text + ".", place.rstrip("`")


def oversized(body: Body, limits: ChatLimits) -> dict[str, str]:
    """The fields that are larger than the limits of this engine."""
    faults: dict[str, str] = {}
    for name, limit_name in body.sized.items():
        value, limit = getattr(body, name), getattr(limits, limit_name)
        if isinstance(value, dict):
            reason = why_not(cast("dict[str, Any]", value), limit)
            if reason is not None:
                faults[name] = reason
        elif isinstance(value, str) and len(value) > limit:
            faults[name] = f"Must be at most {limit} characters."
        elif isinstance(value, list):
            faults |= _bad_labels(name, cast("list[str]", value), limit, limits.label)
    return faults


def _bad_labels(name: str, labels: list[str], count: int, length: int) -> dict[str, str]:
    if len(labels) > count:
        return {name: f"Must be at most {count}."}
    return {
        f"{name}[{index}]": f"Must be 1 to {length} characters."
        for index, label in enumerate(labels)
        if not 1 <= len(label) <= length
    }
