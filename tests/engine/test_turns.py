"""How much one turn takes, and what it leaves for others."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.engine.actor import Actor
from tertulia.engine.mailbox import Envelope, Lane

from .scripted import Script, Scripted, at, opened, outcome_of, scripted


class Slow(Actor[int]):
    """Takes four milliseconds for a message."""

    log: list[tuple[Any, float]]

    async def receive(self, message: Any) -> Any:
        Slow.log.append((message, round(trio.current_time(), 4)))
        await trio.sleep(0.004)
        if message == "bad":
            raise ValueError
        return message


@pytest.fixture(autouse=True)
def _nothing_was_received() -> None:
    Slow.log = []


async def test_a_turn_takes_at_most_64_commands_8_jobs_and_8_broadcasts(autojump_clock: MockClock) -> None:
    script = Script()
    async with scripted(script) as directory:
        for number in range(100):
            at(directory).tell((Lane.COMMANDS, number))
            at(directory).tell((Lane.JOBS, number), Lane.JOBS)
            at(directory).tell((Lane.BROADCASTS, number), Lane.BROADCASTS)
    taken = [[sum(message[0] is lane for message in turn) for lane in Lane] for turn in script.turns()]
    assert taken[:3] == [[64, 8, 8], [36, 8, 8], [0, 8, 8]]
    assert [sum(lane) for lane in zip(*taken, strict=True)] == [100, 100, 100]


async def test_a_job_is_not_starved_by_commands(autojump_clock: MockClock) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        await trio.sleep(0.01)
        return messages

    script = Script(turn)
    async with scripted(script) as directory:
        at(directory).tell("job", Lane.JOBS)
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                while trio.current_time() < 1:
                    for number in range(directory.room(Scripted, "k", Lane.COMMANDS)):
                        at(directory).tell(number)
                    await trio.sleep(0.001)

            nursery.start_soon(flood)
    assert any("job" in messages for messages in script.turns()[:2])


async def test_a_turn_begins_no_message_after_ten_milliseconds(autojump_clock: MockClock) -> None:
    answered: list[float] = []
    async with opened(Slow) as directory:

        async def ask(number: int) -> None:
            assert await directory.ref(Slow, 1).ask(number) == number
            answered.append(round(trio.current_time(), 4))

        async with trio.open_nursery() as nursery:
            for number in range(7):
                nursery.start_soon(ask, number)
    assert len(Slow.log) == 7
    assert answered == [0.012] * 3 + [0.024] * 3 + [0.028]


async def test_what_a_turn_left_comes_before_newer_mail(autojump_clock: MockClock) -> None:
    async with opened(Slow) as directory:
        for number in range(7):
            directory.ref(Slow, 1).tell(number)
        await trio.sleep(0.001)
        directory.ref(Slow, 1).tell(7)
        assert directory.queued == 1
        await trio.sleep(0.013)
        assert directory.queued == 1
    assert [message for message, _ in Slow.log] == list(range(8))


async def test_a_crash_after_part_of_a_batch_runs_all_of_it_once_more(autojump_clock: MockClock) -> None:
    async with opened(Slow) as directory:
        for message in ("a", "bad", "c", "d", "e"):
            directory.ref(Slow, 1).tell(message)
        await trio.sleep(5)
        assert [letter.envelope.message for letter in directory.dead_letters] == ["bad"]
        assert directory.queued == 0
    assert [message for message, _ in Slow.log] == ["a", "bad", "a", "bad", "bad", "c", "d", "e"]


async def test_what_a_crashed_turn_had_left_is_not_run_twice(autojump_clock: MockClock) -> None:
    class Hasty(Actor[int]):
        async def handle(self, batch: list[Envelope]) -> None:
            ran.append([envelope.message for envelope in batch])
            if len(ran) == 1:
                self.context.leave(batch[1:])
                raise ValueError

    ran: list[list[Any]] = []
    async with opened(Hasty) as directory:
        for message in "abc":
            directory.ref(Hasty, 1).tell(message)
        await trio.sleep(5)
        assert directory.queued == 0
    assert ran == [["a", "b", "c"], ["a"], ["b"], ["c"]]


async def test_other_tasks_get_their_turn_after_each_of_an_actor_s(autojump_clock: MockClock) -> None:
    ran: list[str] = []

    async def turn(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
        ran.append("actor")
        return messages

    async with scripted(Script(turn), commands_per_turn=1) as directory:
        await at(directory).ask(0)
        for number in range(20):
            at(directory).tell(number)
        ran.clear()
        while len(ran) < 41:
            ran.append("other")
            await trio.lowlevel.checkpoint()
    text = "".join(name[0] for name in ran)
    assert "aaa" not in text, "never more than the end of one pass and the beginning of the next"


async def test_asking_for_nothing_costs_nothing(autojump_clock: MockClock) -> None:
    """The sweep looks at the awake only, and at their mail only when a deadline is due."""
    async with scripted(Script(), idle=10**6) as directory:
        for key in range(100):
            await at(directory, key).ask(key)
        await wait_all_tasks_blocked()
        assert directory.awake == {}
        assert all(cell.mailbox.size == 0 for cell in directory.cells.values())


async def test_an_actor_without_a_handler_says_what_is_missing(autojump_clock: MockClock) -> None:
    class Empty(Actor[int]):
        pass

    async with opened(Empty) as directory:
        error = await outcome_of(directory.ref(Empty, 1), "a")
    assert isinstance(error, NotImplementedError)
    assert "Empty must define receive or handle" in str(error)
