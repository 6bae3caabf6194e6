"""From a handler's result to bytes: `{"data": ...}`, and `{"meta": {"next_cursor": ...}}` for lists.

Responses are structs, encoded once and directly. No answer may be cached, sniffed or framed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from quart import Response

from .problems import CONTENT_TYPE as PROBLEM
from .problems import Problem, problem_of

JSON = "application/json"
SECURITY_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Answer:
    """A result with a status or headers of its own."""

    data: Any
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and where it goes on; None at its end."""

    items: Sequence[Any]
    next_cursor: str | None = None


def respond(result: Any, status: int) -> Response:
    """The response to a handler's result; a result of None has no body."""
    headers: Mapping[str, str] = {}
    if isinstance(result, Answer):
        result, status, headers = result.data, result.status or status, result.headers
    if result is None:
        return _response(b"", 204, JSON, headers)
    if isinstance(result, Page):
        cursor = _encode(result.next_cursor)
        body = b'{"data":%b,"meta":{"next_cursor":%b}}' % (_encode(result.items), cursor)
    else:
        body = b'{"data":%b}' % _encode(result)
    return _response(body, status, JSON, headers)


def respond_to_error(error: Exception) -> Response:
    return respond_to_problem(*problem_of(error))


def respond_to_problem(problem: Problem, headers: Mapping[str, str]) -> Response:
    return _response(_encode(problem), problem.status, PROBLEM, headers)


def respond_with(body: bytes, content_type: str) -> Response:
    """A body that has no envelope."""
    return _response(body, 200, content_type, {})


def _response(body: bytes, status: int, content_type: str, headers: Mapping[str, str]) -> Response:
    return Response(body, status, {**SECURITY_HEADERS, **headers}, content_type=content_type)
