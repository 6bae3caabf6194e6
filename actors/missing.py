"""What the store says of a stream: where it is, and what came after a seq. In: topics and streams. Next: `Reads`.

A conversation's topic has one stream, and so has an account's. An inbox's topic has a stream for each conversation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..engine.errors import NotFound
from ..storage.contracts import Reads
from ..storage.records import Conversation
from .events import Event, account_event_of, event_of
from .followed import Followed

CONVERSATION = "conversation:"
ACCOUNT = "account:"
INBOX = "inbox:"

PAGE = 500  # rows read at a time
CHANGED_PAGE = 1000  # conversations looked at at a time


class MissingEvents:
    """Reads of the store on behalf of topics. `skew`: milliseconds by which the clocks of two nodes may differ."""

    def __init__(self, reads: Reads, skew: int) -> None:
        self._reads = reads
        self._skew = skew

    async def start(self, topic: str, followed: Followed) -> dict[str, int]:
        """The positions of a topic that begins to be followed: everything up to them is history.

        Raises:
            NotFound: the account has no such conversation.
            Unavailable: the store does not answer.
        """
        account_id = followed.account_id
        if topic.startswith(CONVERSATION):
            id = int(topic.removeprefix(CONVERSATION))
            seqs = await self._reads.last_seqs(account_id, [id])
            if id not in seqs:
                raise NotFound
            return {topic: seqs[id]}
        if topic.startswith(ACCOUNT):
            return {topic: await self.last_account_seq(account_id)}
        if topic.startswith(INBOX):
            rows = await self.changed(account_id, [int(topic.removeprefix(INBOX))], followed.since - self._skew)
            return {f"{CONVERSATION}{row.id}": row.last_seq for row in rows}
        return {}

    async def base(self, stream: str, followed: Followed, instant: int) -> int:
        """The last seq of a stream before an instant in milliseconds."""
        if not stream.startswith(CONVERSATION):
            return await self.last_account_seq(followed.account_id)
        id = int(stream.removeprefix(CONVERSATION))
        return await self._reads.last_seq_before(followed.account_id, id, instant)

    async def after(self, stream: str, account_id: int, seq: int) -> Sequence[Event]:
        """The next events of a stream."""
        if stream.startswith(CONVERSATION):
            rows = await self._reads.log(account_id, int(stream.removeprefix(CONVERSATION)), after=seq, limit=PAGE)
            return [event_of(row) for row in rows]
        own = await self._reads.account_log(account_id, after=seq, limit=PAGE)
        return [account_event_of(row) for row in own]

    async def changed(self, account_id: int, inbox_ids: Collection[int], since: int) -> Collection[Conversation]:
        """The conversations of these inboxes that changed at or after an instant in milliseconds."""
        found: dict[int, Conversation] = {}
        limit = CHANGED_PAGE
        while True:
            page = await self._reads.changed(account_id, inbox_ids, since=since, limit=limit)
            found.update({row.id: row for row in page})
            if len(page) < limit:
                return found.values()
            if page[-1].updated_at == since:
                limit *= 2  # a page of one instant says nothing of what comes after it
            since = page[-1].updated_at

    async def last_seqs(self, account_id: int, streams: Sequence[str]) -> dict[str, int]:
        ids = [int(stream.removeprefix(CONVERSATION)) for stream in streams]
        seqs = await self._reads.last_seqs(account_id, ids)
        return {f"{CONVERSATION}{id}": seq for id, seq in seqs.items()}

    async def last_account_seq(self, account_id: int) -> int:
        records = await self._reads.account(account_id)
        return records.account.last_seq if records is not None else 0
