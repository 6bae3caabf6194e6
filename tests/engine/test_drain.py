"""The end: no new mail, the accepted mail is finished, nobody waits in vain, and it is over in time."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.engine.actor import Actor
from tertulia.engine.errors import Draining, Unavailable

from .scripted import Script, Scripted, at, opened, outcome_of, scripted


async def half_a_second(_: Scripted, messages: list[Any]) -> Sequence[Any]:
    await trio.sleep(0.5)
    return messages


async def never(*_: Any) -> Any:
    await trio.sleep_forever()


async def test_leaving_the_block_finishes_what_was_accepted_and_passivates_all(autojump_clock: MockClock) -> None:
    script = Script(half_a_second)
    async with scripted(script, commands_per_turn=1, drain_grace=60) as directory:
        for number in range(20):
            at(directory, "a").tell(number)
            at(directory, "b").tell(number)
    assert sorted(script.messages()) == sorted([*range(20), *range(20)])
    assert len(script.times("passivate")) == 2


async def test_so_does_cancelling_the_program_around_it(autojump_clock: MockClock) -> None:
    script = Script(half_a_second)
    with trio.move_on_after(0.1) as scope:
        async with scripted(script, commands_per_turn=1, drain_grace=60) as directory:
            for number in range(10):
                at(directory).tell(number)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert script.messages() == list(range(10))
    assert trio.current_time() == pytest.approx(5)


async def test_so_does_an_error_in_the_block_which_comes_out(autojump_clock: MockClock) -> None:
    script = Script(half_a_second)

    async def run() -> None:
        async with scripted(script) as directory:
            at(directory).tell(1)
            raise KeyError("in the program")

    with pytest.RaisesGroup(KeyError):
        await run()
    assert script.messages() == [1]


async def test_mail_is_refused_from_then_on(autojump_clock: MockClock) -> None:
    refused: list[Any] = []

    async def late(ref: Any) -> None:
        await trio.sleep(1)
        for target in (ref, at(directory, "new")):
            refused.append(await outcome_of(target, "late"))

    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        await trio.sleep(3)
        return messages

    script = Script(turn)
    async with trio.open_nursery() as nursery, scripted(script) as directory:
        at(directory).tell("accepted")
        nursery.start_soon(late, at(directory))
    assert [type(error) for error in refused] == [Draining, Draining]
    with pytest.raises(Draining):
        at(directory).tell("much later")
    assert script.messages() == ["accepted"]


async def test_it_takes_no_longer_than_the_grace(autojump_clock: MockClock) -> None:
    async with scripted(Script(never), drain_grace=7) as directory:
        at(directory).tell(1)
        await wait_all_tasks_blocked()
    assert trio.current_time() == pytest.approx(7)


async def test_it_takes_no_longer_than_the_grace_when_the_program_is_cancelled(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1):
        async with scripted(Script(never, passivate=never), drain_grace=7) as directory:
            at(directory).tell(1)
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(8)


@pytest.mark.parametrize("where", ["activate", "turn", "passivate", "back-off"])
async def test_who_still_waits_when_the_grace_is_over_is_told(autojump_clock: MockClock, where: str) -> None:
    async def fail(*_: Any) -> None:
        raise Unavailable

    script = Script()
    setattr(script, where if where != "back-off" else "activate", fail if where == "back-off" else never)
    got: list[Any] = []

    async def wait(ref: Any) -> None:
        got.append((type(await outcome_of(ref, 1, timeout=1000)), round(trio.current_time())))

    async with (
        trio.open_nursery() as nursery,
        scripted(script, idle=1, drain_grace=7, min_backoff=100, max_backoff=100) as directory,
    ):
        if where == "passivate":
            await at(directory).ask(0)
            await trio.sleep(2)
        nursery.start_soon(wait, at(directory))
        await trio.sleep(1)
    assert got == [(Draining, 10 if where == "passivate" else 8)]


async def test_draining_early_and_leaving_the_block_meanwhile_end_together(autojump_clock: MockClock) -> None:
    script = Script(half_a_second)
    async with trio.open_nursery() as nursery, scripted(script, drain_grace=60) as directory:
        at(directory).tell(1)
        nursery.start_soon(directory.drain)
        await wait_all_tasks_blocked()
    assert trio.current_time() == 0.5
    assert script.messages() == [1]


async def test_idle_actors_cost_no_time(autojump_clock: MockClock) -> None:
    script = Script()
    async with scripted(script) as directory:
        for key in range(1000):
            at(directory, key).tell(0)
        await wait_all_tasks_blocked()
    assert trio.current_time() == 0
    assert len(script.times("passivate")) == 1000


async def test_an_actor_that_needs_another_one_while_draining_is_no_poison(autojump_clock: MockClock) -> None:
    class Asker(Actor[int]):
        async def receive(self, message: Any) -> Any:
            await trio.sleep(1)
            return await self.context.directory.ref(Asker, self.key + 1).ask(message)

    async with opened(Asker, drain_grace=3) as directory:
        directory.ref(Asker, 1).tell("a")
        await wait_all_tasks_blocked()
    assert not directory.dead_letters
    assert directory.queued == 0


async def test_nobody_can_ask_after_the_end(autojump_clock: MockClock) -> None:
    async with scripted(Script()) as directory:
        ref = at(directory)
        assert await ref.ask(1) == 1
    assert isinstance(await outcome_of(ref, 2), Draining)
