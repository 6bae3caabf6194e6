"""Several nodes are one engine: whichever node a sender or a subscriber is connected to."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from .nodes import Follower, open_nodes

SETTLED = 20.0  # seconds: longer than every period of the cluster


async def test_a_message_sent_on_any_node_reaches_subscribers_of_all(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes, trio.open_nursery() as nursery:
        a, b = await nodes.start("a"), await nodes.start("b")
        here, there = Follower(), Follower()
        await nursery.start(here.run, a)
        await nursery.start(there.run, b)
        await a.send("from a")
        await b.send("from b")
        await wait_all_tasks_blocked()
        assert here.seqs == there.seqs == [1, 2]
        nursery.cancel_scope.cancel()


async def test_a_conversation_lives_on_one_node_only(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        a, b = await nodes.start("a"), await nodes.start("b")
        await a.send("from a")
        await b.send("from b")
        assert a.is_home == (not b.is_home)
        assert a.hosts() == a.is_home
        assert b.hosts() == b.is_home


async def test_what_the_bus_loses_is_read_from_the_store_when_the_next_event_shows_it(
    autojump_clock: MockClock,
) -> None:
    async with open_nodes() as nodes, trio.open_nursery() as nursery:
        a, b = await nodes.start("a"), await nodes.start("b")
        far = Follower()
        home, other = (a, b) if a.is_home else (b, a)
        await nursery.start(far.run, other)
        nodes.exchange.loses = lambda channel, payload, node: channel == "topic:conversation:1"
        await home.send("lost")
        await wait_all_tasks_blocked()
        assert far.seqs == []
        nodes.exchange.loses = lambda channel, payload, node: False
        await home.send("seen")
        await wait_all_tasks_blocked()
        assert far.seqs == [1, 2]
        nursery.cancel_scope.cancel()


async def test_the_last_message_of_a_quiet_conversation_arrives_although_the_bus_lost_it(
    autojump_clock: MockClock,
) -> None:
    async with open_nodes() as nodes, trio.open_nursery() as nursery:
        a, b = await nodes.start("a"), await nodes.start("b")
        far = Follower()
        home, other = (a, b) if a.is_home else (b, a)
        await nursery.start(far.run, other)
        nodes.exchange.loses = lambda channel, payload, node: channel.startswith("topic:")
        await home.send("lost")
        await trio.sleep(SETTLED)
        assert far.seqs == [1]
        nursery.cancel_scope.cancel()


async def test_while_the_bus_is_away_every_node_goes_on_and_all_catch_up_when_it_is_back(
    autojump_clock: MockClock,
) -> None:
    async with open_nodes() as nodes, trio.open_nursery() as nursery:
        a, b = await nodes.start("a"), await nodes.start("b")
        here, there = Follower(), Follower()
        await nursery.start(here.run, a)
        await nursery.start(there.run, b)
        await a.send("before")
        a.bus.cut()
        b.bus.cut()
        for number in range(5):
            await a.send(f"a{number}")
            await b.send(f"b{number}")
        a.bus.mend()
        b.bus.mend()
        await trio.sleep(SETTLED)
        await b.send("after")
        await wait_all_tasks_blocked()
        assert await nodes.seqs() == here.seqs == there.seqs == list(range(1, 13))
        nursery.cancel_scope.cancel()


async def test_a_conversation_moves_to_another_node_when_its_home_leaves(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes, trio.open_nursery() as nursery:
        a, b = await nodes.start("a"), await nodes.start("b")
        home, other = (a, b) if a.is_home else (b, a)
        far = Follower()
        await nursery.start(far.run, home)
        await other.send("one")
        await home.engine.leave()
        await other.send("two")
        await home.send("three")
        await wait_all_tasks_blocked()
        assert not home.hosts()
        assert other.hosts()
        assert far.seqs == [1, 2, 3]
        nursery.cancel_scope.cancel()


async def test_a_command_whose_home_dies_unheard_is_run_by_the_next_home_once(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        a, b = await nodes.start("a"), await nodes.start("b")
        home, other = (a, b) if a.is_home else (b, a)
        # It hears nothing any more and says nothing, as a frozen process does.
        nodes.exchange.loses = lambda channel, payload, node: node == home.name or channel == f"node:{other.name}"
        home.bus.cut()
        assert (await other.send("one")).message.seq == 1
        assert await nodes.seqs() == [1]


async def test_an_answer_that_the_bus_lost_is_asked_for_again(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        a, b = await nodes.start("a"), await nodes.start("b")
        other = b if a.is_home else a
        nodes.exchange.loses = lambda channel, payload, node: channel == f"node:{other.name}"
        assert not other.is_home
        answers: list[int] = []

        async def send() -> None:
            answers.append((await other.send("one")).message.seq)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            assert answers == []
            assert await nodes.seqs() == [1]
            nodes.exchange.loses = lambda channel, payload, node: False
            other.bus.cut()
        assert answers == [1]
        assert await nodes.seqs() == [1]
