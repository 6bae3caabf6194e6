"""Every error over HTTP: RFC 9457 `application/problem+json` with a stable `code`.

In: an exception. Out: status, headers and body. The codes are those of `engine/errors.py`, and a few that only HTTP
knows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from werkzeug.exceptions import HTTPException

from ..engine.errors import (
    Conflict,
    Denied,
    Draining,
    Invalid,
    Malformed,
    NotFound,
    Overloaded,
    RateLimited,
    StaleWrite,
    TertuliaError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER = 1.0  # seconds, where the error itself does not say

#: The status of each error; a class stands for its subclasses too.
STATUSES: Mapping[type[TertuliaError], HTTPStatus] = {
    Malformed: HTTPStatus.BAD_REQUEST,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Denied: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    Draining: HTTPStatus.SERVICE_UNAVAILABLE,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StaleWrite: HTTPStatus.SERVICE_UNAVAILABLE,
}

#: What the HTTP layer itself refuses.
HTTP_CODES: Mapping[int, tuple[str, str]] = {
    400: (Malformed.code, "The request cannot be read."),
    404: (NotFound.code, "There is no such thing here."),
    405: ("method_not_allowed", "This address does not know this method; see the Allow header."),
    408: ("timeout", "The request did not come in time."),
    413: (TooLarge.code, "This is larger than what is accepted here."),
    415: ("unsupported_media_type", "Send the body as application/json."),
}


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one value. `path` is as in `labels[0]`; empty where it is the body as a whole."""

    path: str
    detail: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error, after RFC 9457. `code` is stable; `detail` is for people and may change."""

    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem] = []
    type: str = "about:blank"


def problem_of(error: Exception) -> tuple[Problem, dict[str, str]]:
    """The body and the headers of an error's answer."""
    if isinstance(error, HTTPException):
        return _http_problem(error)
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), None)
    if status is None or not isinstance(error, TertuliaError):
        return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Something went wrong inside the server."), {}
    headers: dict[str, str] = {}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = str(max(1, math.ceil(getattr(error, "retry_after", RETRY_AFTER))))
    elif status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    errors: list[FieldProblem] = []
    if isinstance(error, Invalid):
        errors = [FieldProblem(path, detail) for path, detail in error.fields.items()]
    return _problem(status, error.code, error.detail, errors), headers


def _http_problem(error: HTTPException) -> tuple[Problem, dict[str, str]]:
    status = HTTPStatus(error.code or 500)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status not in HTTP_CODES:
        code, detail = "internal", "Something went wrong inside the server."
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            code, detail = Malformed.code, status.description or status.phrase
    else:
        code, detail = HTTP_CODES[status]
    allowed = getattr(error, "valid_methods", None)
    return _problem(status, code, detail), {"Allow": ", ".join(sorted(allowed))} if allowed else {}


def _problem(status: HTTPStatus, code: str, detail: str, errors: list[FieldProblem] | None = None) -> Problem:
    return Problem(status.phrase, status.value, code, detail, errors or [])
