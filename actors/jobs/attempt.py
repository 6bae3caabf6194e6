"""One attempt of a job that no actor runs. In: `pool`. Out: how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import trio

from ...engine.directory import Address, Directory
from ...engine.errors import TertuliaError
from ...storage.records import Job
from ..entities import WallClock
from .endings import Ending, ending_of, ending_of_error
from .job import BaseJob, Discard, JobContext, checked, decode_args
from .limits import JobLimits
from .registry import JobRegistry

#: The actor of an account's key, if the key is an actor's.
AddressOf: TypeAlias = Callable[[int, str | None], Address | None]


async def attempt_here(
    job: Job,
    registry: JobRegistry,
    directory: Directory,
    address_of: AddressOf,
    wall_clock: WallClock,
    limits: JobLimits,
    begun: Callable[[trio.CancelScope], None] = lambda _: None,
) -> tuple[Ending, Exception | None]:
    """Do the work. Returns how it ended, and why it failed, where it did.

    Args:
        begun: called with the scope in which it runs; where somebody cancels that before the job's time is over, the
            ending is that of a job that took too long, and none of the caller's business.
    """
    performer: BaseJob[Any] = BaseJob()  # for its back-off, until the real one is made
    try:
        performer = registry.make(job.kind)
        try:
            args = decode_args(type(performer), job.args)
        except msgspec.DecodeError as error:  # and ValidationError
            return ending_of(Discard(f"Its arguments cannot be read: {error}"), wall_clock()), error
        context = JobContext(job, wall_clock)
        with trio.CancelScope(deadline=trio.current_time() + performer.timeout) as scope:
            begun(scope)
            result = await performer.perform(context, args)
            if context.commands:
                await _obey(context, directory, address_of)
            return ending_of(checked(result), wall_clock()), None
        raise TimeoutError(f"It took longer than {performer.timeout:g} seconds.")
    except Exception as error:
        return ending_of_error(error, job, performer, wall_clock(), limits), error


async def _obey(context: JobContext, directory: Directory, address_of: AddressOf) -> None:
    """Run the commands that a job beside an actor has for it."""
    address = address_of(context.account_id, context.job.key)
    if address is None:
        raise TertuliaError("A job has commands only where its key names an actor: give it such a key.")
    for command in context.commands:
        await directory.ref(*address).ask(command)
