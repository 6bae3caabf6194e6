"""The table of all routes. In: the operations of `routes/`. Next hop: Quart's URL map, and `openapi.py`.

An operation that acts in an account has two addresses: flat, with the account in `X-Account-Id` or `?account_id=`,
and under `/accounts/<account_id>`. Both are the same endpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from werkzeug.routing import BaseConverter, IntegerConverter

from .calls import Audience, Operation
from .cursors import ID
from .schemas import MAX_ID

PREFIX = "/api/v1"
IN_ACCOUNT = "/accounts/<id:account_id>"


class IdConverter(IntegerConverter):
    """An id in a path. What no store can hold matches nothing."""

    def __init__(self, map: Any) -> None:
        super().__init__(map, max=MAX_ID)


class KeyConverter(BaseConverter):
    """An id of `storage.ids` in a path. What it never gives matches nothing."""

    regex = ID.pattern


@dataclass(frozen=True, slots=True)
class Route:
    """One operation and its addresses."""

    name: str
    method: str
    rules: tuple[str, ...]
    operation: Operation
    answer: Any  # the type of `data`; None: no content
    status: int
    listed: bool  # `data` is a list of `answer`, with `meta.next_cursor`
    area: str

    @property
    def summary(self) -> str:
        return (self.operation.handler.__doc__ or "").strip().partition("\n")[0].rstrip(".")


class Area:
    """The routes of one part of the API."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.routes: list[Route] = []

    def get(
        self, rule: str, answer: Any, *, listed: bool = False, nested: str | None = None
    ) -> Callable[[Operation], Operation]:
        return self._add("GET", rule, answer, 200, listed=listed, nested=nested)

    def post(self, rule: str, answer: Any, *, status: int = 201) -> Callable[[Operation], Operation]:
        return self._add("POST", rule, answer, status if answer is not None else 204)

    def put(self, rule: str, answer: Any) -> Callable[[Operation], Operation]:
        return self._add("PUT", rule, answer, 200)

    def patch(self, rule: str, answer: Any, *, nested: str | None = None) -> Callable[[Operation], Operation]:
        return self._add("PATCH", rule, answer, 200, nested=nested)

    def delete(self, rule: str) -> Callable[[Operation], Operation]:
        return self._add("DELETE", rule, None, 204)

    def _add(
        self, method: str, rule: str, answer: Any, status: int, *, listed: bool = False, nested: str | None = None
    ) -> Callable[[Operation], Operation]:
        def add(operation: Operation) -> Operation:
            rules = [PREFIX + rule]
            if operation.audience is Audience.ACCOUNT:
                rules.append(PREFIX + IN_ACCOUNT + (rule if nested is None else nested))
            name = f"{self.name}.{operation.handler.__name__}"
            self.routes.append(Route(name, method, tuple(rules), operation, answer, status, listed, self.name))
            return operation

        return add
