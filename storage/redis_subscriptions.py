"""Followed channels. In: `follow` of the bus, and what Redis pushes. Out: lists of (channel, payload), for trio.

What is followed is a wish (`_names`); what changed in it since the last sending goes to Redis in one command each way.
Redis answers in order, so a PING behind the commands is a fence: when its token comes back, every subscription before
it holds. The same PING, at times when nothing changes, finds out whether this connection still carries anything: a
frozen server, or a cable that was pulled, says nothing at all.

Messages are read on the asyncio side into a queue, which trio's thread empties in one go: the busier the thread, the
longer the lists.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

import trio
from redis.exceptions import ResponseError

from ..engine.errors import Unavailable
from .bridge import Bridge
from .bus import Received
from .redis_limits import BusLimits
from .redis_link import RedisLink, packed


class Fence:
    """One PING on its way, and who waits for what was sent before it."""

    __slots__ = ("confirmed", "passed")

    def __init__(self) -> None:
        self.passed = trio.Event()
        self.confirmed = False

    def settle(self, confirmed: bool) -> None:
        self.confirmed = confirmed
        self.passed.set()


class Subscriptions:
    """What one node follows, across connections."""

    def __init__(self, bridge: Bridge, limits: BusLimits, take: Callable[[Received], None]) -> None:
        """`take` is called in trio's thread with every list of messages, and must not raise."""
        self._bridge = bridge
        self._received = take
        self._limits = limits
        self._names: dict[bytes, str] = {}  # what is followed: the channel in Redis, and its name
        self._changed: dict[bytes, None] = {}  # what Redis has not been told
        self._collecting: Fence | None = None
        self._flying: Fence | None = None
        self._open = False
        self._token = 0
        self._wake = trio.Event()
        self._inbox: deque[bytes | list[Any]] = deque()  # filled in the other thread, emptied in this one
        self._armed = False
        self._heard = 0  # replies, counted in the other thread
        self._trio = trio.lowlevel.current_trio_token()
        self.received = 0  # messages

    def add(self, channels: Iterable[str]) -> None:
        for name in channels:
            raw = self._raw(name)
            if raw not in self._names:
                self._names[raw] = name
                self._change(raw)

    def remove(self, channels: Iterable[str]) -> None:
        for name in channels:
            raw = self._raw(name)
            if self._names.pop(raw, None) is not None:
                self._change(raw)

    async def confirmed(self) -> bool:
        """Wait until Redis knows all that is followed now; False where the connection was lost meanwhile."""
        if not self._open:
            return False
        if self._changed:
            fence = self._collecting = self._collecting or Fence()
        elif self._flying is not None:
            fence = self._flying
        else:
            return True
        await fence.passed.wait()
        return fence.confirmed

    @property
    def pending(self) -> bool:
        """Whether there is something followed that Redis has not confirmed."""
        return bool(self._changed) or self._flying is not None

    def begin(self) -> None:
        """Follow everything, for a `run` that is about to begin: a new connection knows nothing yet."""
        self._changed = dict.fromkeys(self._names)
        self._open = True

    async def run(self, link: RedisLink) -> None:
        """Send changes and look after the link until it is lost.

        Raises:
            Unavailable: it is lost.
        """
        try:
            while True:
                if not self._changed:
                    self._wake = trio.Event()
                    with trio.move_on_after(self._limits.ping_interval):
                        await self._wake.wait()
                await self._send_changes(link)
        finally:
            self._open = False
            self._changed = {}
            for fence in (self._flying, self._collecting):
                if fence is not None:
                    fence.settle(False)
            self._flying = self._collecting = None

    async def read(self, link: RedisLink) -> None:
        """Take in what Redis pushes until the link is lost. Raises Unavailable."""
        await self._bridge.call(self._read, link)

    async def _send_changes(self, link: RedisLink) -> None:
        self._flying, self._collecting = self._collecting or Fence(), None
        changed, self._changed = self._changed, {}
        self._token += 1
        commands = self._command("SUBSCRIBE", [raw for raw in changed if raw in self._names])
        commands += self._command("UNSUBSCRIBE", [raw for raw in changed if raw not in self._names])
        commands.append(packed(["PING", self._token]))
        with trio.move_on_after(self._limits.answer_timeout) as patience:
            await self._bridge.call(link.send, commands)
        if not patience.cancelled_caught:
            await self._pass(self._flying)
        if not self._flying.confirmed:
            raise Unavailable(f"Redis did not answer within {self._limits.answer_timeout:g} seconds.")
        self._flying = None

    async def _pass(self, fence: Fence) -> None:
        """Wait for the fence, as long as anything comes: before it there may be more than can be taken in at once."""
        heard = -1
        while not fence.confirmed and (self._inbox or heard != self._heard):
            heard = self._heard
            with trio.move_on_after(self._limits.answer_timeout):
                await fence.passed.wait()

    def _command(self, word: str, channels: Collection[bytes]) -> list[bytes]:
        rest = list(channels)
        size = self._limits.channels_per_command
        return [packed([word, *rest[start : start + size]]) for start in range(0, len(rest), size)]

    async def _read(self, link: RedisLink) -> None:
        # On the asyncio side. `_armed` is set after the item is there, and taken back before the queue is emptied, so
        # that an item is never left behind.
        try:
            while True:
                self._inbox.append(await link.read())
                self._heard += 1
                if not self._armed:
                    self._armed = True
                    self._bridge.deliver(self._empty_inbox)
                while len(self._inbox) >= self._limits.incoming:
                    await self._bridge.sleep(self._limits.incoming_pause)
        except ResponseError as error:
            raise Unavailable(f"Redis refused a subscription: {error}") from error

    def _empty_inbox(self) -> None:
        self._armed = False
        inbox = self._inbox
        messages: list[tuple[str, bytes]] = []
        for _ in range(min(len(inbox), self._limits.received_per_turn)):
            reply = inbox.popleft()
            if not isinstance(reply, list):  # to a PING, as long as nothing is subscribed
                self._answered(reply)
            elif reply[0] == b"message":
                name = self._names.get(reply[1])
                if name is not None:
                    messages.append((name, reply[2]))
            elif reply[0] == b"pong":
                self._answered(reply[1])
        if messages:
            self.received += len(messages)
            self._received(messages)
        if inbox and not self._armed:
            self._armed = True
            self._trio.run_sync_soon(self._empty_inbox)

    def _answered(self, token: bytes) -> None:
        if self._flying is not None and token == b"%d" % self._token:
            self._flying.settle(True)

    def _change(self, raw: bytes) -> None:
        if self._open:  # or else `begin` will look at everything
            self._changed[raw] = None
            self._wake.set()

    def _raw(self, name: str) -> bytes:
        return f"{self._limits.prefix}{name}".encode()
