"""An inbox's topic has a stream for each conversation, and most of them are unknown until they change."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.commands.update_conversation import UpdateConversation
from tertulia.actors.entities import Priority
from tertulia.engine.errors import Unavailable
from tertulia.storage.records import Conversation
from tertulia.storage.writes import Insert, Unit

from ..actors.kit import ADMINISTRATOR, BASE, OTHER_VISITOR
from .nodes import Nodes, open_nodes, seqs

SETTLED = 20.0  # seconds: longer than every period of the cluster


async def add_conversation(nodes: Nodes, id: int) -> None:
    if id > 3:
        row = Conversation(
            id=id, account_id=1, inbox_id=2, contact_id=2, display_id=id, last_activity_at=BASE, created_at=BASE,
            updated_at=BASE,
        )  # fmt: skip
        assert await nodes.store.commit([Unit(1, writes=[Insert(row)])]) == {}


@pytest.fixture(params=["first", "middle", "last"])
def lost(request: pytest.FixtureRequest) -> int:
    return {"first": 0, "middle": 1, "last": 2}[request.param]


async def test_what_the_bus_loses_of_a_conversation_is_told_all_the_same(autojump_clock: MockClock, lost: int) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        await home.send("long ago")
        await trio.sleep(60)
        heard = await other.listen("inbox:1")
        for number in range(3):
            if number == lost:
                nodes.lose("topic:inbox:1")
            await home.send(str(number))
            nodes.lose_nothing()
        await trio.sleep(SETTLED)
        assert seqs(heard) == [2, 3, 4]


async def test_what_was_told_before_it_was_followed_is_history(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        await home.send("a moment ago")
        heard = await other.listen("inbox:1")
        await trio.sleep(SETTLED)
        assert heard == []
        await home.send("now")
        await wait_all_tasks_blocked()
        assert seqs(heard) == [2]


async def test_catching_up_makes_good_what_no_event_shows(autojump_clock: MockClock) -> None:
    async with open_nodes(position_check=1000.0) as nodes:
        home, other = await nodes.start_two()
        heard, account = await other.listen("inbox:1"), await other.listen("account:1")
        await trio.sleep(60)
        nodes.lose("topic:")
        await home.send("one")
        await home.engine.conversation(1, 2).ask(UpdateConversation(ADMINISTRATOR, priority=Priority.HIGH))
        await wait_all_tasks_blocked()
        assert heard == []
        await other.hub.catch_up(("inbox:1", "inbox:2", "account:1"), 1)
        assert seqs(heard) == [1]
        assert account == []


async def test_many_that_catch_up_at_once_ask_the_store_twice(autojump_clock: MockClock) -> None:
    async with open_nodes(position_check=1000.0) as nodes:
        home, other = await nodes.start_two()
        heard = await other.listen("inbox:1")
        nodes.lose("topic:")
        await home.send("one")
        store = nodes.faults
        store.calls.clear()
        store.gates["changed"] = gate = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(other.hub.catch_up, ("inbox:1",), 1)
                await wait_all_tasks_blocked()
            gate.set()
        assert seqs(heard) == [1]
        assert store.calls.count("changed") == 2


async def test_who_cannot_catch_up_is_told_so(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        _, other = await nodes.start_two()
        await other.listen("inbox:1")
        nodes.faults.errors["changed"] = OverflowError("a bug")
        with pytest.raises(Unavailable):
            await other.hub.catch_up(("inbox:1",), 1)
        del nodes.faults.errors["changed"]
        nodes.faults.gates["changed"] = trio.Event()
        with pytest.raises(Unavailable):
            await other.hub.catch_up(("inbox:1",), 1)


async def test_quiet_conversations_are_forgotten_and_told_again_when_they_change(autojump_clock: MockClock) -> None:
    async with open_nodes(followed_streams=1) as nodes:
        node, other = await nodes.start_two()
        heard = await other.listen("inbox:2")
        for conversation_id in (2, *range(10, 20)):
            await add_conversation(nodes, conversation_id)
            await node.send(f"hello {conversation_id}", by=OTHER_VISITOR, conversation_id=conversation_id)
        await trio.sleep(3 * SETTLED)
        assert len(other.hub.followed["inbox:2"].positions) <= 1
        nodes.lose("topic:inbox:2")
        await node.send("lost", by=OTHER_VISITOR, conversation_id=10)
        nodes.lose_nothing()
        await node.send("seen", by=OTHER_VISITOR, conversation_id=10)
        await node.send("again", by=OTHER_VISITOR, conversation_id=2)
        await wait_all_tasks_blocked()
        assert seqs(heard, "conversation:10") == [1, 2, 3]
        assert seqs(heard, "conversation:2") == [1, 2]


async def test_an_event_that_waits_for_the_store_survives_the_forgetting(autojump_clock: MockClock) -> None:
    async with open_nodes(followed_streams=1) as nodes:
        node, other = await nodes.start_two()
        heard = await other.listen("inbox:2")
        for conversation_id in range(10, 14):
            await add_conversation(nodes, conversation_id)
            await node.send("hello", by=OTHER_VISITOR, conversation_id=conversation_id)
        await trio.sleep(3 * SETTLED)
        for conversation_id in range(11, 14):
            await node.send("again", by=OTHER_VISITOR, conversation_id=conversation_id)
        await wait_all_tasks_blocked()
        nodes.faults.errors["last_seq_before"] = Unavailable()
        await node.send("waits", by=OTHER_VISITOR, conversation_id=10)
        await trio.sleep(3 * SETTLED)
        nodes.faults.errors.clear()
        await trio.sleep(SETTLED)
        assert seqs(heard, "conversation:10") == [1, 2]


async def test_an_event_that_arrives_during_the_forgetting_is_not_told_twice(autojump_clock: MockClock) -> None:
    async with open_nodes(followed_streams=1) as nodes:
        node, other = await nodes.start_two()
        heard = await other.listen("inbox:2")
        for conversation_id in range(10, 14):
            await add_conversation(nodes, conversation_id)
            await node.send("hello", by=OTHER_VISITOR, conversation_id=conversation_id)
        await trio.sleep(13)  # not quiet for long enough yet
        nodes.faults.gates["changed"] = looking = trio.Event()
        await trio.sleep(4)
        nodes.faults.gates["changed"] = forgetting = trio.Event()
        looking.set()
        await wait_all_tasks_blocked()
        await node.send("meanwhile", by=OTHER_VISITOR, conversation_id=10)
        await wait_all_tasks_blocked()
        nodes.faults.gates.clear()
        forgetting.set()
        await wait_all_tasks_blocked()
        assert len(other.hub.followed["inbox:2"].positions) < 4
        await node.send("after", by=OTHER_VISITOR, conversation_id=10)
        await trio.sleep(SETTLED)
        assert seqs(heard, "conversation:10") == [1, 2, 3]
