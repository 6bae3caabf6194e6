"""The latest messages of a conversation by their client ids. In: messages that were decided. Out: the first of a pair.

In two generations: when the younger one is half of what may be kept, it takes the place of the elder, which is
forgotten as a whole. Forgetting the oldest message for each new one would have to look for it.
"""

from __future__ import annotations

from ..storage.records import MessageRow


class Remembered:
    """What is not here may still be in the store, whose unique key decides."""

    __slots__ = ("_elder", "_younger")

    def __init__(self) -> None:
        self._younger: dict[str, MessageRow] = {}
        self._elder: dict[str, MessageRow] = {}

    def __contains__(self, client_id: str | None) -> bool:
        return client_id in self._younger or client_id in self._elder

    def __len__(self) -> int:
        return len(self._younger) + len(self._elder)

    def get(self, client_id: str) -> MessageRow | None:
        return self._younger.get(client_id) or self._elder.get(client_id)

    def add(self, client_id: str, row: MessageRow, bound: int) -> None:
        """Remember a message, one that is not here yet; at most `bound` of them are kept, and at least half as many."""
        younger = self._younger
        younger[client_id] = row
        if 2 * len(younger) >= bound:
            self._elder, self._younger = younger, {}

    def replace(self, client_id: str, row: MessageRow) -> None:
        """Where this message is remembered, remember it as it is now."""
        for generation in (self._younger, self._elder):
            if client_id in generation:
                generation[client_id] = row

    def clear(self) -> None:
        self._younger, self._elder = {}, {}

    def copy(self) -> Remembered:
        other = Remembered()
        other._younger, other._elder = self._younger.copy(), self._elder.copy()
        return other
