"""What mail refers to is let go of when its engine ends, although the collector does not look at envelopes."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from trio.testing import MockClock

from tertulia.engine.actor import Actor
from tertulia.engine.config import EngineConfig
from tertulia.engine.directory import open_directory


class Sleeper(Actor[int]):
    async def receive(self, message: Any) -> None:
        self.context.after(1e6, self.context)


async def test_alarms_that_nobody_heard_do_not_keep_an_engine_that_ended(autojump_clock: MockClock) -> None:
    async with open_directory(EngineConfig(), {Sleeper: Sleeper}) as directory:
        await directory.ref(Sleeper, 1).ask("sleep", timeout=1)
        ended = weakref.ref(directory)
    del directory
    gc.collect()
    assert ended() is None
