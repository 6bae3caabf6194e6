"""Mail for one key. In: envelopes from `directory`. Out: batches for `supervisor`'s turns.

A mailbox has three lanes with bounds of their own, drained by weight so that none starves. Nothing here ever waits: a full
command or job lane refuses at the sender, a full broadcast lane forgets its oldest event. The mailbox belongs to the key
and outlives every incarnation of the actor, so that a crash or a passivation cannot lose mail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Protocol

from .config import MailboxLimits
from .errors import DeadlineExceeded, Overloaded


class Lane(IntEnum):
    COMMANDS = 0  # somebody waits for the answer
    JOBS = 1  # background work, pulled only while there is room
    BROADCASTS = 2  # ephemeral: typing, presence


class Caller(Protocol):
    """Whoever waits for the answer to one envelope. Exactly one of the two methods is called, once."""

    def resolve(self, value: Any) -> None: ...

    def refuse(self, error: Exception) -> None: ...


class Envelope:
    """One message on its way to an actor.

    `deadline` is an instant of trio's clock: work that is expired or abandoned (deadline 0) never starts, and a reply that
    comes too late is dropped. `chain` holds the keys of the actors that wait for the answer, to find deadlocks.
    """

    __slots__ = ("attempts", "caller", "chain", "deadline", "message", "reruns")

    def __init__(
        self, message: Any, deadline: float, caller: Caller | None = None, chain: tuple[object, ...] = ()
    ) -> None:
        self.message = message
        self.deadline = deadline
        self.caller = caller
        self.chain = chain
        self.attempts = 0  # how often it crashed its actor, alone
        self.reruns = 0  # how often its result could not be committed because the state was stale

    def resolve(self, value: Any) -> None:
        self.deadline = 0.0  # answered: a crash later in the batch must not run it again
        caller = self.caller
        if caller is not None:
            self.caller = None
            caller.resolve(value)

    def refuse(self, error: Exception) -> None:
        self.deadline = 0.0
        caller = self.caller
        if caller is not None:
            self.caller = None
            caller.refuse(error)

    def abandon(self) -> None:
        """The caller went away: do not start the work; if it has started, drop the reply."""
        self.caller = None
        self.deadline = 0.0


class Mailbox:
    """Three bounded lanes and the suspects of a crash, which run first and one by one."""

    __slots__ = ("_lanes", "_limits", "dropped", "size", "suspects")

    def __init__(self, limits: MailboxLimits) -> None:
        # An empty deque weighs 760 bytes: a lane exists from its first envelope on.
        self._lanes: list[deque[Envelope] | None] = [None, None, None]
        self._limits = limits
        self.suspects: deque[Envelope] = deque()
        self.size = 0
        self.dropped = 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Envelope]:
        yield from self.suspects
        for lane in self._lanes:
            yield from lane or ()

    def room(self, lane: Lane) -> int:
        """How many envelopes the lane still takes."""
        queue = self._lanes[lane]
        limits = self._limits
        bound = (limits.commands, limits.jobs, limits.broadcasts)[lane]
        return bound - len(queue) if queue is not None else bound

    def offer(self, envelope: Envelope, lane: Lane) -> None:
        """Put an envelope at the end of its lane.

        Raises:
            Overloaded: the command or job lane is full; nothing was accepted.
        """
        queue = self._lanes[lane]
        if queue is None:
            queue = self._lanes[lane] = deque()
        elif self.room(lane) <= 0:
            if lane is not Lane.BROADCASTS:
                raise Overloaded
            queue.popleft()
            self.size -= 1
            self.dropped += 1
        queue.append(envelope)
        self.size += 1

    def put_back(self, envelopes: list[Envelope]) -> None:
        """Let accepted envelopes run again, alone and in their order, before everything else."""
        self.suspects.extendleft(reversed(envelopes))
        self.size += len(envelopes)

    def take(self, now: float) -> list[Envelope]:
        """The next batch: one suspect, or up to the turn's share of every lane. Expired work is refused."""
        if self.suspects:
            self.size -= 1
            batch = [self.suspects.popleft()]
        else:
            limits = self._limits
            shares = (limits.commands_per_turn, limits.jobs_per_turn, limits.broadcasts_per_turn)
            batch = []
            for queue, share in zip(self._lanes, shares, strict=True):
                if queue:
                    if len(queue) <= share:
                        batch.extend(queue)
                        queue.clear()
                    else:
                        batch.extend([queue.popleft() for _ in range(share)])
            self.size -= len(batch)
        alive = [envelope for envelope in batch if envelope.deadline > now]
        if len(alive) != len(batch):
            for envelope in batch:
                if envelope.deadline <= now:
                    envelope.refuse(DeadlineExceeded())
        return alive

    def expire(self, now: float) -> list[Envelope]:
        """Remove and return what waited past its deadline."""
        expired: list[Envelope] = []
        for queue in (self.suspects, *self._lanes):
            if queue and any(envelope.deadline <= now for envelope in queue):
                expired.extend(envelope for envelope in queue if envelope.deadline <= now)
                kept = [envelope for envelope in queue if envelope.deadline > now]
                queue.clear()
                queue.extend(kept)
        self.size -= len(expired)
        return expired

    def clear(self) -> list[Envelope]:
        """Empty all lanes and return what was in them."""
        everything = list(self)
        for queue in (self.suspects, *self._lanes):
            if queue:
                queue.clear()
        self.size = 0
        return everything
