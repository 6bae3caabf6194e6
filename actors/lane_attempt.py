"""One attempt of a job in an actor's lane. In: `RunJob` from the mailbox. Next: the actor's own commands, then `Ran`.

The actor waits for `perform`, which is why its time is short here. Nothing that a job does, says or raises harms the
actor: a failure is how the attempt ends, and no more.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
import trio

from ..engine.errors import DeadlineExceeded, NotFound
from ..storage.records import Job
from ..storage.writes import Update
from .collaborators import Collaborators
from .jobs.endings import Ending, ending_of, ending_of_error, write_of
from .jobs.job import BaseJob, Discard, JobContext, Result, checked, decode_args
from .jobs.lane import Ran

logger = logging.getLogger("tertulia.jobs")


class OutOfTurn(Exception):
    """A job came up among commands: it gets a turn of its own."""


def ask_for_a_turn(*_: Any) -> Ran:
    """The handler of `RunJob` in a conversation, where a turn is a batch that must not wait for a job.

    Raises:
        OutOfTurn: always.
    """
    raise OutOfTurn


class Attempt:
    """One attempt of one job."""

    def __init__(self, job: Job, world: Collaborators) -> None:
        self._job = job
        self._world = world
        self._began = trio.current_time()
        self._performer: BaseJob[Any] = BaseJob()
        self._context = JobContext(job, world.wall_clock)

    @property
    def commands(self) -> Sequence[Any]:
        """What the job wants its actor to do, in this order."""
        return self._context.commands

    async def perform(self) -> Ending:
        """Do the work. Where it failed there are no commands."""
        try:
            result = await self._perform()
        except Exception as error:
            self._context.commands.clear()
            return self.failed(error)
        return ending_of(result, self._world.wall_clock())

    async def _perform(self) -> Result:
        job, world = self._job, self._world
        if world.registry.of(job.kind) is None:
            raise NotFound(f"This program knows no job that is called {job.kind!r}.")
        performer = self._performer = world.registry.make(job.kind)
        try:
            args = decode_args(type(performer), job.args)
        except msgspec.DecodeError as error:
            return Discard(f"Its arguments cannot be read: {error}")
        timeout = min(performer.timeout, world.job_limits.in_lane)
        result: Any = None
        with trio.move_on_after(timeout) as scope:
            result = await performer.perform(self._context, args)
        if scope.cancelled_caught:
            raise DeadlineExceeded(f"It took longer than {timeout:g} s, which is too long for an actor to wait.")
        return checked(result)

    def failed(self, error: Exception) -> Ending:
        job = self._job
        logger.warning("job %s (%s) failed, attempt %d: %r", job.id, job.kind, job.attempt, error, exc_info=error)
        return ending_of_error(error, job, self._performer, self._world.wall_clock(), self._world.job_limits)

    @property
    def duration(self) -> float:
        """Seconds until now."""
        return trio.current_time() - self._began

    def ran(self, ending: Ending, *, written: bool = False) -> Ran:
        return Ran(ending, self.duration, written)

    def write(self, ending: Ending) -> Update:
        """The end as a change of the job's row, for the actor's own transaction."""
        return write_of(self._job, ending, self._world.wall_clock(), self.duration, self._world.job_limits)
