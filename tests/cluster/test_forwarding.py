"""Commands for actors of other nodes: each is answered once, and done once, whatever becomes of nodes."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.account import AccountActor
from tertulia.actors.commands.account import CreateContact
from tertulia.actors.commands.send_message import SendMessage
from tertulia.actors.commands.update_conversation import UpdateConversation
from tertulia.actors.conversation import ConversationActor
from tertulia.actors.entities import Status
from tertulia.engine.errors import DeadlineExceeded, OutcomeUnknown, TertuliaError
from tertulia.engine.rendezvous import Nodes as Homes
from tertulia.storage.records import Conversation

from ..actors.kit import ADMINISTRATOR, AGENT, Answer
from .nodes import Node, Nodes, open_nodes


def post(node: Node, command: Any, kind: type = ConversationActor, key: Any = (1, 1), timeout: float = 10.0) -> Answer:
    answer = Once()
    node.engine.directory.call((kind, key), command, answer, timeout=timeout)
    return answer


class Once(Answer):
    """A caller that must not be answered twice."""

    def resolve(self, value: Any) -> None:
        assert not self.done.is_set()
        super().resolve(value)

    def refuse(self, error: Exception) -> None:
        assert not self.done.is_set()
        super().refuse(error)


async def messages(nodes: Nodes) -> list[str | None]:
    return [row.content for row in await nodes.store.messages(1, 1, limit=1000)]


async def test_what_waits_for_a_node_that_nobody_hears_from_is_sent_again_at_once(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        home.bus.die()
        began = trio.current_time()
        assert (await other.send("one")).message.seq == 1
        assert trio.current_time() - began < 0.1
        assert other.cluster.homes.nodes == (other.name,)


async def test_a_command_that_must_not_run_twice_is_not_sent_again(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        home.bus.die()
        with pytest.raises(OutcomeUnknown):
            await other.engine.conversation(1, 1).ask(SendMessage(AGENT, "without a client id"))
        assert await messages(nodes) == []


async def test_a_suspected_node_is_home_again_when_it_is_heard_of(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        other.bus.on_unheard(f"node:{home.name}")
        assert list(other.cluster.homes.nodes) == [other.name]
        home.cluster.homes.reconnected()
        await wait_all_tasks_blocked()
        assert list(other.cluster.homes.nodes) == ["a", "b"]


async def test_a_suspected_node_that_goes_on_beating_is_home_again_after_a_while(autojump_clock: MockClock) -> None:
    async with open_nodes(suspicion=5.0) as nodes:
        home, other = await nodes.start_two()
        other.cluster.homes.suspect(home.name)
        await trio.sleep(4)
        assert list(other.cluster.homes.nodes) == [other.name]
        await trio.sleep(3)
        assert list(other.cluster.homes.nodes) == ["a", "b"]


async def test_a_node_never_suspects_itself_or_whom_it_does_not_know(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        node = await nodes.start("a")
        for name in ("a", "never-seen"):
            node.cluster.homes.suspect(name)
        await nodes.start("never-seen")
        assert node.cluster.homes.nodes == ("a", "never-seen")


async def test_a_caller_that_names_no_end_does_not_wait_for_ever(autojump_clock: MockClock) -> None:
    async with open_nodes(longest_wait=30.0) as nodes:
        home, other = await nodes.start_two()
        nodes.lose(f"node:{home.name}")
        answer = post(other, SendMessage(AGENT, "one"), timeout=float("inf"))
        await trio.sleep(31)
        assert isinstance(answer.error, DeadlineExceeded)
        forwarding = other.cluster.forwarding
        assert forwarding is not None
        assert forwarding.waiting == 0


async def test_who_waits_for_another_node_when_the_engine_ends_is_told_so(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        nodes.lose(f"node:{home.name}")
        answer = post(other, SendMessage(AGENT, "one"), timeout=1000)
        await wait_all_tasks_blocked()
        await other.stop()
        assert isinstance(answer.error, OutcomeUnknown)


async def test_who_went_away_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        nodes.lose(f"node:{home.name}")
        with trio.move_on_after(1):
            await other.send("one")
        await trio.sleep(1)
        forwarding = other.cluster.forwarding
        assert forwarding is not None
        assert forwarding.waiting == 0


async def test_a_command_is_answered_once_while_its_home_comes_and_goes(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        answers: list[Answer] = []
        for number in range(20):
            answers.append(post(other, SendMessage(AGENT, str(number), client_id=str(number))))
            if number % 3 == 0:
                other.cluster.homes.suspect(home.name)
            elif number % 3 == 1:
                other.cluster.homes.heard(home.name)
            await trio.sleep(0.01)
        await trio.sleep(10)
        assert [answer.error for answer in answers] == [None] * 20
        assert sorted((answer.value.message.seq, answer.value.message.content) for answer in answers) == [
            (seq, content) for seq, content in enumerate(await messages(nodes), start=1)
        ]
        assert len(await messages(nodes)) == 20


async def test_what_a_draining_node_did_not_take_is_run_by_the_next_home(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        home.engine.directory.draining = True  # it has said so to nobody
        answer = post(other, SendMessage(AGENT, "not repeatable"))
        await trio.sleep(1)
        assert not answer.done.is_set()
        await home.engine.leave()
        await trio.sleep(1)
        assert answer.error is None
        assert await messages(nodes) == ["not repeatable"]


async def test_what_a_draining_node_took_and_did_not_answer_is_not_run_again(autojump_clock: MockClock) -> None:
    """Its writer may have it: nobody knows. A message with a client id can be asked about again."""
    async with open_nodes(heartbeat=500.0, node_ttl=1000.0) as nodes:
        home, other = await nodes.start_two()
        store = nodes.faults
        store.gates["commit"] = gate = trio.Event()
        nodes.lose("nodes")  # it leaves unseen: only its answers say so
        once = post(other, SendMessage(AGENT, "once"), timeout=1000)
        again = post(other, SendMessage(AGENT, "again", client_id="c-1"), timeout=1000)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(home.stop)
            await trio.sleep(60)  # longer than it waits for its writer
            del store.gates["commit"]
            gate.set()
        await trio.sleep(10)
        assert isinstance(once.error, OutcomeUnknown)
        assert again.error is None
        assert await messages(nodes) == ["once", "again"]


async def test_an_actor_whose_node_was_away_does_not_answer_from_what_it_remembers(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        await home.engine.conversation(1, 1).ask(UpdateConversation(ADMINISTRATOR, status=Status.OPEN))
        home.bus.cut()
        await trio.sleep(10)
        await other.engine.conversation(1, 1).ask(UpdateConversation(ADMINISTRATOR, status=Status.RESOLVED))
        home.bus.mend()
        await trio.sleep(10)
        assert home.is_home
        record: Conversation = await other.engine.conversation(1, 1).ask(
            UpdateConversation(ADMINISTRATOR, status=Status.OPEN)
        )
        stored = await nodes.store.conversation(1, 1)
        assert stored is not None
        assert record.status == stored.conversation.status == "open"


async def test_an_actor_whose_node_was_frozen_does_not_answer_from_what_it_remembers(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        await home.engine.conversation(1, 1).ask(UpdateConversation(ADMINISTRATOR, status=Status.OPEN))
        home.bus.freeze()
        await trio.sleep(10)
        await other.engine.conversation(1, 1).ask(UpdateConversation(ADMINISTRATOR, status=Status.RESOLVED))
        home.bus.thaw()
        await trio.sleep(10)
        await other.engine.conversation(1, 1).ask(UpdateConversation(ADMINISTRATOR, status=Status.OPEN))
        stored = await nodes.store.conversation(1, 1)
        assert stored is not None
        assert stored.conversation.status == "open"


async def test_two_nodes_that_both_think_they_are_home_store_everything_once(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        here, there = await home.listen(), await other.listen("conversation:1")
        home.bus.cut()
        other.bus.cut()
        answers: list[Answer] = []
        for number in range(30):
            for node in (home, other):
                command = SendMessage(AGENT, f"{node.name}{number}", client_id=f"{node.name}{number}")
                answers.append(post(node, command, timeout=60.0))
            await trio.sleep(0.01)
        await trio.sleep(10)
        home.bus.mend()
        other.bus.mend()
        await trio.sleep(20)
        assert [answer.error for answer in answers] == [None] * 60
        assert len(set(await messages(nodes))) == len(await nodes.seqs()) == 60
        assert await nodes.seqs() == list(range(1, 61))
        assert [event.seq for event in here] == [event.seq for event in there] == list(range(1, 61))


async def test_an_account_is_changed_from_every_node(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        for name in ("a", "b", "c"):
            node = await nodes.start(name)
            contact = await node.engine.account(1).ask(CreateContact(ADMINISTRATOR, f"from {name}"))
            assert contact.name == f"from {name}"
        hosts = [node for node in nodes.running if (AccountActor, 1) in node.engine.directory.cells]
        assert len(hosts) == 1


async def test_a_node_that_joins_takes_only_its_share(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        await nodes.start("a")
        b = await nodes.start("b")
        addresses = [(ConversationActor, (1, id)) for id in range(1, 301)]
        before = {address: b.cluster.homes.of(address) for address in addresses}
        c = await nodes.start("c")
        after = {address: b.cluster.homes.of(address) for address in addresses}
        moved = [address for address in addresses if before[address] != after[address]]
        assert all(after[address] == "c" for address in moved)
        assert 60 < len(moved) < 140
        assert all(c.cluster.homes.of(address) == after[address] for address in addresses)
        assert after[addresses[0]] == Homes(("a", "b", "c")).home_of("ConversationActor:(1, 1)")


async def test_messages_are_kept_while_nodes_leave_and_come(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        keeper = await nodes.start("keeper")
        heard = await keeper.listen()
        sent = 0

        async def send(node: Node) -> None:
            nonlocal sent
            sent += 1
            await node.send(f"{sent}")

        for round in range(6):
            guest = await nodes.start(f"guest-{round}")
            await send(guest)
            await send(keeper)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(guest.stop)
                for _ in range(3):
                    await send(keeper)
        await trio.sleep(10)
        assert await nodes.seqs() == [event.seq for event in heard] == list(range(1, sent + 1))


async def test_a_refusal_comes_back_from_another_node_as_it_is(autojump_clock: MockClock) -> None:
    async with open_nodes() as nodes:
        home, other = await nodes.start_two()
        errors: list[TertuliaError] = []
        for node in (home, other):
            with pytest.raises(TertuliaError) as caught:
                await node.engine.conversation(1, 1).ask(SendMessage(AGENT, ""))
            errors.append(caught.value)
        assert type(errors[0]) is type(errors[1])
        assert errors[0].detail == errors[1].detail
