"""Asking and telling: one outcome for every call, in time, and none for a caller that has gone."""

import contextvars
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.engine.actor import Actor, Context
from tertulia.engine.directory import Directory, open_directory
from tertulia.engine.errors import DeadlineExceeded, Deadlock, NotFound, Overloaded
from tertulia.engine.mailbox import Envelope, Lane

from .scripted import Recorder, Script, Scripted, at, config, opened, outcome_of, scripted


async def three_seconds(_: Scripted, messages: list[Any]) -> Sequence[Any]:
    await trio.sleep(3)
    return messages


class Asker(Actor[str]):
    """Its messages are routes: it asks the first of the route with the rest of it."""

    async def receive(self, message: Any) -> Any:
        if not message:
            return self.key
        return await self.context.directory.ref(Asker, message[0]).ask(message[1:], timeout=60)


async def test_an_answer_comes_back(autojump_clock: MockClock) -> None:
    async with scripted(Script()) as directory:
        assert await at(directory).ask("hello") == "hello"


async def test_a_refusal_goes_to_its_caller_only_and_the_actor_lives(autojump_clock: MockClock) -> None:
    class Picky(Actor[int]):
        async def receive(self, message: Any) -> Any:
            if message == "no":
                raise NotFound
            return message

    async with opened(Picky) as directory:
        ref = directory.ref(Picky, 1)
        answers: list[Any] = []

        async def ask(message: str) -> None:
            answers.append((message, type(await outcome_of(ref, message))))

        async with trio.open_nursery() as nursery:
            for message in ("yes", "no", "also"):
                nursery.start_soon(ask, message)
        assert sorted(answers, key=str) == [("also", str), ("no", NotFound), ("yes", str)]
        assert directory.crashes == 0


async def test_a_caller_that_is_an_object_is_answered_once(autojump_clock: MockClock) -> None:
    async with scripted(Script()) as directory:
        caller = Recorder()
        directory.call((Scripted, "k"), "hello", caller, timeout=5)
        await trio.sleep(10)
        assert caller.answer == "hello"


# Deadlines


async def test_work_whose_deadline_passes_in_the_mailbox_never_starts(autojump_clock: MockClock) -> None:
    script = Script(three_seconds)
    async with scripted(script) as directory:
        at(directory).tell("slow")
        await wait_all_tasks_blocked()
        with pytest.raises(DeadlineExceeded):
            await at(directory).ask("late", timeout=1)
        assert trio.current_time() == pytest.approx(1, abs=0.11)
        await trio.sleep(5)
    assert script.messages() == ["slow"]


async def test_the_caller_does_not_wait_for_a_turn_that_outlasts_its_deadline(autojump_clock: MockClock) -> None:
    script = Script(three_seconds)
    async with scripted(script) as directory:
        caller = Recorder()
        directory.call((Scripted, "k"), "slow", caller, timeout=1)
        await trio.sleep(1.11)
        assert isinstance(caller.answer, DeadlineExceeded)
        await trio.sleep(5)
        assert len(caller.answers) == 1, "the late answer is dropped"
        assert directory.crashes == 0
    assert script.messages() == ["slow"]


async def test_the_default_deadline_is_five_seconds(autojump_clock: MockClock) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        await trio.sleep(20)
        return messages

    async with scripted(Script(turn), drain_grace=30) as directory:
        with pytest.raises(DeadlineExceeded):
            await at(directory).ask("slow")
        assert trio.current_time() == pytest.approx(5, abs=0.11)


async def test_the_earlier_of_both_deadlines_travels_with_the_message(autojump_clock: MockClock) -> None:
    class Hurried(Actor[int]):
        async def handle(self, batch: list[Envelope]) -> None:
            for envelope in batch:
                envelope.resolve(envelope.deadline)

    async with opened(Hurried) as directory:
        with trio.fail_after(1):
            assert await directory.ref(Hurried, 1).ask("a", timeout=100) == 1
            assert await directory.ref(Hurried, 1).ask("a", timeout=0.5) == 0.5


