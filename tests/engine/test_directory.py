"""Virtual actors: activated by their first message, passivated when idle, one incarnation per key; timers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.engine.actor import Actor
from tertulia.engine.mailbox import Lane

from .scripted import Recorder, Script, Scripted, at, opened, outcome_of, outcomes, scripted


def sleeping(seconds: float) -> Any:
    async def step(*_: Any) -> None:
        await trio.sleep(seconds)

    return step


# Activation


async def test_ten_callers_at_once_activate_one_actor_and_share_its_turn(autojump_clock: MockClock) -> None:
    script = Script(activate=sleeping(1))
    async with scripted(script) as directory:
        assert await outcomes(at(directory), *range(10)) == {number: number for number in range(10)}
    assert len(script.times("activate")) == 1
    assert len(script.turns()) == 1


async def test_only_so_many_actors_activate_at_once(autojump_clock: MockClock) -> None:
    script = Script(activate=sleeping(1))
    async with scripted(script, activations_at_once=3) as directory:
        for key in range(7):
            at(directory, key).tell(0)
        await trio.sleep(5)
    assert script.times("activate") == [0, 0, 0, 1, 1, 1, 2]


async def test_only_a_running_actor_can_be_peeked_at(autojump_clock: MockClock) -> None:
    async with scripted(Script(activate=sleeping(1)), idle=10) as directory:
        assert directory.peek(Scripted, "k") is None
        at(directory).tell(1)
        await trio.sleep(0.5)
        assert directory.peek(Scripted, "k") is None
        await trio.sleep(1)
        actor = directory.peek(Scripted, "k")
        assert actor is not None
        assert actor.turns == 1
        await trio.sleep(11)
        assert directory.peek(Scripted, "k") is None


# Passivation


async def test_an_actor_is_passivated_when_it_was_idle_for_120_seconds(autojump_clock: MockClock) -> None:
    script = Script()
    async with scripted(script) as directory:
        await at(directory).ask(1)
        await trio.sleep(100)
        await at(directory).ask(2)
        await wait_all_tasks_blocked()
        assert directory.statistics().parked == 1
        await trio.sleep(119.9)
        assert script.times("passivate") == []
        await trio.sleep(0.3)
        assert script.times("passivate") == [pytest.approx(220, abs=0.11)]
        assert directory.statistics().active == 0


async def test_a_busy_actor_is_not_idle(autojump_clock: MockClock) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        await trio.sleep(20)
        return messages

    script = Script(turn)
    async with scripted(script, idle=10) as directory:
        assert await at(directory).ask(1, timeout=60) == 1
        assert script.times("passivate") == []


async def test_mail_during_passivation_is_kept_for_a_new_incarnation(autojump_clock: MockClock) -> None:
    async def turn(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
        return [actor.turns for _ in messages]

    script = Script(turn, passivate=sleeping(2))
    async with scripted(script, idle=10) as directory:
        assert await at(directory).ask("a") == 1
        await trio.sleep(11)
        assert script.times("passivate") != []
        assert directory.statistics().active == 1
        began = trio.current_time()
        assert await at(directory).ask("b") == 1, "it counts from the start: the state is new"
        assert trio.current_time() == pytest.approx(began + 1, abs=0.11), "it waited for the old one to end"
        await trio.sleep(30)
        assert directory.statistics().active == 0
    assert len(script.times("activate")) == 2


@pytest.mark.parametrize("ticks", range(6))
async def test_mail_at_any_instant_around_the_end_of_a_passivation_is_answered(
    autojump_clock: MockClock, nursery: trio.Nursery, ticks: int
) -> None:
    ended = trio.Event()
    answers: list[Any] = []

    async def passivate(_: Any) -> None:
        ended.set()

    async def ask_then() -> None:
        await ended.wait()
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        answers.append(await outcome_of(at(directory), "b"))

    async with scripted(Script(passivate=passivate), idle=10) as directory:
        await at(directory).ask("a")
        nursery.start_soon(ask_then)
        await trio.sleep(20)
    assert answers == ["b"]


async def test_mail_at_the_instant_of_retirement_keeps_the_actor(autojump_clock: MockClock) -> None:
    script = Script()
    async with scripted(script, idle=10) as directory:
        await at(directory).ask("a")
        await wait_all_tasks_blocked()
        directory.cells[Scripted, "k"].retire()
        assert await at(directory).ask("b") == "b"
        await trio.sleep(5)
        assert directory.statistics().active == 1
    assert len(script.times("activate")) == 1


async def test_thousands_of_idle_actors_leave_together(autojump_clock: MockClock) -> None:
    script = Script()
    async with scripted(script) as directory:
        for key in range(3_000):
            at(directory, key).tell(0)
        await wait_all_tasks_blocked()
        assert directory.statistics().parked == 3_000
        assert not directory.awake, "no sweep has to look at parked actors"
        await trio.sleep(121)
        assert directory.statistics().active == 0
    assert len(script.times("passivate")) == 3_000


# Timers


@dataclass
class After:
    seconds: float
    message: str


class Ticker(Actor[str]):
    """Sets a timer on activation; crashes when told to; writes down its timers."""

    rung: list[tuple[Any, float]]

    async def activate(self) -> None:
        self.context.after(1, "tick")

    async def receive(self, message: Any) -> Any:
        if message == "crash":
            raise ValueError
        if isinstance(message, After):
            self.context.after(message.seconds, message.message)
        else:
            Ticker.rung.append((message, trio.current_time()))


@pytest.fixture(autouse=True)
def _no_timer_has_rung() -> None:
    Ticker.rung = []


async def test_a_timer_is_mail_to_the_actor_that_set_it(autojump_clock: MockClock) -> None:
    async with opened(Ticker) as directory:
        await directory.ref(Ticker, "k").ask(After(2.5, "later"))
        await directory.ref(Ticker, "k").ask(After(0.5, "soon"))
        await trio.sleep(5)
    assert [message for message, _ in Ticker.rung] == ["soon", "tick", "later"]
    assert [when for _, when in Ticker.rung] == pytest.approx([0.5, 1, 2.5], abs=0.11)


async def test_a_timer_does_not_ring_for_a_later_incarnation(autojump_clock: MockClock) -> None:
    async with opened(Ticker) as directory:
        ref = directory.ref(Ticker, "k")
        await ref.ask(After(3, "old"))
        assert isinstance(await outcome_of(ref, "crash"), ValueError)
        restarted = trio.current_time()
        await trio.sleep(10)
    assert [message for message, _ in Ticker.rung] == ["tick"]
    assert Ticker.rung[0][1] >= restarted + 0.9


async def test_a_timer_that_rings_while_its_incarnation_crashes_is_silent(autojump_clock: MockClock) -> None:
    async def turn(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
        if messages == ["crash"] and len(script.times("activate")) == 1:
            actor.context.after(1, "old")
            await trio.sleep(2)
            raise ValueError
        return messages

    script = Script(turn)
    async with scripted(script) as directory:
        assert await at(directory).ask("crash") == "crash"
        await trio.sleep(5)
    assert "old" not in script.messages()


async def test_an_actor_that_only_its_own_timer_crashes_is_quarantined(autojump_clock: MockClock) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        if "old" in messages:
            raise ValueError
        return messages

    async with scripted(Script(turn), max_restarts=0) as directory:
        at(directory).tell(0)
        await wait_all_tasks_blocked()
        actor = directory.peek(Scripted, "k")
        assert actor is not None
        actor.context.after(1, "old")
        await trio.sleep(2)
        assert directory.statistics().quarantined == 1
        assert directory.statistics().dead_letters == 0


async def test_a_timer_waits_for_room_in_a_full_mailbox(autojump_clock: MockClock) -> None:
    async def turn(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
        if "slow" in messages:
            actor.context.after(1, "ring", Lane.COMMANDS)
            await trio.sleep(5)
        return messages

    script = Script(turn)
    async with scripted(script, commands=1) as directory:
        at(directory).tell("slow")
        await wait_all_tasks_blocked()
        at(directory).tell("fill")
        await trio.sleep(4)
        assert directory.room(Scripted, "k", Lane.COMMANDS) == 0
        await trio.sleep(30)
    assert script.messages() == ["slow", "fill", "ring"]


async def test_a_timer_does_not_keep_an_idle_actor(autojump_clock: MockClock) -> None:
    async with opened(Ticker, idle=5) as directory:
        await directory.ref(Ticker, "k").ask(After(60, "never"))
        await trio.sleep(7)
        assert directory.statistics().active == 0
        await trio.sleep(100)
    assert [message for message, _ in Ticker.rung] == ["tick"]


async def test_statistics_count_what_happens(autojump_clock: MockClock) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        if "bad" in messages:
            raise ValueError
        await trio.sleep(1)
        return messages

    async with scripted(Script(turn)) as directory:
        await outcome_of(at(directory), "bad")
        caller = Recorder()
        directory.call((Scripted, "k"), "a", caller, timeout=5)
        at(directory, "other").tell("b")
        assert directory.statistics().queued == 2
        await trio.sleep(2)
        found = directory.statistics()
    assert (found.active, found.parked, found.queued, found.crashes, found.dead_letters) == (2, 2, 0, 2, 1)
