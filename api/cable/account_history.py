"""What a member missed in an account. In: the positions and the instant that its client names. Out: events by topic.

The streams that the client names are read after their positions; then every conversation that changed since the
instant, and the account's own log. All of it is bounded together, and it is the whole truth or `HistoryUnknown`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...actors.conversation import inbox_topic
from ...actors.entities import Member
from ...actors.events import Event, account_event_of, account_stream, conversation_stream, event_of
from ...actors.policies.conversation import ConversationPolicy
from ...storage.contracts import AccountEventRow, LogRow
from .history import HistoryReader, HistoryUnknown, position_in, start_of
from .ports import Surroundings
from .protocol import HistoryRequest

CONVERSATION_PREFIX = conversation_stream(0).removesuffix("0")
#: A stream's number has no more digits than this; what is longer is none of ours.
MAX_DIGITS = 18


class Missed:
    """Events that one member missed, with the positions that they follow."""

    def __init__(self, gateway: Surroundings, member: Member) -> None:
        self._gateway = gateway
        self._member = member
        self._own_stream = account_stream(member.account_id)
        self._reader = HistoryReader(gateway.reads, member.account_id, gateway.chat_limits)
        self._logs: dict[str, list[Sequence[LogRow]]] = {}  # by the inbox's topic
        self._own: Sequence[AccountEventRow] = ()
        #: The last seq that the client has of each stream.
        self.positions: dict[str, int] = {}

    async def read(self, history: HistoryRequest) -> None:
        """Raises HistoryUnknown where it cannot be told in full."""
        last_seqs = await self._reader.last_seqs(
            [_conversation_in(stream) for stream in history.streams if stream != self._own_stream]
        )
        for stream in history.streams:
            offset = position_in(history, stream, self._gateway.epoch)
            assert offset is not None
            if stream == self._own_stream:
                self._add_own(offset, await self._reader.account_after(offset))
            elif last_seqs.get(_conversation_in(stream)) == offset:
                self.positions[stream] = offset  # most of what a client has seen has not changed since
            else:
                rows = await self._reader.after_position(_conversation_in(stream), offset)
                self._add(stream, offset, rows)
        since = history.since_millis
        if since is not None:
            await self._read_since(since)
        await self._gateway.journal.published()

    def events(self, topics: Sequence[str]) -> Iterator[Event]:
        """What was missed of these topics, and nothing of others. Nothing may wait between this and going live."""
        if self._own and self._own_stream in topics:
            told = self._gateway.told(self._member.account_id, self._own[-1].seq)
            yield from (account_event_of(row) for row in self._own if row.seq <= told)
        for topic in topics:
            for rows in self._logs.get(topic, ()):
                yield from self._told(rows)

    def _told(self, rows: Sequence[LogRow]) -> Iterator[Event]:
        last = rows[-1]
        told = self._gateway.told((last.account_id, last.conversation_id), last.seq)
        return (event_of(row) for row in rows if row.seq <= told)

    async def _read_since(self, since: int) -> None:
        if self._own_stream not in self.positions:
            own = await self._reader.account_since(since)
            if own:
                self._add_own(own[0].seq - 1, own)
        access = await self._gateway.access.of(self._member.account_id)
        scope = ConversationPolicy(access, self._member).scope()
        for id in await self._reader.changed(None if scope is None else list(scope), since):
            stream = conversation_stream(id)
            if stream not in self.positions:
                after, rows = await self._reader.since(id, since)
                self._add(stream, after, rows)

    def _add(self, stream: str, after: int, rows: Sequence[LogRow]) -> None:
        self.positions[stream] = start_of(rows, after)
        missed = [row for row in rows if row.seq > after]
        if missed:
            self._logs.setdefault(inbox_topic(missed[0].inbox_id), []).append(missed)

    def _add_own(self, after: int, rows: Sequence[AccountEventRow]) -> None:
        self.positions[self._own_stream] = after
        self._own = rows


def _conversation_in(stream: str) -> int:
    """The id in a conversation's stream. Raises HistoryUnknown for any other stream."""
    digits = stream.removeprefix(CONVERSATION_PREFIX)
    if digits == stream or not (digits.isascii() and digits.isdigit()) or len(digits) > MAX_DIGITS:
        raise HistoryUnknown
    return int(digits)
