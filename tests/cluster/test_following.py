"""What subscribers are told when the bus, the store or a stranger does its worst: each event once, in order."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import DeleteConversation
from tertulia.actors.events import CONVERSATION_DELETED, Event
from tertulia.engine.errors import NotFound, Unavailable

from ..actors.kit import ADMINISTRATOR, AGENT, VISITOR
from .nodes import Follower, Node, open_nodes, seqs

SETTLED = 20.0  # seconds: longer than every period of the cluster


async def test_a_stranger_who_asks_for_a_conversation_cannot_spoil_it_for_its_account(
    autojump_clock: MockClock,
) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        with pytest.raises(NotFound):
            await other.hub.follow(("conversation:1",), 2)
        heard = await other.listen()
        nodes.lose("topic:")
        await home.send("lost")
        nodes.lose_nothing()
        await home.send("seen")
        await wait_all_tasks_blocked()
        assert seqs(heard) == [1, 2]
        with pytest.raises(NotFound):
            await other.hub.follow(("conversation:1",), 2)


async def test_a_stranger_and_a_member_may_ask_at_the_same_time(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        nodes.faults.gates["last_seqs"] = gate = trio.Event()
        refused: list[Exception] = []

        async def pry() -> None:
            try:
                await other.hub.follow(("conversation:1",), 2)
            except NotFound as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pry)
            await wait_all_tasks_blocked()
            heard: list[Event] = []
            other.hub.tap("conversation:1", heard.extend)
            nursery.start_soon(other.hub.follow, ("conversation:1",), 1)
            await wait_all_tasks_blocked()
            gate.set()
        assert len(refused) == 1
        await home.send("one")
        await wait_all_tasks_blocked()
        assert seqs(heard) == [1]


async def test_a_conversation_that_nobody_has_leaves_nothing_on_the_bus(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        node = await nodes.start("a")
        for id in (99, 2**70):
            with pytest.raises(NotFound):
                await node.hub.follow((f"conversation:{id}",), 1)
        assert not any(channel.startswith("topic:conversation:") for channel in node.bus.followed)
        assert node.hub.followed == {}


async def test_following_goes_on_when_whoever_asked_first_goes_away(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes, trio.open_nursery() as nursery:
        home, other = await nodes.start_two()
        nodes.faults.gates["last_seqs"] = gate = trio.Event()
        first = trio.CancelScope()

        async def ask() -> None:
            with first:
                await other.hub.follow(("conversation:1",), 1)

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        heard: list[Event] = []
        other.hub.tap("conversation:1", heard.extend)
        nursery.start_soon(other.hub.follow, ("conversation:1",), 1)
        await wait_all_tasks_blocked()
        first.cancel()
        await wait_all_tasks_blocked()
        await home.send("one")
        gate.set()
        await wait_all_tasks_blocked()
        await home.send("two")
        await wait_all_tasks_blocked()
        # The position is from before the first one.
        assert seqs(heard) == [1, 2]


@pytest.mark.parametrize("error", [Unavailable(), OverflowError("a bug")])
async def test_a_store_that_fails_costs_a_subscription_and_not_the_engine(
    autojump_clock: MockClock, error: Exception
) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        nodes.faults.errors["last_seqs"] = error
        with pytest.raises(Unavailable):
            await other.hub.follow(("conversation:1",), 1)
        assert "topic:conversation:1" not in other.bus.followed
        nodes.faults.errors.clear()
        heard = await other.listen()
        await home.send("one")
        await wait_all_tasks_blocked()
        assert seqs(heard) == [1]


@pytest.mark.parametrize("error", [Unavailable(), OverflowError("a bug"), NotFound()])
async def test_a_gap_is_filled_when_the_store_is_back(autojump_clock: MockClock, error: Exception) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        heard = await other.listen()
        nodes.lose("topic:")
        await home.send("lost")
        nodes.lose_nothing()
        nodes.faults.errors["log"] = error
        await home.send("seen")
        await trio.sleep(5)
        await home.send("too")
        assert seqs(heard) == []
        nodes.faults.errors.clear()
        await trio.sleep(5)
        assert seqs(heard) == [1, 2, 3]


async def test_checks_go_on_after_an_error_that_nobody_expected(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        heard = await other.listen()
        await other.hub.follow(("inbox:1", "account:1"), 1)
        nodes.faults.errors.update(dict.fromkeys(("last_seqs", "changed", "account", "account_log"), OverflowError()))
        await trio.sleep(SETTLED)
        nodes.faults.errors.clear()
        nodes.lose("topic:")
        await home.send("lost")
        await trio.sleep(SETTLED)
        assert seqs(heard) == [1]


async def test_events_that_arrive_twice_and_out_of_order_are_told_once_and_in_order(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        heard = await other.listen()
        payloads: list[bytes] = []

        def steal(channel: str, payload: bytes, node: str) -> bool:
            if channel == "topic:conversation:1" and node == other.name:
                payloads.append(payload)
                return True
            return False

        nodes.exchange.loses = steal
        for number in range(4):
            await home.send(str(number))
        for index in (2, 0, 3, 3, 1, 2):
            other.bus.arrive("topic:conversation:1", payloads[index])
            await wait_all_tasks_blocked()
        assert seqs(heard) == [1, 2, 3, 4]


async def test_a_fill_for_a_topic_that_was_let_go_tells_its_next_followers_nothing(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        old = await other.listen()
        nodes.lose("topic:")
        await home.send("lost")
        nodes.lose_nothing()
        nodes.faults.gates["log"] = gate = trio.Event()
        await home.send("two")
        await wait_all_tasks_blocked()
        other.hub.untap("conversation:1", old.extend)
        await trio.sleep(2 * SETTLED)
        assert "conversation:1" not in other.hub.followed
        new = await other.listen()
        gate.set()
        await wait_all_tasks_blocked()
        await home.send("three")
        await wait_all_tasks_blocked()
        assert seqs(new) == [3]


async def test_a_topic_with_a_subscriber_is_never_let_go(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        heard = await other.listen()
        await trio.sleep(5 * SETTLED)
        await home.send("one")
        await wait_all_tasks_blocked()
        assert seqs(heard) == [1]


async def test_a_conversation_that_was_deleted_behind_a_subscribers_back_ends_with_its_tombstone(
    autojump_clock: MockClock,
) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        heard, inbox = await other.listen(), await other.listen("inbox:1")
        await home.send("one")
        await wait_all_tasks_blocked()
        nodes.lose("topic:")
        await home.send("erased")
        await home.engine.conversation(1, 1).ask(DeleteConversation(ADMINISTRATOR))
        nodes.lose_nothing()
        await trio.sleep(SETTLED)
        assert seqs(heard) == seqs(inbox) == [1, 3]
        assert heard[-1].type == inbox[-1].type == CONVERSATION_DELETED


async def test_what_a_visitor_must_not_see_does_not_come_by_way_of_the_store_either(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes, trio.open_nursery() as nursery:
        home, other = await nodes.start_two()
        visitor: list[Event] = []

        async def watch(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            async with other.engine.follow(VISITOR, 1, after=0) as feed:
                task_status.started()
                async for event in feed:
                    visitor.append(event)

        await nursery.start(watch)
        nodes.lose("topic:")
        await home.engine.conversation(1, 1).ask(SendMessage(AGENT, "a note", private=True))
        nodes.lose_nothing()
        await home.engine.conversation(1, 1).ask(SendMessage(AGENT, "another", private=True))
        await home.send("for all")
        await wait_all_tasks_blocked()
        assert seqs(visitor) == [3]
        nursery.cancel_scope.cancel()


async def test_a_subscriber_that_was_told_more_on_another_node_is_not_told_it_again(autojump_clock: MockClock) -> None:
    async with open_nodes(position_check=1000.0) as nodes, trio.open_nursery() as nursery:
        home, other = await nodes.start_two()
        await other.listen()
        nodes.lose("topic:")
        await home.send("seen at home")
        nodes.lose_nothing()
        moved = Follower()

        async def move(node: Node, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            await moved.run(node, after=1, task_status=task_status)

        await nursery.start(move, other)
        await home.send("two")
        await wait_all_tasks_blocked()
        assert moved.seqs == [2]
        nursery.cancel_scope.cancel()


async def test_a_node_that_was_frozen_hears_everything_late_and_tells_it_once(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        heard, inbox = await other.listen(), await other.listen("inbox:1")
        other.bus.freeze()
        for number in range(5):
            await home.send(str(number))
            await trio.sleep(3)
        other.bus.thaw()
        await trio.sleep(SETTLED)
        await home.send("after")
        await wait_all_tasks_blocked()
        assert seqs(heard) == seqs(inbox) == list(range(1, 7))


async def test_bytes_that_nobody_can_read_do_no_harm(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        heard = await other.listen()
        for channel in ("topic:conversation:1", f"node:{other.name}", "nodes", "rights"):
            for payload in (b"", b"\xff\xff", b"\xff\0\xff", b"x\0\x93"):
                other.bus.arrive(channel, payload)
        await wait_all_tasks_blocked()
        await home.send("one")
        await wait_all_tasks_blocked()
        assert seqs(heard) == [1]


async def test_nothing_reaches_an_engine_that_has_ended(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        await other.listen("inbox:1")
        bus = other.bus
        other.stopping.set()
        await other.stopped.wait()
        await home.send("one")
        bus.on_received([("topic:inbox:1", b"x\0\xff")])
        bus.on_connected()
        bus.on_lost()
        bus.on_unheard("node:x")
