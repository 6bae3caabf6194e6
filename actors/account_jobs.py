"""A job in an account's lane. Its commands are the account's own, each durable before the next one begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from ..engine.errors import Refusal
from .account_state import AccountState
from .jobs.lane import Ran, RunJob
from .lane_attempt import Attempt


class RunAccountJobHandler:
    """A command that is refused ends the attempt: those before it stay, and the next attempt asks for them again."""

    def __init__(self, handlers: Mapping[type, Callable[[AccountState, Any], Awaitable[Any]]]) -> None:
        self._handlers = handlers

    async def __call__(self, account: AccountState, command: RunJob) -> Ran:
        attempt = Attempt(command.job, account.world)
        ending = await attempt.perform()
        for wanted in attempt.commands:
            kind = cast("type[object]", type(wanted))
            handler = None if kind is RunJob else self._handlers.get(kind)
            if handler is None:
                return attempt.ran(attempt.failed(TypeError(f"{kind.__name__} is no command of an account.")))
            try:
                await handler(account, wanted)
            except Refusal as refusal:
                return attempt.ran(attempt.failed(refusal))
        return attempt.ran(ending)
