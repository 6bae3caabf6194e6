"""One thread for one connection's work. In: synchronous work from the event loop. Out: its result, to who waits.

`trio.to_thread.run_sync` is made for everybody: a limiter, a pool that threads leave and come back to, a copy of the
context, a new name for the thread each time, and a result that takes two passes of the scheduler to arrive. All of that
together is a third of what a small commit costs. One writer, whom one task waits for, needs a queue in and a bell out.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar, cast

import outcome
import trio

from ..engine.threads import let_threads_run

T = TypeVar("T")

_Answer = Callable[[outcome.Outcome[Any]], object]
_Order = tuple[Callable[..., Any], tuple[object, ...], _Answer]


class WriterThread:
    """Runs work in the order in which it came, one after the other. The thread begins with the first."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._bell: _Bell | None = None
        self._unanswered = 0

    @property
    def busy(self) -> bool:
        """Whether there is work that was ordered and whose result nobody has yet."""
        return self._unanswered > 0

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Run `work(*arguments)` in the thread. A caller that is cancelled waits for it all the same.

        Raises:
            BaseException: what the work raised.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self.run_now(work, *arguments)

    async def run_now(self, work: Callable[..., T], *arguments: object) -> T:
        """The same for a caller that has begun something: the work is ordered even where the caller is cancelled."""
        bell = self._begin()
        # Not in a `finally`: where the wait itself fails, the thread is still at work.
        self._unanswered += 1
        if bell.awaited:  # by the writer's task; who comes beside it takes the way that is open to many
            task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()
            self._orders.put((work, arguments, partial(_hand_over, task, token)))
            result = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        else:
            self._orders.put((work, arguments, bell.ring))
            let_threads_run()
            result = await bell.rung()
        self._unanswered -= 1
        return cast(T, result.unwrap())

    def order(self, work: Callable[..., T], *arguments: object, then: Callable[[outcome.Outcome[T]], object]) -> None:
        """The same without waiting: `then` is called with the result in the event loop."""
        self._begin()
        token = trio.lowlevel.current_trio_token()

        def answered(result: outcome.Outcome[T]) -> None:
            self._unanswered -= 1
            then(result)

        self._unanswered += 1
        self._orders.put((work, arguments, lambda result: token.run_sync_soon(answered, result)))

    def _begin(self) -> _Bell:
        if self._bell is None:
            self._bell = _Bell()
            # A daemon: an interpreter that ends without `aclose` is not kept alive by a thread that waits for work.
            self._thread = threading.Thread(target=_work_off, args=(self._orders,), name=self._name, daemon=True)
            self._thread.start()
        return self._bell

    async def aclose(self) -> None:
        """Wait for what was ordered, and let the thread end."""
        if self._thread is not None and self._bell is not None:
            self._orders.put(None)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._thread.join)
            self._bell.close()
            self._thread = self._bell = None


def _hand_over(task: trio.lowlevel.Task, token: trio.lowlevel.TrioToken, result: outcome.Outcome[Any]) -> None:
    """From the thread."""
    token.run_sync_soon(trio.lowlevel.reschedule, task, outcome.Value(result))


class _Bell:
    """Takes one result at a time from a thread to the one task that waits for it, in one pass of the scheduler."""

    def __init__(self) -> None:
        self._inside, self._outside = socket.socketpair()
        self._inside.setblocking(False)
        self._results: deque[outcome.Outcome[Any]] = deque()
        self.awaited = False

    def ring(self, result: outcome.Outcome[Any]) -> None:
        """From the thread."""
        self._results.append(result)
        self._outside.send(b"\0")

    async def rung(self) -> outcome.Outcome[Any]:
        """Wait for the result, cancelled or not."""
        self.awaited = True
        try:
            await trio.lowlevel.wait_readable(self._inside)
        except trio.Cancelled:  # told again at the caller's next checkpoint
            with trio.CancelScope(shield=True):
                await trio.lowlevel.wait_readable(self._inside)
        self._inside.recv(1)
        result = self._results.popleft()
        # Not in a `finally`: where the wait itself fails, a result is still to come, and nobody else may take it.
        self.awaited = False
        return result

    def close(self) -> None:
        self._inside.close()
        self._outside.close()


def _work_off(orders: SimpleQueue[_Order | None]) -> None:
    while (order := orders.get()) is not None:
        work, arguments, answer = order
        answer(outcome.capture(work, *arguments))
        del order, work, arguments, answer  # nothing is kept alive while there is nothing to do
