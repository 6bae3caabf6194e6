"""Following a conversation while its store misbehaves."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tertulia.actors.commands.send_message import SendMessage
from tertulia.api.subscription import follow
from tertulia.engine.errors import Unavailable

from ..actors.kit import AGENT, open_world


async def test_what_comes_live_because_its_commit_was_in_doubt_is_not_told_twice(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.committer.faults.extend(["lose"] * 1000)
        doubtful = world.post(SendMessage(AGENT, "in doubt"))
        with pytest.raises(Unavailable):
            await doubtful.get()
        world.committer.faults.clear()
        async with follow(world.collaborators, AGENT, 1, after=0) as feed:
            await world.ask(SendMessage(AGENT, "next"))
            await world.ask(SendMessage(AGENT, "last"))
            assert [(await anext(feed)).seq for _ in range(3)] == [1, 2, 3]
