"""Every error that Tertulia raises on purpose, as one tree.

    TertuliaError
    +-- Overloaded          a queue is full: retry after `retry_after` seconds
    +-- Draining            the engine takes no new mail
    +-- Unavailable         the store or the actor cannot answer now
    |   +-- OutcomeUnknown      the store's answer was lost
    |   +-- ActorFailed         the key is quarantined after too many restarts
    |   +-- DeadlineExceeded    the answer did not come in time; the outcome is unknown
    +-- TurnTooLong         a turn ran into its time limit and was cancelled
    +-- Deadlock            actors ask each other in a circle
    +-- Escalated           too many keys failed at once: the engine stops
    +-- StaleWrite          somebody else moved the log: reload and run again (never leaves the engine)
    +-- Refusal             the answer to a request is no
        +-- Unauthenticated, Denied, NotFound, Invalid, Conflict, RateLimited, TooLarge

A class is a name and one sentence, which is its default message. `code` is what goes over the wire; a code is never
given a second meaning. `temporary` tells a client that the same request may succeed later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class TertuliaError(Exception):
    """Something went wrong inside the engine."""

    code: ClassVar[str] = "internal"
    temporary: ClassVar[bool] = False

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or (self.__doc__ or "").strip().splitlines()[0])

    @property
    def detail(self) -> str:
        return str(self.args[0])


class Overloaded(TertuliaError):
    """Too much is waiting here; try again in a moment."""

    code = "overloaded"
    temporary = True

    def __init__(self, detail: str | None = None, *, retry_after: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Draining(TertuliaError):
    """The server is shutting down; reconnect and try again."""

    code = "server_restart"
    temporary = True


class Unavailable(TertuliaError):
    """The service cannot answer now; try again later."""

    code = "unavailable"
    temporary = True


class OutcomeUnknown(Unavailable):
    """The store was asked to write, and its answer was lost: what was written will be seen when it answers again."""


class ActorFailed(Unavailable):
    """This part of the service failed repeatedly and rests for a while; try again later."""


class DeadlineExceeded(Unavailable):
    """No answer came in time; repeat the request with the same client_id to learn its outcome."""


class TurnTooLong(TertuliaError):
    """The request took too long and was stopped; repeat it with the same client_id to learn its outcome."""


class Deadlock(TertuliaError):
    """Actors ask each other in a circle; none of them could ever answer."""

    code = "deadlock"


class Escalated(TertuliaError):
    """Too many actors failed at once; the engine stops."""

    code = "escalated"


class StaleWrite(TertuliaError):
    """The log moved on since this state was read; reload it and run the command again."""

    code = "stale"
    temporary = True


class Refusal(TertuliaError):
    """The request was understood and refused."""

    code = "refused"


class Unauthenticated(Refusal):
    """Sign in, or send a valid token."""

    code = "unauthorized"


class Denied(Refusal):
    """You may not do this."""

    code = "forbidden"


class NotFound(Refusal):
    """There is no such thing here."""

    code = "not_found"


class Conflict(Refusal):
    """This contradicts what is already there."""

    code = "conflict"


class TooLarge(Refusal):
    """This is larger than what is accepted here."""

    code = "too_large"


class Malformed(Refusal):
    """The request cannot be read."""

    code = "malformed"


class Invalid(Refusal):
    """A value is not acceptable.

    `fields` maps the path of each rejected value to the reason.
    """

    code = "invalid"

    def __init__(self, detail: str | None = None, *, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.fields: Mapping[str, str] = fields or {}


class RateLimited(Refusal):
    """You send faster than is allowed here; slow down."""

    code = "rate_limited"
    temporary = True

    def __init__(self, detail: str | None = None, *, retry_after: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
