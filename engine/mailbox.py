"""Mail for one key. In: envelopes from `directory`. Out: batches for the turns of `cell`.

A mailbox has three lanes with bounds of their own, drained by weight so that none starves. Nothing here ever waits: a
full command or job lane refuses at the sender, a full broadcast lane forgets its oldest event. The mailbox belongs to
the key and outlives every incarnation of the actor, so that a crash or a passivation cannot lose mail.

The lanes are lists that exist only while they hold mail: a turn takes a whole lane at once or cuts off its head, which
for the bounds here moves a few kilobytes, and the mailbox of a parked actor weighs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, Protocol

import msgspec

from .config import MailboxLimits
from .errors import DeadlineExceeded, Overloaded

NEVER = float("inf")


class Lane(IntEnum):
    """Which of a key's queues an envelope waits in."""

    COMMANDS = 0  # somebody waits for the answer
    JOBS = 1  # background work, pulled only while there is room
    BROADCASTS = 2  # ephemeral: typing, presence


class Caller(Protocol):
    """Whoever waits for the answer to one envelope. Exactly one of the two methods is called, once."""

    def resolve(self, value: Any) -> None: ...

    def refuse(self, error: Exception) -> None: ...


class Envelope(msgspec.Struct, eq=False, gc=False):
    """One message on its way to an actor.

    `deadline` is an instant of trio's clock: work that is expired, abandoned or answered (deadline 0) never starts, and
    a reply that comes too late is dropped, as with the process aliases of Erlang (EEP-53). `chain` holds the addresses
    of the actors that wait for the answer, to find deadlocks.

    Not for the collector: thousands are under way at once, and it would look at each again and again. An answer lets go
    of the caller, which may refer to the envelope; a message must not refer to the engine that it is sent through.
    """

    message: Any
    deadline: float
    caller: Caller | None = None
    chain: tuple[object, ...] = ()
    attempts: int = 0  # how often it crashed its actor, alone
    reruns: int = 0  # how often its result could not be committed because the state was stale

    def __repr__(self) -> str:
        return f"<envelope with a {type(self.message).__name__}>"  # what people wrote is not for logs

    def resolve(self, value: Any) -> None:
        """Answer. Whoever has been answered already, or has gone away, gets nothing."""
        self.deadline = 0.0  # a crash later in the batch must not run it again
        caller = self.caller
        if caller is not None:
            self.caller = None
            caller.resolve(value)

    def refuse(self, error: Exception) -> None:
        """Answer with an error. Whoever has been answered already, or has gone away, gets nothing."""
        self.deadline = 0.0
        caller = self.caller
        if caller is not None:
            self.caller = None
            caller.refuse(error)

    def abandon(self) -> None:
        """The caller went away: do not start the work; if it has started, drop the reply."""
        self.caller = None
        self.deadline = 0.0


class Alarm(Envelope):
    """What an incarnation mails to itself by `Context.after`. Nobody else sent it, and nobody else may get it."""

    incarnation: int = 0


class Mailbox:
    """Three bounded lanes, and before them what an earlier turn left: the suspects of a crash, and unfinished mail."""

    __slots__ = ("_lanes", "_limits", "_rest", "size", "soonest", "suspects")

    def __init__(self, limits: MailboxLimits) -> None:
        self._lanes: list[list[Envelope] | None] = [None, None, None]
        self._limits = limits
        self._rest: list[Envelope] | None = None
        self.suspects: list[Envelope] = []  # run first and one by one
        self.size = 0
        self.soonest = NEVER  # no deadline of the key's mail is earlier: a sweep before this instant has nothing to do

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Envelope]:
        for queue in (self.suspects, self._rest, *self._lanes):
            yield from queue or ()

    @property
    def left(self) -> bool:
        """Whether an earlier turn left some of its mail."""
        return bool(self.suspects or self._rest)

    def room(self, lane: Lane) -> int:
        """How many envelopes the lane still takes."""
        return self._limits.bounds[lane] - len(self._lanes[lane] or ())

    def offer(self, envelope: Envelope, lane: Lane) -> bool:
        """Put an envelope at the end of its lane; False where the oldest of a full broadcast lane had to go for it.

        Raises:
            Overloaded: the command or job lane is full; nothing was accepted.
        """
        queue = self._lanes[lane]
        grows = True
        if queue is None:
            self._lanes[lane] = [envelope]
        elif len(queue) < self._limits.bounds[lane]:
            queue.append(envelope)
        elif lane is Lane.BROADCASTS:
            queue.pop(0).refuse(Overloaded())
            queue.append(envelope)
            grows = False
        else:
            raise Overloaded
        self.size += grows
        if envelope.deadline < self.soonest:
            self.soonest = envelope.deadline
        return grows

    def put_back(self, envelopes: list[Envelope]) -> int:
        """Let accepted envelopes run again, alone and in their order, before everything else.

        What has been answered or abandoned meanwhile is left out. Returns how many were taken.
        """
        alive = [envelope for envelope in envelopes if envelope.deadline > 0]
        self.suspects[:0] = alive
        self.size += len(alive)
        self.soonest = 0.0
        return len(alive)

    def put_first(self, envelopes: list[Envelope]) -> None:
        """Let the part of a batch for which its turn had no time be the next batch."""
        self._rest = [*envelopes, *(self._rest or ())]
        self.size += len(envelopes)

    def take(self, now: float) -> list[Envelope]:
        """The next batch: one suspect, or up to the turn's share of every lane. Expired work is refused."""
        if self.suspects:
            batch = [self.suspects.pop(0)]
        elif self._rest is not None:
            batch, self._rest = self._rest, None
        else:
            batch = self._take_shares()
        self.size -= len(batch)
        for envelope in batch:
            if envelope.deadline <= now:
                return _refuse_expired(batch, now)
        return batch

    def _take_shares(self) -> list[Envelope]:
        batch: list[Envelope] | None = None
        lanes = self._lanes
        for lane, share in enumerate(self._limits.shares):
            queue = lanes[lane]
            if queue is None:
                continue
            if len(queue) <= share:
                part = queue
                lanes[lane] = None
            else:
                part = queue[:share]
                del queue[:share]
            if batch is None:
                batch = part
            else:
                batch += part
        return batch or []

    def expire(self, now: float) -> int:
        """Refuse and remove what waited past its deadline; returns how many left."""
        before = self.size
        self._keep(lambda queue: _refuse_expired(queue, now))
        self.soonest = min((envelope.deadline for envelope in self), default=NEVER)
        return before - self.size

    def silence_alarms(self) -> int:
        """Remove what an incarnation had mailed to itself; returns how many left."""
        before = self.size
        if not before:
            return 0  # as it is for every actor that is passivated
        self._keep(lambda queue: [envelope for envelope in queue if not isinstance(envelope, Alarm)])
        return before - self.size

    def clear(self) -> list[Envelope]:
        """Empty the mailbox and return what was in it."""
        if not self.size:
            return []
        everything = list(self)
        self._keep(lambda _: [])
        return everything

    def _keep(self, part: Callable[[list[Envelope]], list[Envelope]]) -> None:
        self.suspects = part(self.suspects)
        self._rest = part(self._rest or []) or None
        self._lanes = [part(queue or []) or None for queue in self._lanes]
        self.size = sum(1 for _ in self)


def _refuse_expired(batch: list[Envelope], now: float) -> list[Envelope]:
    """What of the batch has time left; the rest is refused."""
    alive: list[Envelope] = []
    for envelope in batch:
        if envelope.deadline > now:
            alive.append(envelope)
        else:
            envelope.refuse(DeadlineExceeded())
    return alive
