"""One HTTP connection. In: a socket from `http_host`. Next hop: hypercorn's protocols.

hypercorn reads a connection in a task of its own, which does not look at the socket while a pipelined request waits for
its turn. What it misses there is done here: reading ends when the connection does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import TrioSingleTask, WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, TaskGroup


class Idle(TrioSingleTask):
    """Since when a connection waits for a request. hypercorn's own starts and cancels a task for each request."""

    since: float | None = None

    async def restart(self, task_group: TaskGroup, action: Callable[..., Any]) -> None:
        self.since = trio.current_time()

    async def stop(self) -> None:
        self.since = None


class HttpConnection(TCPServer):
    """hypercorn's connection, which ends when it is closed or broken, whatever its client has sent by then.

    A client may send its next request before it has its response. hypercorn 0.18 waits with it until the response is
    complete and then goes on reading; but where it closes the connection instead (the server stops), or where the
    response could not be written and its handler was cancelled, it waits for ever.
    """

    def __init__(
        self, app: AppWrapper, config: Config, context: WorkerContext, state: ConnectionState, stream: trio.SocketStream
    ) -> None:
        super().__init__(app, config, context, state, cast("trio.SSLStream[Any]", stream))
        self.idle_task = self.idle = Idle()
        self._reading = trio.CancelScope()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            if not await self._write(event.data):
                await self.protocol.handle(Closed())
                self._reading.cancel()
        else:
            await super().protocol_send(event)
            if isinstance(event, Closed):
                self._reading.cancel()

    async def _write(self, data: bytes) -> bool:
        """False where the connection is broken or closed."""
        async with self.send_lock:
            try:
                with trio.CancelScope(shield=True):  # half a write is worse than none
                    await self.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
        return True

    async def _read_data(self) -> None:
        with self._reading:
            await super()._read_data()
        if self._reading.cancelled_caught:
            await self.protocol.handle(Closed())  # for a request that was begun between the end and here
