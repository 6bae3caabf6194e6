"""Following a conversation while its store misbehaves, and while rights are revoked."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.send_message import SendMessage
from tertulia.api.subscription import follow
from tertulia.engine.errors import NotFound, Unavailable

from ..actors.kit import ADMINISTRATOR, AGENT, open_world


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


async def test_a_right_that_is_revoked_ends_the_feed(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        access = await world.collaborators.access.of(1)
        async with follow(world.collaborators, AGENT, 1) as feed:
            await world.ask(SendMessage(ADMINISTRATOR, "seen"))
            assert (await anext(feed)).seq == 1
            del access.roles[AGENT.user_id]
            world.collaborators.access.changed(access)
            await world.ask(SendMessage(ADMINISTRATOR, "not seen"))
            with pytest.raises(NotFound), trio.fail_after(1):
                await anext(feed)
        assert not world.collaborators.access.listeners


async def test_a_right_that_is_revoked_wakes_who_waits_for_news(autojump_clock: MockClock) -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        access = await world.collaborators.access.of(1)
        async with follow(world.collaborators, AGENT, 1) as feed:

            async def wait() -> None:
                with pytest.raises(NotFound), trio.fail_after(1):
                    await anext(feed)

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            del access.roles[AGENT.user_id]
            world.collaborators.access.changed(access)
            await wait_all_tasks_blocked()
