"""What a node knows of a topic that it follows: how far its streams have come."""

from __future__ import annotations

import trio

from ..engine.errors import TertuliaError


class Fill:
    """The store is being read, up to `target`. A stream without a position had not changed after `since`."""

    __slots__ = ("done", "since", "target")

    def __init__(self, target: int, since: int) -> None:
        self.target = target
        self.since = since
        self.done = trio.Event()


class Followed:
    """One topic. `idle_since` is on trio's clock, the other instants are in milliseconds."""

    __slots__ = ("account_id", "checked", "failure", "filling", "idle_since", "positions", "ready", "since")

    def __init__(self, account_id: int, since: int, now: float) -> None:
        self.account_id = account_id
        #: A stream without a position has not changed after this instant, as far as is known.
        self.since = since
        #: Up to this instant, the store was asked what has changed.
        self.checked = since
        self.idle_since = now
        self.ready = trio.Event()
        self.failure: TertuliaError | None = None
        #: The last seq of each stream that this node's subscribers were told. An inbox has a stream per conversation.
        self.positions: dict[str, int] = {}
        self.filling: dict[str, Fill] = {}
