"""What an actor is: state that only its own turns change.

A turn takes a batch of envelopes. An actor that answers at once overrides `receive`; one whose answers wait for a commit
overrides `handle`, hands the batch to `context.defer` and goes on with the next turn (pipelining). When a deferred batch
cannot be committed, the state in memory is wrong by definition: the actor calls `context.fail`, is thrown away and
restarted from the store. Restart is the rollback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .errors import Refusal
from .mailbox import Envelope, Lane

if TYPE_CHECKING:
    from .directory import Directory
    from .supervisor import Cell

K = TypeVar("K")


class Context(Generic[K]):
    """What an actor may ask of the engine."""

    __slots__ = ("_cell", "directory", "key")

    def __init__(self, cell: Cell, key: K, directory: Directory) -> None:
        self._cell = cell
        self.key = key
        self.directory = directory

    def defer(self, batch: list[Envelope]) -> None:
        """These envelopes are answered after the turn. Deferred batches end in the order in which they began."""
        self._cell.deferred.append(batch)

    def settle(self) -> None:
        """The oldest deferred batch has been answered."""
        self._cell.settle()

    def run_again(self) -> None:
        """The oldest deferred batch met a stale state: run its envelopes again on a fresh incarnation."""
        self._cell.run_again()

    def fail(self, error: Exception) -> None:
        """The state in memory is wrong: throw this incarnation away before its next turn."""
        self._cell.fail(error)

    def after(self, seconds: float, message: Any, lane: Lane = Lane.BROADCASTS) -> None:
        """Mail `message` to this incarnation in `seconds`; a later incarnation does not get it."""
        self._cell.after(seconds, message, lane)


class Actor(Generic[K]):
    """Base of all actors."""

    def __init__(self, context: Context[K]) -> None:
        self.context = context
        self.key = context.key

    async def activate(self) -> None:
        """Load the state. Mail that arrives meanwhile waits.

        Raises:
            Refusal: nothing exists under this key; whoever waits gets the refusal and no restart follows.
        """

    async def handle(self, batch: list[Envelope]) -> None:
        """Run one turn. Answers are given only when the whole batch has run."""
        answers: list[tuple[Envelope, Any, Refusal | None]] = []
        for envelope in batch:
            try:
                answers.append((envelope, await self.receive(envelope.message), None))
            except Refusal as refusal:
                answers.append((envelope, None, refusal))
        for envelope, value, refusal in answers:
            if refusal is None:
                envelope.resolve(value)
            else:
                envelope.refuse(refusal)

    async def receive(self, message: Any) -> Any:
        """Handle one message and return the answer."""
        raise NotImplementedError(f"{type(self).__name__} must define receive or handle.")

    async def passivate(self) -> None:
        """Say good-bye to the store. Must not ask other actors: they may be waiting for this one."""
