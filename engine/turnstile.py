"""How many messages are on their way to the disk at once. In: cells that have mail. Out: their turns, in order.

There is one writer. A turn that begins while it is busy with others' can only wait for it, with what is in the mailbox
now; a turn that begins when the writer comes round to it takes along what has come until then. A message of a batch
costs a third of one that is alone. So a busy node lets few turns begin, and keeps the rest of the mail where it gets
company: in the mailboxes. Whoever has waited longest is next; the keys take their turns one after the other instead of
all at once, and what each waits for is a share of the disk's time instead of all of it.

Nothing waits for this while there is nothing else to do: when every task of the program is blocked, the disk is what
everybody waits for (it is a slow one, or a server behind a network), and turns that begin now cost nobody anything.
"""

from __future__ import annotations

from typing import Protocol

import trio
from trio.testing import wait_all_tasks_blocked

from .mailbox import Mailbox

#: Keys that are let through when there is nothing else to do, before asking again whether there is.
LET_THROUGH = 8


class Queued(Protocol):
    """A desk, as the turnstile sees it."""

    admitted: int  # messages that were counted for it before its turn began; 0 where it was not let through
    weight: int  # messages of its turns that are counted
    mailbox: Mailbox

    def wake(self) -> None: ...


class Turnstile:
    """Counts messages in turns that have begun and are not settled, over all keys of a node."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._queue: dict[Queued, None] = {}
        self._filled = trio.Event()

    def __len__(self) -> int:
        """How many keys wait for their turn."""
        return len(self._queue)

    def admits(self, desk: Queued) -> bool:
        """Whether it may take its turn now, without overtaking anybody."""
        return desk.admitted > 0 or (self._inside < self._limit and not self._queue)

    def line_up(self, desk: Queued) -> None:
        """Wake it when it may take its turn."""
        self._queue[desk] = None
        if self._inside < self._limit:
            self._let_through()
        else:
            self._filled.set()

    def enter(self, desk: Queued, messages: int) -> None:
        """A turn with so many messages begins."""
        self._inside += messages - desk.admitted
        desk.weight += messages
        desk.admitted = 0

    def leave(self, desk: Queued) -> None:
        """None of its turns is unsettled any more, or its turn takes long; or it has no mail, after all."""
        self._inside -= desk.weight + desk.admitted
        desk.weight = desk.admitted = 0
        # Whether or not this made room: a turn that found less mail than was counted for it has.
        while self._queue and self._inside < self._limit:
            self._let_through()

    def forget(self, desk: Queued) -> None:
        """It does not wait any more."""
        self._queue.pop(desk, None)

    async def run(self) -> None:
        """Let keys through whenever there is nothing else to do; until cancelled."""
        while True:
            await self._filled.wait()
            self._filled = trio.Event()
            while self._queue:
                await wait_all_tasks_blocked()
                for _ in range(min(LET_THROUGH, len(self._queue))):
                    self._let_through()

    def _let_through(self) -> None:
        desk = next(iter(self._queue))
        desk.admitted = max(desk.mailbox.size, 1)
        self._inside += desk.admitted
        desk.wake()  # which forgets it here
