"""Losses that no later event shows. In: time, and the bus's return. Out: `SharedHub.note`.

The last message of a quiet conversation may be lost on the bus, and nothing would ever tell: so every few seconds, and
at once when the bus is back, the store is asked how far the followed streams have come.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice

import trio

from ..engine.errors import TertuliaError
from ..storage.contracts import Reads
from .cluster_limits import ClusterLimits
from .entities import WallClock
from .missing import CONVERSATION, INBOX, MissingEvents
from .shared_hub import SharedHub

logger = logging.getLogger("tertulia.position_check")

#: Streams that are asked about in one query.
AT_ONCE = 1000


class PositionCheck:
    """Compares what subscribers were told with what the store has."""

    def __init__(self, hub: SharedHub, reads: Reads, wall_clock: WallClock, limits: ClusterLimits) -> None:
        self._hub = hub
        self._skew = int(limits.clock_skew * 1000)
        self._missing = MissingEvents(reads, self._skew)
        self._wall_clock = wall_clock
        self._limits = limits
        self._asked = trio.Event()

    def soon(self) -> None:
        """Something may have been lost: look now."""
        self._asked.set()

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            with trio.move_on_after(self._limits.position_check):
                await self._asked.wait()
            self._asked = trio.Event()
            try:
                await self.check()
            except TertuliaError as error:
                logger.warning("the positions of what is followed cannot be checked: %s", error.detail)
            except Exception:  # the next check may be luckier; the engine goes on
                logger.exception("the positions of what is followed cannot be checked")
            self._hub.unfollow_idle()

    async def check(self) -> None:
        """Look at every followed topic.

        Raises:
            Unavailable: the store does not answer.
        """
        conversations: dict[int, list[str]] = {}
        others: dict[int, list[str]] = {}
        for topic, followed in self._hub.followed.items():
            if followed.ready.is_set():
                kind = conversations if topic.startswith(CONVERSATION) else others
                kind.setdefault(followed.account_id, []).append(topic)
        for account_id, topics in others.items():
            await self._hub.look(topics, account_id)
            for topic in topics:
                await self._forget_quiet(topic)
        for account_id, streams in conversations.items():
            for some in _slices(streams, AT_ONCE):
                for stream, seq in (await self._missing.last_seqs(account_id, some)).items():
                    self._hub.note(stream, stream, seq)

    async def _forget_quiet(self, topic: str) -> None:
        """Bound what is known of an inbox: a conversation that has not changed of late needs no position, because the
        store can tell it from the time."""
        followed = self._hub.followed.get(topic)
        if followed is None or not topic.startswith(INBOX) or len(followed.positions) <= self._limits.followed_streams:
            return
        # Up to `checked`, whatever has changed is known: it has a position, or is being read.
        since = followed.checked
        before = dict(followed.positions)
        inbox_ids = [int(topic.removeprefix(INBOX))]
        rows = await self._missing.changed(followed.account_id, inbox_ids, since - self._skew)
        recent = {f"{CONVERSATION}{row.id}" for row in rows}
        followed.since = since
        followed.positions = {
            stream: seq
            for stream, seq in followed.positions.items()
            if stream in recent or stream in followed.filling or before.get(stream) != seq
        }


def _slices(items: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
