"""How an actor refuses across nodes. In: the error of a turn. Out: bytes, and on the other side an error of that class.

An error travels as the names of its class and of the classes above it, its sentence, and its other attributes. Whoever
decodes it takes the first name it knows, so a class that only the newer of two versions has arrives as the one above.

A crash travels as the bare fact: its text and traceback stay in the log of the node where it happened. Its sender is
told what it would have been told there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..engine import errors
from ..engine.errors import Invalid, Overloaded, RateLimited, TertuliaError, Unavailable


class WireError(Unavailable):
    """Another node of this service sent something that this one cannot read; try again later."""


#: What msgspec raises for bytes that are not what they should be, and for values that msgpack has no word for.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
UNSPEAKABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, TypeError)

_CRASHED = "Something went wrong inside the server."


class _Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    classes: tuple[str, ...]  # the error's own first
    detail: str
    retry_after: float | None = None  # seconds
    fields: dict[str, str] | None = None


ERRORS: Mapping[str, type[TertuliaError]] = {
    name: kind
    for name, kind in (*vars(errors).items(), ("WireError", WireError))
    if isinstance(kind, type) and issubclass(kind, TertuliaError)
}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Failure).decode


def encode_error(error: Exception) -> bytes:
    """Never raises: what cannot be said exactly is said without its details."""
    if not isinstance(error, TertuliaError):
        return _encode(_Failure((TertuliaError.__name__,), _CRASHED))
    classes = tuple(kind.__name__ for kind in type(error).__mro__ if issubclass(kind, TertuliaError))
    try:
        return _encode(_Failure(classes, error.detail, _retry_after(error), _fields(error)))
    except UNSPEAKABLE:  # text that is not Unicode
        return _encode(_Failure(classes, ""))


def decode_error(payload: bytes) -> TertuliaError:
    """The error, to be raised at whoever asked.

    Raises:
        WireError: this is no encoded error.
    """
    try:
        failure = _decode(payload)
    except UNREADABLE as error:
        raise WireError from error
    kind = next((ERRORS[name] for name in failure.classes if name in ERRORS), TertuliaError)
    options: dict[str, Any] = {}
    if failure.retry_after is not None and issubclass(kind, (Overloaded, RateLimited)):
        options["retry_after"] = failure.retry_after
    if failure.fields is not None and issubclass(kind, Invalid):
        options["fields"] = failure.fields
    make: Callable[..., TertuliaError] = kind
    return make(failure.detail, **options)


def _retry_after(error: TertuliaError) -> float | None:
    return error.retry_after if isinstance(error, (Overloaded, RateLimited)) else None


def _fields(error: TertuliaError) -> dict[str, str] | None:
    return dict(error.fields) if isinstance(error, Invalid) and error.fields else None
