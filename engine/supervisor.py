"""Who is to blame for a crash, when to restart, and when to give up on a key. Pure: instants come in, verdicts go out.

The rule is OTP's restart intensity (more than `max_restarts` within `period` is too many), counted per key, with the
exponential back-off that OTP leaves to others. What counts is decided by a trial:

    crash in a batch    blames nobody: its envelopes are suspects and run again one by one
      one crashes alone     it explains the crash, and stands trial itself
      all run through       no message explains the crash: it counts
      some went away        (expired, abandoned) nothing can be said: it does not count
    crash of one alone  it runs once more
      crashes again         poison: to the dead letters; the key is innocent
      runs through          it was not the message: the crash counts
    crash without mail  (activation, a timer, a failed commit) counts at once

So a user cannot switch a conversation off by sending poison, and an actor that is broken cannot hide behind its users.
Errors of the infrastructure (`Unavailable`, `StaleWrite`, `Overloaded`, `Draining`) count against nobody: the key backs
off and tries again, and callers fail by their own deadlines.
"""

from __future__ import annotations

import random
from typing import cast

import trio

from .config import Supervision
from .errors import ActorFailed, Draining, Overloaded, StaleWrite, Unavailable
from .mailbox import Alarm, Envelope


class Supervisor:
    """The record of one key's crashes."""

    __slots__ = ("_judged", "_limits", "_restarts", "_streak", "_suspects", "_trial")

    def __init__(self, limits: Supervision) -> None:
        self._limits = limits
        self._restarts: list[float] = []  # when what counts happened
        self._streak = 0  # crashes since a turn last stood: what the back-off grows with
        self._judged = False  # whether the crash that now ends the incarnation is being tried
        self._trial: tuple[float, Exception] | None = None
        self._suspects: set[Envelope] = set()

    def blame(self, crash: Exception, batch: list[Envelope], now: float) -> Envelope | None:
        """A turn with this batch crashed. Returns the envelope that is poison, None where none is (yet).

        An envelope that an incarnation mailed to itself cannot be blamed: it is the actor's own doing.
        """
        if is_infrastructure(crash):
            return None
        suspects = {envelope for envelope in batch if not isinstance(envelope, Alarm)}
        if not suspects:
            return None
        self._judged = True
        self._trial, self._suspects = (now, crash), suspects
        if len(batch) > 1:
            return None
        (envelope,) = batch
        envelope.attempts += 1
        if envelope.attempts < self._limits.poison_attempts:
            return None
        self._close()
        self._streak = 0  # the reason is gone: neighbours need not wait long
        return envelope

    def acquit(self, batch: list[Envelope], now: float) -> Exception | None:
        """This batch ran through. Returns the crash that now exhausts the key's intensity, None where none does.

        A suspect that went away is never acquitted: its trial stays open, and uncounted, until the next one begins.
        """
        if self._trial is None:
            return None
        self._suspects.difference_update(batch)
        if self._suspects:
            return None
        at, crash = self._trial
        self._close()
        return crash if self._exhausts(at, now) else None

    def crashed(self, crash: Exception, now: float) -> bool:
        """An incarnation ended by a crash. Returns whether that exhausts the key's intensity."""
        self._streak += 1
        judged, self._judged = self._judged, False
        return not judged and not is_infrastructure(crash) and self._exhausts(now, now)

    def recovered(self) -> None:
        """A turn stood: the next back-off is the shortest again."""
        self._streak = 0

    def backoff(self) -> float:
        """Seconds until the next restart: `min_backoff` doubled with every crash in a row, capped, then jittered.

        Jitter only shortens, so that `max_backoff` holds; keys that crashed together do not come back together.
        """
        limits = self._limits
        doublings = min(max(self._streak - 1, 0), 30)
        delay = min(limits.max_backoff, limits.min_backoff * 2.0**doublings)
        return delay * random.uniform(1 - limits.jitter, 1)

    def _exhausts(self, at: float, now: float) -> bool:
        since = now - self._limits.period
        self._restarts = [when for when in (*self._restarts, at) if when >= since]
        return len(self._restarts) > self._limits.max_restarts

    def _close(self) -> None:
        self._trial = None
        self._suspects = set()


def is_infrastructure(error: Exception) -> bool:
    """Whether the error says nothing about the message or the actor."""
    if isinstance(error, ExceptionGroup):
        parts = cast("ExceptionGroup[Exception]", error).exceptions
        return all(is_infrastructure(part) for part in parts)
    return isinstance(error, Unavailable | StaleWrite | Overloaded | Draining) and not isinstance(error, ActorFailed)


def crash_of(error: BaseException) -> Exception | None:
    """What is left of an error without cancellations; None where that is no crash but a reason to stop."""
    if isinstance(error, BaseExceptionGroup):
        rest = cast("BaseExceptionGroup[BaseException]", error).split(trio.Cancelled)[1]
        return rest if isinstance(rest, Exception) else None
    return error if isinstance(error, Exception) else None