async def test_work_is_not_begun_for_a_caller_whose_own_deadline_has_passed(autojump_clock: MockClock) -> None:
    script = Script(three_seconds)
    async with scripted(script) as directory:
        at(directory).tell("slow")
        await wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            await at(directory).ask("late", timeout=100)
        assert scope.cancelled_caught
        await trio.sleep(5)
    assert script.messages() == ["slow"]


async def test_deadlines_are_kept_while_the_actor_activates_and_backs_off(autojump_clock: MockClock) -> None:
    async def activate(_: Any) -> None:
        await trio.sleep(2)
        raise OSError

    async with scripted(Script(activate=activate), max_restarts=100, min_backoff=50, max_backoff=50) as directory:
        for timeout in (1, 1, 3):  # twice in the activation, then in the back-off
            assert isinstance(await outcome_of(at(directory), "a", timeout), DeadlineExceeded)
        assert trio.current_time() == pytest.approx(5, abs=0.4)


# Callers that go away


async def test_a_cancelled_caller_whose_work_has_started_leaves_the_actor_alone(autojump_clock: MockClock) -> None:
    script = Script(three_seconds)
    async with scripted(script) as directory:
        with trio.move_on_after(1) as scope:
            await at(directory).ask("a", timeout=10)
        assert scope.cancelled_caught
        await trio.sleep(5)
        assert await at(directory).ask("b") == "b"
    assert len(script.times("activate")) == 1


async def test_abandoned_work_that_has_not_started_never_does(autojump_clock: MockClock) -> None:
    script = Script(three_seconds)
    async with scripted(script) as directory:
        at(directory).tell("slow")
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, at(directory), "gone", 100)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        await trio.sleep(9)
    assert script.messages() == ["slow"]


async def test_a_caller_that_is_cancelled_already_sends_nothing(autojump_clock: MockClock) -> None:
    script = Script()
    async with scripted(script) as directory:
        with trio.CancelScope() as scope:
            scope.cancel()
            await at(directory).ask("a")
        await wait_all_tasks_blocked()
    assert script.log == []


# Deadlocks


@pytest.mark.parametrize("route", ["a", "ba", "bca", "bb"])
async def test_actors_that_ask_each_other_in_a_circle_are_told_at_once(autojump_clock: MockClock, route: str) -> None:
    async with opened(Asker) as directory:
        answer = await outcome_of(directory.ref(Asker, "a"), route)
        assert isinstance(answer, Deadlock)
        assert " -> ".join(f"Asker {key}" for key in f"a{route}") in str(answer) or route == "bb"
        assert trio.current_time() < 3, "no deadline had to pass"


async def test_asking_on_and_on_without_a_circle_is_no_deadlock(autojump_clock: MockClock) -> None:
    async with opened(Asker) as directory:
        assert await directory.ref(Asker, "a").ask("bcdef") == "f"
        assert await directory.ref(Asker, "f").ask("edcba") == "a"
        assert await directory.ref(Asker, "a").ask("b") == "b"


async def test_a_deadlock_can_be_handled_by_the_one_who_asked(autojump_clock: MockClock) -> None:
    class Careful(Actor[int]):
        async def receive(self, message: Any) -> Any:
            with pytest.raises(Deadlock):
                await self.context.directory.ref(Careful, self.key).ask("me")
            return "alive"

    async with opened(Careful) as directory:
        assert await directory.ref(Careful, 1).ask("go") == "alive"
        assert directory.crashes == 0


async def test_telling_in_a_circle_is_allowed(autojump_clock: MockClock) -> None:
    class Pinger(Actor[str]):
        async def receive(self, message: Any) -> Any:
            if message > 0:
                self.context.directory.ref(Pinger, "b" if self.key == "a" else "a").tell(message - 1)
            else:
                done.set()

    done = trio.Event()
    async with opened(Pinger) as directory:
        directory.ref(Pinger, "a").tell(10)
        await done.wait()


# Where actors run


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="the engine's")


async def test_an_actor_does_not_inherit_the_contextvars_of_who_woke_it(autojump_clock: MockClock) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        return [variable.get() for _ in messages]

    async with scripted(Script(turn)) as directory:
        variable.set("a request's")
        assert await at(directory).ask(1) == "the engine's"


