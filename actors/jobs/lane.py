"""A job in an actor's lane: what the dispatcher mails to the actor, and what it answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from ...storage.records import Job
from .endings import Ending

_KEY = re.compile(r"(conversation|account):([1-9][0-9]{0,17})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class RunJob:
    """Run this job, which is claimed, between two commands. Answer: `Ran`. It never raises for what the job does."""

    job: Job


@dataclass(frozen=True, slots=True)
class Ran:
    """How it ended. `written`: with the actor's own changes, in their transaction; else the dispatcher writes it."""

    ending: Ending
    duration: float  # seconds
    written: bool = False


#: ("conversation", 42) or ("account", 7).
ActorKey: TypeAlias = tuple[str, int]


def actor_of(key: str | None) -> ActorKey | None:
    """The actor whose lane a job with this key goes to; None where it goes to the pool."""
    found = _KEY.match(key) if key is not None else None
    return (found[1], int(found[2])) if found is not None else None


def conversation_key(conversation_id: int) -> str:
    return f"conversation:{conversation_id}"


def account_key(account_id: int) -> str:
    return f"account:{account_id}"
