"""What a client missed. In: positions or an instant. Out: rows of logs, the whole truth or `HistoryUnknown`, never a
part.

A position is believed only if its row is there: a client that is ahead of the store (a backup was restored) is told so
instead of fooled. A deleted conversation has lost its rows on purpose; its tombstone stands for all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ...actors.events import CONVERSATION_DELETED, Event
from ...actors.limits import ChatLimits
from ...engine.errors import Refusal
from ...engine.recovery import Gap, merge
from ...storage.contracts import AccountEventRow, LogRow, Reads
from ...storage.records import EventRow, MessageRow
from .protocol import HistoryRequest


class HistoryUnknown(Refusal):
    """What was missed cannot be told in full; begin anew."""

    code = "history_not_found"


class HistoryReader:
    """Reads the logs of one account for one request, within one bound of rows and one of text for all of them."""

    __slots__ = ("_account_id", "_characters_left", "_left", "_page", "_reads")

    def __init__(self, reads: Reads, account_id: int, limits: ChatLimits) -> None:
        self._reads = reads
        self._account_id = account_id
        self._page = limits.history_page
        self._left = limits.history_rows
        self._characters_left = limits.history_characters

    async def after_position(self, conversation_id: int, offset: int) -> Sequence[LogRow]:
        """The log from the row at `offset` on, that row included: it proves the position and names the inbox.

        Raises:
            HistoryUnknown: there is no such row, or there is too much after it.
        """
        rows = await self._log(conversation_id, max(offset - 1, 0))
        proven = offset == 0 or (rows and (rows[0].seq == offset or is_tombstone(rows[0])))
        if not proven:
            raise HistoryUnknown
        return rows

    async def last_seqs(self, conversation_ids: Collection[int]) -> Mapping[int, int]:
        return await self._reads.last_seqs(self._account_id, conversation_ids) if conversation_ids else {}

    async def since(self, conversation_id: int, instant: int) -> tuple[int, Sequence[LogRow]]:
        """The last seq before the instant, and the log after it. Raises HistoryUnknown where that is too much."""
        after = await self._reads.last_seq_before(self._account_id, conversation_id, instant)
        return after, await self._log(conversation_id, after)

    async def changed(self, inbox_ids: Sequence[int] | None, instant: int) -> Sequence[int]:
        """The conversations that changed since then. Raises HistoryUnknown where these are too many."""
        found = await self._reads.changed(self._account_id, inbox_ids, since=instant, limit=self._left + 1)
        if len(found) > self._left:
            raise HistoryUnknown
        return [conversation.id for conversation in found]

    async def account_after(self, offset: int) -> Sequence[AccountEventRow]:
        """The account's own log after a proven position. Raises HistoryUnknown."""
        rows = await self._account_log(after=max(offset - 1, 0))
        if offset == 0:
            return rows
        if not rows or rows[0].seq != offset:
            raise HistoryUnknown
        return rows[1:]

    async def account_since(self, instant: int) -> Sequence[AccountEventRow]:
        return await self._account_log(since=instant)

    async def _account_log(self, *, after: int | None = None, since: int | None = None) -> Sequence[AccountEventRow]:
        rows = await self._reads.account_log(self._account_id, after=after, since=since, limit=self._left + 1)
        self._spend(rows)
        return rows

    async def _log(self, conversation_id: int, after: int) -> Sequence[LogRow]:
        rows: list[LogRow] = []
        while True:
            page = await self._reads.log(self._account_id, conversation_id, after=after, limit=self._page)
            self._spend(page)
            rows += page
            if len(page) < self._page:
                return rows
            after = page[-1].seq

    def _spend(self, rows: Sequence[LogRow | AccountEventRow]) -> None:
        self._left -= len(rows)
        self._characters_left -= sum(map(text_size, rows))
        if self._left < 0 or self._characters_left < 0:
            raise HistoryUnknown


def text_size(row: LogRow | AccountEventRow) -> int:
    """The characters of a row, as far as its author decides how many there are."""
    if isinstance(row, MessageRow):
        return len(row.content or "") + len(row.content_attributes or "")
    return len(row.data)


def is_tombstone(row: LogRow) -> bool:
    return isinstance(row, EventRow) and row.type == CONVERSATION_DELETED


def start_of(rows: Sequence[LogRow], after: int) -> int:
    """The seq that the rows follow: `after`, or what a tombstone covers."""
    return rows[0].seq - 1 if rows and is_tombstone(rows[0]) else after


def position_in(history: HistoryRequest, stream: str, epoch: str) -> int | None:
    """The client's position in a stream, if it has one. Raises HistoryUnknown where it is of another store."""
    position = history.streams.get(stream)
    if position is None:
        return None
    if position.epoch != epoch:
        raise HistoryUnknown
    return position.offset


def merged(missed: Iterable[Event], held: Iterable[Event], positions: dict[str, int]) -> list[Event]:
    """History and live events as one sequence. Raises HistoryUnknown where something is missing."""
    events = merge(missed, held, positions)
    if isinstance(events, Gap):
        raise HistoryUnknown
    return events
