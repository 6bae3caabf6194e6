"""Commands on their way to Redis. In: `publish` and `command` of the bus. Out: one round trip at a time.

While a batch is on its way, the next one collects: what is submitted in one turn of trio's loop goes out together, and
the busier the server, the larger the batch. A command that waits for its reply, and a payload that waits for none, go
the same way, in the order of submission. When nothing is to be said, a PING finds out whether anybody listens.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import trio
from redis.exceptions import ResponseError

from ..engine.errors import Unavailable
from .bridge import Bridge
from .redis_limits import BusLimits
from .redis_link import RedisLink, Word, packed

logger = logging.getLogger("tertulia.redis")

AWAY = "Redis is away; try again later."
PUBLISH = b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"  # as `packed` makes it, in one step


class Waiting:
    """One command, and where its reply goes. `unheard` is called where a payload reached nobody."""

    __slots__ = ("answered", "error", "packed", "reply", "unheard")

    def __init__(
        self, command: bytes, answered: trio.Event | None = None, unheard: Callable[[], None] | None = None
    ) -> None:
        self.packed = command
        self.answered = answered
        self.unheard = unheard
        self.reply: Any = None
        self.error: Exception | None = None

    def settle(self, reply: Any) -> None:
        if self.unheard is not None and reply == 0:
            self.unheard()
        if self.answered is not None:
            if isinstance(reply, Exception):
                self.error = reply
            else:
                self.reply = reply
            self.answered.set()


class Outgoing:
    """The one sender of a bus."""

    def __init__(self, bridge: Bridge, limits: BusLimits) -> None:
        self._bridge = bridge
        self._limits = limits
        self._queue: deque[Waiting] = deque()
        self._bytes = 0
        self._wake = trio.Event()
        self._idle = trio.Event()
        self._overflowing = False
        self._open = False
        self.dropped = 0  # payloads

    def begin(self) -> None:
        """Take commands from now on, for a `run` that is about to begin."""
        self._open = True

    def publish(self, channel: bytes, payload: bytes, unheard: Callable[[], None] | None = None) -> None:
        """Queue a payload, if there is room. `unheard` is called in trio when Redis says that it reached nobody."""
        if self._open and not self._full():
            self._put(Waiting(PUBLISH % (len(channel), channel, len(payload), payload), unheard=unheard))
        else:
            self.dropped += 1

    async def ask(self, words: Sequence[Word]) -> Any:
        """Queue a command and wait for its reply. Raises Unavailable."""
        if not self._open:
            raise Unavailable(AWAY)
        if self._full():
            raise Unavailable("Too much waits to be sent to Redis; try again later.")
        answered = trio.Event()
        waiting = Waiting(packed(words), answered)
        self._put(waiting)
        await answered.wait()
        if isinstance(waiting.error, ResponseError):
            raise Unavailable(f"Redis refused {words[0]!r}: {waiting.error}")
        if waiting.error is not None:
            raise waiting.error
        return waiting.reply

    async def run(self, link: RedisLink) -> None:
        """Send until the link is lost; whatever waits then is given up.

        Raises:
            Unavailable: it is lost.
        """
        try:
            while True:
                if not self._queue:
                    self._idle.set()
                    with trio.move_on_after(self._limits.ping_interval):
                        await self._wake.wait()
                await self._send(link, self._take() or [Waiting(packed(["PING"]))])
        finally:
            self._open = False
            self._give_up(self._queue)
            self._queue.clear()
            self._bytes = 0
            self._idle.set()

    async def sent(self) -> None:
        """Wait until nothing waits."""
        await self._idle.wait()

    async def _send(self, link: RedisLink, batch: list[Waiting]) -> None:
        replies: list[Any] = []
        try:
            with trio.fail_after(self._limits.answer_timeout):
                replies = await self._bridge.call(link.exchange, [item.packed for item in batch], len(batch))
        except trio.TooSlowError:
            raise Unavailable(f"Redis did not answer within {self._limits.answer_timeout:g} seconds.") from None
        finally:
            for item, reply in zip(batch, replies, strict=False):
                item.settle(reply)
            self._give_up(batch[len(replies) :])

    def _put(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._bytes += len(waiting.packed)
        self._wake.set()
        if self._idle.is_set():
            self._idle = trio.Event()

    def _take(self) -> list[Waiting]:
        self._wake = trio.Event()
        batch: list[Waiting] = []
        while self._queue and len(batch) < self._limits.commands_per_batch:
            item = self._queue.popleft()
            self._bytes -= len(item.packed)
            batch.append(item)
        return batch

    def _full(self) -> bool:
        full = self._bytes >= self._limits.outgoing_bytes
        if full and not self._overflowing:
            logger.warning("more than %d bytes wait to be sent to Redis; payloads are dropped", self._bytes)
        self._overflowing = full
        return full

    @staticmethod
    def _give_up(items: Sequence[Waiting] | deque[Waiting]) -> None:
        for item in items:
            item.settle(Unavailable(AWAY))
