"""What an actor is: state that only its own turns change.

A turn takes a batch of envelopes. An actor that answers at once overrides `receive`; one whose answers wait for a
commit overrides `handle`, hands the batch to `context.defer` and goes on with the next turn (pipelining). When a
deferred batch cannot be committed, the state in memory is wrong by definition: the actor calls `context.fail`, is
thrown away and restarted from the store. Restart is the rollback.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

import trio

from .errors import Refusal
from .mailbox import Envelope, Lane
from .ref import PostOffice

K = TypeVar("K")


class Keeper(Protocol):
    """Who keeps the actor: the supervised cell of its key."""

    def defer(self, batch: list[Envelope]) -> None: ...

    def settle(self) -> None: ...

    def run_again(self) -> None: ...

    def fail(self, error: Exception) -> None: ...

    def after(self, seconds: float, message: Any, lane: Lane) -> None: ...

    def leave(self, envelopes: list[Envelope]) -> None: ...


class Context(Generic[K]):
    """What an actor may ask of the engine."""

    __slots__ = ("_keeper", "directory", "key")

    def __init__(self, keeper: Keeper, key: K, directory: PostOffice) -> None:
        self._keeper = keeper
        self.key = key
        self.directory = directory

    def defer(self, batch: list[Envelope]) -> None:
        """Answer this batch, the very one that the turn was given, later. Deferred batches end in their order.

        A deferred batch is the actor's affair: whatever happens, a crash included, `settle` or `run_again` must follow.
        The next incarnation starts only then.
        """
        self._keeper.defer(batch)

    def settle(self) -> None:
        """The oldest deferred batch has been answered."""
        self._keeper.settle()

    def run_again(self) -> None:
        """The oldest deferred batch met a stale state: run it again, in order, on a fresh incarnation.

        Envelopes of it that have been answered are left out.
        """
        self._keeper.run_again()

    def fail(self, error: Exception) -> None:
        """The state in memory is wrong: throw this incarnation away before its next turn.

        For a deferred batch, say so before `settle`: a batch that settles well makes the next back-off short again.
        """
        self._keeper.fail(error)

    def after(self, seconds: float, message: Any, lane: Lane = Lane.BROADCASTS) -> None:
        """Mail `message` to this incarnation in `seconds`; a later incarnation does not get it.

        Kept to the precision of the engine's sweep (0.1 s). It does not keep the actor from being passivated.
        """
        self._keeper.after(seconds, message, lane)

    def leave(self, envelopes: list[Envelope]) -> None:
        """Give back the part of the batch for which this turn has no time: it is the next turn's batch."""
        self._keeper.leave(envelopes)


class Actor(Generic[K]):
    """Base of all actors."""

    #: Seconds from the beginning of one turn to that of the next, where that is for new mail: see `pace`.
    pace: float = 0.0

    def __init__(self, context: Context[K]) -> None:
        self.context = context
        self.key = context.key

    async def activate(self) -> None:
        """Load the state. Mail that arrives meanwhile waits.

        Raises:
            Refusal: nothing exists under this key; whoever waits gets the refusal and no restart follows.
        """

    async def handle(self, batch: list[Envelope]) -> None:
        """Run one turn: `receive` for each message, until the turn's quantum of time is over.

        Answers are given only when all that ran has run; if one of them crashes, none was answered and all run again.
        """
        end = trio.current_time() + self.context.directory.config.lifecycle.turn_quantum
        answers: list[tuple[Any, Refusal | None]] = []
        for envelope in batch:
            try:
                answers.append((await self.receive(envelope.message), None))
            except Refusal as refusal:
                answers.append((None, refusal))
            if trio.current_time() >= end:
                break
        if len(answers) < len(batch):
            self.context.leave(batch[len(answers) :])
        for envelope, (value, no) in zip(batch, answers, strict=False):
            if no is None:
                envelope.resolve(value)
            else:
                envelope.refuse(no)

    async def receive(self, message: Any) -> Any:
        """Handle one message and return the answer.

        Raises:
            Refusal: the answer is no; the actor goes on.
            Exception: anything else is a crash.
        """
        raise NotImplementedError(f"{type(self).__name__} must define receive or handle.")

    async def passivate(self) -> None:
        """Say good-bye to the store. Best effort: an error here is logged, and the actor is gone all the same.

        Must not ask other actors: they may be waiting for this one.
        """
