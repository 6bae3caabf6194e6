"""How the worker's loops live with errors. In: one step of a loop, to be repeated. Out: only what it cannot bear.

A store that is away is waited for, with back-off. Anything else is a bug: it is logged and the step is made again,
unless that happens too often; then the error leaves the loop, and stops the engine.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from ...engine.errors import Draining, Overloaded, Unavailable
from .limits import JobLimits

logger = logging.getLogger("tertulia.jobs")


class Endurance:
    """What the loops of one worker have borne so far."""

    def __init__(self, limits: JobLimits) -> None:
        self._limits = limits
        self._errors: deque[float] = deque()
        self.failures = 0

    async def repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        """Make a step again and again, until cancelled or until the store closes.

        Raises:
            Exception: what the steps raised, more often than `max_errors` within `error_period`.
        """
        limits = self._limits
        delay = limits.min_backoff
        away = False
        while True:
            try:
                await step()
            except Draining:
                return
            except (Unavailable, Overloaded) as error:
                self.failures += 1
                if not away:
                    logger.warning("the store is away, jobs wait: %s", error.detail)
                away = True
            except Exception as error:
                self.failures += 1
                self._endure(error)
            else:
                if away:
                    logger.info("the store is back, jobs run")
                away, delay = False, limits.min_backoff
                continue
            await trio.sleep(delay)
            delay = min(delay * 2, limits.max_backoff)

    def _endure(self, error: Exception) -> None:
        logger.error("the dispatcher of jobs failed: %r", error, exc_info=error)
        now = trio.current_time()
        self._errors.append(now)
        while self._errors[0] < now - self._limits.error_period:
            self._errors.popleft()
        if len(self._errors) > self._limits.max_errors:
            raise error
