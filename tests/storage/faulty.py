"""A store whose commits fail on demand: a wrapper on the seam between writer and store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from tertulia.engine.errors import OutcomeUnknown, Unavailable
from tertulia.storage.group_commit import Committer
from tertulia.storage.writes import Unit


class FaultyStore:
    """Commits as the store behind it does, except where a fault is due.

    Args:
        errors: raised by the next calls, one each; None lets a call pass.
        lose_answers: the store behind commits, and the caller learns nothing but the error.
        pause: what each commit waits for first.
    """

    def __init__(
        self,
        store: Committer,
        errors: Iterable[Exception | None] = (),
        *,
        lose_answers: bool = False,
        pause: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint,
    ) -> None:
        self._store = store
        self.errors: list[Exception | None] = list(errors)
        self.broken: Exception | None = None  # raised by every call, once set
        self.lose_answers = lose_answers
        self._pause = pause
        self.batches: list[int] = []  # the size of each batch, in the order of the calls

    async def commit(self, units: Sequence[Unit]) -> dict[int, Exception]:
        self.batches.append(len(units))
        await self._pause()
        error = self.broken or (self.errors.pop(0) if self.errors else None)
        if error is not None and not self.lose_answers:
            raise error
        refused = await self._store.commit(units)
        if error is not None:
            raise OutcomeUnknown from error
        return refused


def away(times: int) -> list[Exception | None]:
    """The store is away for so many calls."""
    return [Unavailable("The disk is full.") for _ in range(times)]