async def test_an_actor_sees_the_contextvars_of_the_engine(autojump_clock: MockClock) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        return [variable.get() for _ in messages]

    variable.set("set before the engine was opened")
    async with scripted(Script(turn)) as directory:
        assert await at(directory).ask(1) == "set before the engine was opened"


async def test_an_actor_outlives_the_scope_of_the_caller_that_woke_it(autojump_clock: MockClock) -> None:
    script = Script(three_seconds)
    async with scripted(script) as directory:
        with trio.move_on_after(1):
            await at(directory).ask("a")
        await trio.sleep(5)
        assert await at(directory).ask("b") == "b"
    assert len(script.times("activate")) == 1


# Overload


async def test_a_full_command_lane_says_when_to_come_back(autojump_clock: MockClock) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        await trio.sleep(0.1 * len(messages))
        return messages

    async with scripted(Script(turn), commands=100, commands_per_turn=10, drain_grace=100) as directory:
        ref = at(directory)
        for _ in range(20):  # the actor learns what a message costs
            await ref.ask(0)
        for number in range(100):
            ref.tell(number)
        with pytest.raises(Overloaded) as caught:
            ref.tell(100)
        assert caught.value.retry_after == pytest.approx(100 * 0.1, rel=0.2)


async def test_the_engine_as_a_whole_takes_only_so_much_mail(autojump_clock: MockClock) -> None:
    script = Script(three_seconds)
    async with scripted(script, queued_messages=10) as directory:
        for number in range(10):
            at(directory, number).tell("a")
        with pytest.raises(Overloaded):
            at(directory, "new").tell("a")
        with pytest.raises(Overloaded):
            at(directory, 0).tell("b", Lane.JOBS)
        assert directory.room(Scripted, 0) == 0
        at(directory, 0).tell("typing", Lane.BROADCASTS)
        await trio.sleep(10)
        assert directory.queued == 0
        assert directory.room(Scripted, 0) == 10
        at(directory, "new").tell("a")
    assert ["a"] in script.turns()
    assert len(script.times("activate")) == 11, "what was refused activated nothing"


async def test_a_caller_whose_broadcast_is_forgotten_is_told(autojump_clock: MockClock) -> None:
    async with scripted(Script(three_seconds), broadcasts=1) as directory:
        at(directory).tell("busy")
        await wait_all_tasks_blocked()
        caller = Recorder()
        directory.call((Scripted, "k"), "old", caller, timeout=60, lane=Lane.BROADCASTS)
        at(directory).tell("new", Lane.BROADCASTS)
        assert isinstance(caller.answer, Overloaded)
        assert directory.statistics().dropped_broadcasts == 1


# References


async def test_a_reference_is_a_value(autojump_clock: MockClock) -> None:
    async with scripted(Script()) as directory:
        assert at(directory, 1) == at(directory, 1)
        assert at(directory, 1) != at(directory, 2)
        assert len({at(directory, 1), at(directory, 1), at(directory, 2)}) == 2
        assert repr(at(directory, 1)) == "<ref Scripted 1>"
        assert directory.statistics().active == 0, "making references activates nobody"


async def test_mail_for_a_kind_that_nobody_can_make_is_the_sender_s_mistake(autojump_clock: MockClock) -> None:
    async with scripted(Script()) as directory:
        with pytest.raises(LookupError, match="Asker"):
            directory.ref(Asker, "a").tell("b")


async def test_two_directories_live_in_one_program(autojump_clock: MockClock) -> None:
    def maker(number: int) -> Any:
        async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
            return [number for _ in messages]

        def make(context: Context[Any]) -> Scripted:
            return Scripted(context, Script(turn))

        return make

    async def ask(directory: Directory) -> Any:
        return await at(directory).ask(0)

    async with (
        open_directory(config(), {Scripted: maker(1)}) as one,
        open_directory(config(), {Scripted: maker(2)}) as two,
    ):
        assert [await ask(one), await ask(two)] == [1, 2]
