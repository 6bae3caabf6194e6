"""How far an account's own stream, and those of its inboxes, have come in the store. Out: `note` for what moved on.

Thousands of dashboards may come back in the same second and want to know: while the store is asked for one account,
whoever else wants to know it waits for the next question, which is then asked for all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

import trio

from ..engine.errors import TertuliaError, Unavailable
from .entities import WallClock
from .followed import Followed
from .missing import ACCOUNT, CONVERSATION, INBOX, MissingEvents

logger = logging.getLogger("tertulia.account_check")


class _Question:
    """What is to be asked for one account, and whether it has been answered."""

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.answered = trio.Event()
        self.failure: str | None = None


class AccountCheck:
    """Asks for the accounts of one node. `skew`: milliseconds by which the clocks of two nodes may differ."""

    def __init__(
        self,
        followed: Mapping[str, Followed],
        note: Callable[[str, str, int], None],
        missing: MissingEvents,
        wall_clock: WallClock,
        skew: int,
        nursery: trio.Nursery,
    ) -> None:
        self._followed = followed
        self._note = note
        self._missing = missing
        self._wall_clock = wall_clock
        self._skew = skew
        self._nursery = nursery
        self._next: dict[int, _Question] = {}
        self._asked: dict[int, _Question] = {}

    async def ask(self, account_id: int, topics: Collection[str]) -> None:
        """Note how far the streams of these topics had come at an instant after this call.

        Raises:
            Unavailable: the store does not answer.
        """
        question = self._next.get(account_id)
        if question is None:
            question = self._next[account_id] = _Question()
            self._nursery.start_soon(self._ask_next, account_id, question)
        question.topics.update(topics)
        await question.answered.wait()
        if question.failure is not None:
            raise Unavailable(question.failure)

    async def _ask_next(self, account_id: int, question: _Question) -> None:
        before = self._asked.get(account_id)
        if before is not None:
            await before.answered.wait()
        self._asked[account_id] = self._next.pop(account_id)
        try:
            await self._look(account_id, question.topics)
        except TertuliaError as error:
            question.failure = error.detail
        except Exception:  # whoever asked may ask again; the engine goes on
            logger.exception("account %d cannot be checked", account_id)
            question.failure = "The store cannot say what was missed; try again."
        finally:
            question.answered.set()
            if self._asked.get(account_id) is question:
                del self._asked[account_id]

    async def _look(self, account_id: int, topics: Collection[str]) -> None:
        began = self._wall_clock()
        inboxes: dict[int, Followed] = {}
        for topic in topics:
            followed = self._followed.get(topic)
            if followed is None or not followed.ready.is_set() or followed.account_id != account_id:
                continue
            if topic.startswith(ACCOUNT):
                events = await self._missing.after(topic, account_id, followed.positions.get(topic, 0))
                if events:
                    self._note(topic, topic, events[-1].seq or 0)
            elif topic.startswith(INBOX):
                inboxes[int(topic.removeprefix(INBOX))] = followed
        if not inboxes:
            return
        since = min(followed.checked for followed in inboxes.values()) - self._skew
        for row in await self._missing.changed(account_id, list(inboxes), since):
            if row.updated_at >= inboxes[row.inbox_id].checked - self._skew:
                self._note(f"{INBOX}{row.inbox_id}", f"{CONVERSATION}{row.id}", row.last_seq)
        for followed in inboxes.values():
            followed.checked = max(followed.checked, began)
