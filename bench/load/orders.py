"""What the processes of the load generator are told, and answer. An order ends by its own rule, then the next comes.

Sending by rate or window goes on while other orders are carried out, until `Hush`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from .marks import Completeness
from .tally import Tally


@dataclass(frozen=True, slots=True)
class Open:
    """Connect all that are not connected, so many at once, until all are through their greeting."""

    at_once: int
    timeout: float  # seconds


@dataclass(frozen=True, slots=True)
class Start:
    """Paced senders send so many messages a second together; or, without a rate, the others as fast as they may."""

    rate: float | None


@dataclass(frozen=True, slots=True)
class Hush:
    """Nobody sends anything more."""


@dataclass(frozen=True, slots=True)
class Run:
    """Go on until then, and count: the answer's tally is of this time alone."""

    until: int | None  # nanoseconds of the monotonic clock; None: until the next order comes


@dataclass(frozen=True, slots=True)
class Say:
    """The senders in these rooms that are not paced send so many messages each."""

    rooms: range
    each: int
    timeout: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Those without a sender's number in these rooms lose their connection."""

    rooms: range


@dataclass(frozen=True, slots=True)
class Resume:
    """All that were dropped come back at once, each from its position, until each is through its greeting.

    Who is turned away tries again a little later.
    """

    timeout: float


@dataclass(frozen=True, slots=True)
class Settle:
    """Wait until everybody has everything that was sent, or nothing has come for so many seconds.

    `totals` are by room, then by sender.
    """

    totals: Mapping[int, Mapping[int, int]]
    timeout: float


@dataclass(frozen=True, slots=True)
class Wake:
    """Those who never read begin to, until each was closed or has everything, or nothing has come for so many seconds.

    `totals` are by room, then by sender.
    """

    totals: Mapping[int, Mapping[int, int]]
    timeout: float


Order: TypeAlias = Open | Start | Hush | Run | Say | Drop | Resume | Settle | Wake


@dataclass(frozen=True, slots=True)
class Done:
    """The answer to every order.

    Attributes:
        tally: what was counted since the last answer.
        unready: connections that read and are not through their greeting.
        totals: messages sent so far, by room, then by sender.
        completeness: after `Settle`.
        let_go: after `Wake`, how many of those who never read were closed by the server.
    """

    tally: Tally
    unready: int
    totals: Mapping[int, Mapping[int, int]]
    completeness: Completeness
    let_go: int = 0
