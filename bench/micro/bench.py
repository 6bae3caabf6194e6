"""What a micro benchmark is: a name, a setup, and a round of so many operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

Round: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class MicroBench:
    """One of them.

    A round takes a few milliseconds: long against the clock's resolution and the cost of calling it, short against the
    disturbances of a shared machine, so that most rounds meet none.
    """

    name: str
    about: str  # what one operation is
    operations: int  # in one round
    open: Callable[[], AbstractAsyncContextManager[Round]]
    #: Why it cannot run here; None: it can.
    missing: Callable[[], str | None] = lambda: None
