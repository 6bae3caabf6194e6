"""A store whose reads can fail, or wait, by their names."""

from __future__ import annotations

import inspect
from typing import Any

import trio

from tertulia.storage.contracts import Store


class FaultyStore:
    """Passes everything on to a store, except for what is told to fail or to wait."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.errors: dict[str, Exception] = {}
        self.gates: dict[str, trio.Event] = {}  # until it is set; after the store has answered
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method: Any = getattr(self._store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            if name in self.errors:
                await trio.lowlevel.checkpoint()
                raise self.errors[name]
            answer = await method(*arguments, **named)
            if name in self.gates:
                await self.gates[name].wait()
            return answer

        return call
