"""asyncio behind a door. In: coroutine functions and plain functions of trio's. Out: results and errors, in trio.

The libraries for PostgreSQL and Redis need asyncio. One loop (uvloop where installed) runs in one daemon thread, where
signals and KeyboardInterrupt never arrive; this is the only module that knows asyncio. Hand-over is batched both ways:
one wake-up of the other side carries everything that is handed over until it looks.

A call is structured: a caller that is cancelled cancels the asyncio task and waits for its end, so no work stays behind
and no result is lost. What ends with the loop (it was closed, or it crashed) is `Unavailable` for its caller.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeVar, TypeVarTuple, cast

import trio

from ..engine.errors import Unavailable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger(__name__)

CLOSED = "The connection to the database or the bus was closed; try again later."
CANCELLED = "The request to the database or the bus was cancelled by its library; try again later."


@dataclass(frozen=True, slots=True)
class BridgeLimits:
    """How patiently a bridge is closed.

    Attributes:
        closing_pause: seconds that cancelled work has to end, before it is cancelled once more.
        closing_attempts: how often work is cancelled before it is abandoned.
    """

    closing_pause: float = 1.0
    closing_attempts: int = 3


class Bridge:
    """From `open_bridge`. `call` and `post` are for trio's thread, `deliver`, `sleep` and `timeout` for the loop's."""

    def __init__(self, limits: BridgeLimits) -> None:
        self._limits = limits
        self._token = trio.lowlevel.current_trio_token()
        self._loop = _new_loop()
        # Tasks start from this context, not from that of the caller whose request happens to wake the loop.
        self._context = contextvars.Context()
        self._stop: asyncio.Future[None] = self._loop.create_future()
        # Each deque is filled by one thread and emptied by the other. `armed` says that a wake-up is under way: the
        # reader clears it before it looks, so what is added later arms again.
        self._inbox: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._inbox_armed = False
        self._outbox: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._outbox_armed = False
        self._waiting: set[_Call] = set()  # of trio's thread only
        self._closed = False  # of trio's thread only
        self._stopping = False  # of the loop's thread only
        self._thread = threading.Thread(target=self._run, name="tertulia-asyncio", daemon=True)
        self._ended = trio.Event()

    # ---- for trio ---------------------------------------------------------------------------------------------------

    async def call(self, function: Callable[[*Ts], Coroutine[Any, Any, T]], *arguments: *Ts) -> T:
        """Run a coroutine function on the loop and return its result. Raises what it raises.

        Cancelling the caller cancels the asyncio task and waits for its end. Where the task has a result or an error
        all the same, the caller gets that, and meets the cancellation at its next checkpoint.

        Raises:
            Unavailable: the bridge was closed, the loop crashed, or the task was cancelled by somebody else.
        """
        if self._closed:
            raise Unavailable(CLOSED)
        call = _Call(trio.lowlevel.current_task(), function, arguments)
        self._waiting.add(call)
        self._submit(self._start, (call,))
        await trio.lowlevel.wait_task_rescheduled(partial(self._abort, call))
        error = call.error
        if error is None:
            return cast(T, call.result)
        try:
            if call.ended and call.raise_cancel is not None:
                call.raise_cancel()
            raise error
        finally:
            del error, call  # the error's traceback holds this frame: no circle

    def post(self, function: Callable[[*Ts], object], *arguments: *Ts) -> None:
        """Run a plain function on the loop's thread soon, in the order of posts and calls. What it raises is logged.

        Raises:
            Unavailable: the bridge is closed. What was posted just before that may not run.
        """
        if self._closed:
            raise Unavailable(CLOSED)
        self._submit(function, arguments)

    def _abort(self, call: _Call, raise_cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
        call.raise_cancel = raise_cancel
        self._submit(self._cancel, (call,))
        return trio.lowlevel.Abort.FAILED  # the loop decides: it may be done already

    def _submit(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._inbox.append((function, arguments))
        if not self._inbox_armed:
            self._inbox_armed = True
            with suppress(RuntimeError):  # the loop is closed: `_end` comes, and tells those who wait
                self._loop.call_soon_threadsafe(self._empty_inbox, context=self._context)

    def _empty_outbox(self) -> None:
        self._outbox_armed = False
        for _ in range(len(self._outbox)):
            function, arguments = self._outbox.popleft()
            try:
                function(*arguments)
            except Exception:
                logger.exception("A function that was delivered to trio failed; its sender does not learn of it.")

    def _answer(self, call: _Call) -> None:
        if call in self._waiting:
            self._waiting.remove(call)
            trio.lowlevel.reschedule(call.task)

    def _end(self, error: BaseException | None) -> None:
        """The loop is gone: nobody waits for it any longer."""
        self._closed = True
        self._empty_outbox()
        if error is not None:
            logger.critical("The thread of the databases' connections stopped; restart this server.", exc_info=error)
        for call in list(self._waiting):
            call.finish(None, Unavailable(CLOSED), ended=True)
            self._answer(call)
        self._ended.set()

    def open(self) -> None:
        self._thread.start()

    async def close(self) -> None:
        """Cancel what still runs and wait for its end; abandon what does not end."""
        self._closed = True
        self._submit(self._ask_to_stop, ())
        # One pause more than the loop takes for itself: a thread that blocks does not even begin.
        patience = self._limits.closing_pause * (self._limits.closing_attempts + 1)
        with trio.CancelScope(shield=True), trio.move_on_after(patience):
            await self._ended.wait()
        if not self._ended.is_set():
            logger.error("The thread of the databases' connections does not stop; it is left behind.")
            self._end(None)

    # ---- for the loop's thread --------------------------------------------------------------------------------------

    def deliver(self, function: Callable[[*Ts], object], *arguments: *Ts) -> None:
        """Run a plain function in trio soon, in the order of deliveries and results. What it raises is logged.

        Functions that are delivered after the bridge closed do not run.
        """
        self._outbox.append((function, arguments))
        if not self._outbox_armed:
            self._outbox_armed = True
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._empty_outbox)

    async def sleep(self, seconds: float) -> None:
        """asyncio's sleep."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """asyncio's timeout: `async with bridge.timeout(2): ...` raises TimeoutError when the time is over."""
        return asyncio.timeout(seconds)

    def _empty_inbox(self) -> None:
        self._inbox_armed = False
        for _ in range(len(self._inbox)):
            function, arguments = self._inbox.popleft()
            try:
                function(*arguments)
            except Exception:
                logger.exception("A function that was posted to asyncio failed; its sender does not learn of it.")

    def _start(self, call: _Call) -> None:
        if call.raise_cancel is not None or self._stopping:
            call.finish(None, Unavailable(CLOSED), ended=True)
            self.deliver(self._answer, call)
            return
        try:
            call.job = self._loop.create_task(call.function(*call.arguments))
        except Exception as error:
            call.finish(None, error)
            self.deliver(self._answer, call)
            return

        # Not a coroutine around the function: a task that is cancelled before its first step never enters its body.
        def done(job: asyncio.Task[Any]) -> None:
            if job.cancelled():
                call.finish(None, Unavailable(CLOSED if self._stopping else CANCELLED), ended=True)
            elif (error := job.exception()) is None:
                call.finish(job.result(), None)
            elif isinstance(error, Exception):
                call.finish(None, error)
            else:  # SystemExit and the like are the loop's end, not trio's
                call.finish(None, Unavailable(CLOSED), ended=True)
            self.deliver(self._answer, call)

        call.job.add_done_callback(done)

    def _cancel(self, call: _Call) -> None:
        if call.job is not None:
            call.job.cancel()

    def _ask_to_stop(self) -> None:
        if not self._stop.done():
            self._stop.set_result(None)

    async def _serve(self) -> None:
        await self._stop
        await self._end_tasks()

    async def _end_tasks(self) -> None:
        self._stopping = True
        this = {asyncio.current_task()}
        for _ in range(self._limits.closing_attempts):
            tasks = asyncio.all_tasks() - this
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=self._limits.closing_pause)
        if left := len(asyncio.all_tasks() - this):
            logger.error("%d requests to the database or the bus do not end; they are left behind.", left)

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # SystemExit and the like of a task come out here
            failure = error
            with suppress(BaseException):
                self._loop.run_until_complete(self._end_tasks())
        finally:
            with suppress(BaseException):
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._end, failure)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not on every platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class _Call:
    """A request under way. Written by the loop's thread until it is answered, except `raise_cancel`."""

    __slots__ = ("arguments", "ended", "error", "function", "job", "raise_cancel", "result", "task")

    def __init__(
        self, task: trio.lowlevel.Task, function: Callable[..., Coroutine[Any, Any, Any]], arguments: tuple[Any, ...]
    ) -> None:
        self.task = task
        self.function = function
        self.arguments = arguments
        self.job: asyncio.Task[Any] | None = None
        self.raise_cancel: Callable[[], NoReturn] | None = None
        self.result: Any = None
        self.error: Exception | None = None
        self.ended = False  # by a cancellation or with the loop, not by itself

    def finish(self, result: object, error: Exception | None, *, ended: bool = False) -> None:
        self.result, self.error, self.ended = result, error, ended


@asynccontextmanager
async def open_bridge(limits: BridgeLimits | None = None) -> AsyncGenerator[Bridge]:
    """Run an asyncio loop in a thread while the block runs. Leaving the block cancels what is still running there."""
    bridge = Bridge(limits or BridgeLimits())
    bridge.open()
    try:
        yield bridge
    finally:
        await bridge.close()
