"""Let it crash: restart from the store, leave the neighbours alone, and tell a crash from what is none."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tertulia.engine.errors import NotFound, StaleWrite, Unavailable

from .scripted import Script, Scripted, at, outcome_of, outcomes, scripted


def failing(times: int, error: Exception) -> tuple[Any, list[int]]:
    """An activation that fails this often."""
    left = [times]

    async def activate(_: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise error

    return activate, left


async def test_a_crash_restarts_with_exponential_back_off_and_keeps_the_mail(autojump_clock: MockClock) -> None:
    left = [3]

    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        if left[0]:
            left[0] -= 1
            raise ValueError("boom")
        return messages

    script = Script(turn)
    async with scripted(script, poison_attempts=10) as directory:
        assert await at(directory).ask("hello") == "hello"
    assert script.times("activate") == [0, 0.1, 0.3, 0.7]


async def test_activation_is_tried_again_after_a_tenth_a_fifth_two_fifths_up_to_ten_seconds(
    autojump_clock: MockClock,
) -> None:
    activate, _ = failing(10, Unavailable())
    script = Script(activate=activate)
    async with scripted(script) as directory:
        assert await at(directory).ask("hello", timeout=100) == "hello"
    assert script.times("activate") == [0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 12.7, 22.7, 32.7, 42.7]


async def test_a_restart_begins_from_the_store_not_from_what_the_crash_left_in_memory(
    autojump_clock: MockClock,
) -> None:
    async def turn(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
        if messages == ["bad"]:
            raise ValueError
        return [actor.turns for _ in messages]

    async with scripted(Script(turn)) as directory:
        ref = at(directory)
        assert [await ref.ask("a"), await ref.ask("b")] == [1, 2]
        assert isinstance(await outcome_of(ref, "bad"), ValueError)
        assert await ref.ask("c") == 1


async def test_one_crash_leaves_other_keys_alone(autojump_clock: MockClock) -> None:
    async def turn(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
        if actor.key == "broken":
            raise ValueError
        await trio.sleep(3)
        return messages

    script = Script(turn)
    async with scripted(script) as directory, trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, at(directory, "broken"), 1)
        assert await at(directory, "sound").ask("a") == "a"
    assert [entry[1] for entry in script.log if entry[0] == "activate"].count("sound") == 1


@pytest.mark.parametrize("error", [Unavailable("the store is away"), StaleWrite()])
async def test_an_error_of_the_infrastructure_backs_off_and_counts_against_nobody(
    autojump_clock: MockClock, error: Exception
) -> None:
    left = [6]

    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        if left[0]:
            left[0] -= 1
            raise error
        return messages

    script = Script(turn)
    async with scripted(script, max_restarts=0, poison_attempts=1) as directory:
        assert await outcomes(at(directory), "a", "b") == {"a": "a", "b": "b"}
        assert not directory.dead_letters
    assert script.times("activate") == [0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3]


async def test_while_the_store_is_away_a_key_that_nobody_asks_for_is_left_alone(autojump_clock: MockClock) -> None:
    activate, left = failing(10**6, Unavailable())
    script = Script(activate=activate)
    async with scripted(script) as directory:
        await outcome_of(at(directory), 1, timeout=1)
        tried = len(script.times("activate"))
        await trio.sleep(100)
        assert len(script.times("activate")) <= tried + 1
        await trio.sleep(30)
        assert directory.statistics().active == 0
        left[0] = 0
        assert await at(directory).ask(2) == 2


async def test_an_activation_that_is_refused_refuses_all_who_wait_and_is_not_repeated(
    autojump_clock: MockClock,
) -> None:
    async def activate(_: Any) -> None:
        await trio.sleep(1)
        raise NotFound

    script = Script(activate=activate)
    async with scripted(script) as directory:
        answers = await outcomes(at(directory), "a", "b", "c")
        assert answers == dict.fromkeys("abc", "NotFound")
        assert trio.current_time() == 1
        assert directory.statistics().crashes == 0
        assert directory.statistics().active == 0
    assert len(script.times("activate")) == 1


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("where", ["activate", "turn", "passivate"])
async def test_a_reason_to_stop_the_program_is_never_a_crash(
    autojump_clock: MockClock, error: type[BaseException], grouped: bool, where: str
) -> None:
    async def stop(*_: Any) -> Any:
        raise BaseExceptionGroup("both", [ValueError(), error()]) if grouped else error

    script = Script()
    setattr(script, where, stop)

    async def run() -> None:
        async with scripted(script, idle=1) as directory:
            at(directory).tell(1)
            await trio.sleep(100)

    with pytest.raises(BaseExceptionGroup) as caught:
        await run()
    assert caught.value.subgroup(error) is not None
    assert len(script.times("activate")) == 1


async def test_a_crash_together_with_the_cancellation_at_the_end_is_quiet(autojump_clock: MockClock) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        async def clean_up_badly() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in cleanup")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(clean_up_badly)
            await trio.sleep_forever()
        return messages

    async with scripted(Script(turn), drain_grace=1) as directory:
        at(directory).tell(1)
        await trio.sleep(0.1)
    assert trio.current_time() == pytest.approx(1.1)
