"""A nursery for what must outlive the cancellation of the program that uses it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_shielded_nursery() -> AsyncGenerator[trio.Nursery]:
    """A nursery whose tasks run until the block has been left, even where the block is cancelled from outside.

    Cancelling the embedding program cancels the block; its `finally` parts can still rely on the tasks, to drain. When
    the block is over, the tasks are cancelled. A task that fails cancels the block, as in any nursery.
    """
    async with trio.open_nursery() as outer:
        shielded = trio.CancelScope(shield=True)

        async def host(task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED) -> None:
            with shielded:
                async with trio.open_nursery() as inner:
                    task_status.started(inner)
                    await trio.sleep_forever()

        inner: trio.Nursery = await outer.start(host)
        try:
            yield inner
        finally:
            shielded.cancel()
