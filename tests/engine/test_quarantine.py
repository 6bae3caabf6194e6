"""Giving up in time: a key that keeps crashing rests; too many of them stop the engine."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.engine.errors import ActorFailed, Draining, Escalated

from .scripted import Script, Scripted, at, outcome_of, scripted


def failing(times: int, error: Exception) -> tuple[Any, list[int]]:
    """An activation that fails this often."""
    left = [times]

    async def activate(_: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise error

    return activate, left


async def test_the_fourth_restart_in_five_seconds_quarantines_the_key_for_thirty(autojump_clock: MockClock) -> None:
    activate, left = failing(100, OSError("broken"))
    script = Script(activate=activate)
    async with scripted(script) as directory:
        ref = at(directory)
        assert isinstance(await outcome_of(ref, 1), ActorFailed)
        assert script.times("activate") == [0, 0.1, 0.3, 0.7]
        assert directory.statistics().quarantined == 1
        assert isinstance(await outcome_of(ref, 2), ActorFailed)
        with pytest.raises(ActorFailed):
            ref.tell(2)
        assert trio.current_time() == pytest.approx(0.7), "callers of a quarantined key fail at once"
        await trio.sleep(29.9)
        assert isinstance(await outcome_of(ref, 3), ActorFailed)
        left[0] = 0
        await trio.sleep(0.2)
        assert await ref.ask(4) == 4


async def test_restarts_further_apart_do_not_quarantine(autojump_clock: MockClock) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        return messages

    script = Script(turn)
    async with scripted(script) as directory:
        for number in range(10):
            assert await at(directory).ask(number) == number
            actor = directory.peek(Scripted, "k")
            assert actor is not None
            actor.context.fail(ValueError("the state is wrong"))
            await trio.sleep(2)
    assert len(script.times("activate")) == 11


async def test_all_callers_of_a_key_that_is_quarantined_fail_with_errors_of_their_own(
    autojump_clock: MockClock,
) -> None:
    activate, _ = failing(100, OSError("broken"))
    async with scripted(Script(activate=activate)) as directory:
        errors: list[Any] = []

        async def ask() -> None:
            errors.append(await outcome_of(at(directory), 1))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
    assert [type(error) for error in errors] == [ActorFailed] * 3
    assert len({id(error) for error in errors}) == 3


async def test_more_failed_keys_than_ten_and_one_percent_stop_the_engine_with_the_cause(
    autojump_clock: MockClock,
) -> None:
    activate, _ = failing(1000, OSError("the disk is gone"))
    failed: list[Any] = []

    async def run() -> None:
        async with scripted(Script(activate=activate), max_restarts=0) as directory:
            for number in range(11):
                failed.append(await outcome_of(at(directory, number), 1))
            await trio.sleep_forever()

    with pytest.RaisesGroup(pytest.RaisesExc(Escalated)) as caught:
        await run()
    assert [type(error) for error in failed] == [ActorFailed] * 11
    assert isinstance(caught.value.exceptions[0].__cause__, OSError)


async def test_ten_failed_keys_do_not(autojump_clock: MockClock) -> None:
    activate, _ = failing(10, OSError("the disk is gone"))
    async with scripted(Script(activate=activate), max_restarts=0) as directory:
        for number in range(10):
            assert isinstance(await outcome_of(at(directory, number), 1), ActorFailed)
        assert await at(directory, "another").ask(1) == 1


async def test_eleven_of_two_thousand_keys_do_not(autojump_clock: MockClock) -> None:
    async def activate(key: Any) -> None:
        if isinstance(key, str):
            raise OSError

    async with scripted(Script(activate=activate), max_restarts=0) as directory:
        for number in range(2000):
            at(directory, number).tell(0)
        await wait_all_tasks_blocked()
        for number in range(11):
            assert isinstance(await outcome_of(at(directory, f"broken {number}"), 1), ActorFailed)
        assert await at(directory, 1).ask(1) == 1


async def test_failures_spread_over_time_do_not(autojump_clock: MockClock) -> None:
    activate, _ = failing(30, OSError("now and then"))
    async with scripted(Script(activate=activate), max_restarts=0) as directory:
        for number in range(30):
            assert isinstance(await outcome_of(at(directory, number), 1), ActorFailed)
            await trio.sleep(1)


async def test_the_program_s_own_error_does_not_hide_the_escalation(autojump_clock: MockClock) -> None:
    activate, _ = failing(1000, OSError("the disk is gone"))

    async def run() -> None:
        async with scripted(Script(activate=activate), max_restarts=0, escalate_keys=0, escalate_share=0) as directory:
            try:
                at(directory).tell(1)
                await trio.sleep_forever()
            finally:
                raise KeyError("in the program's cleanup")

    with pytest.raises(BaseExceptionGroup) as caught:
        await run()
    assert caught.value.subgroup(Escalated) is not None
    assert caught.value.subgroup(KeyError) is not None


async def test_those_who_wait_for_other_keys_fail_at_once_when_the_engine_gives_up(autojump_clock: MockClock) -> None:
    async def activate(key: Any) -> None:
        if key == "broken":
            raise ValueError

    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        await trio.sleep(20)
        return messages

    failed: list[Any] = []

    async def wait(ref: Any) -> None:
        with trio.CancelScope(shield=True):
            failed.append(await outcome_of(ref, 1, timeout=1000))
        failed.append(trio.current_time())

    async def run() -> None:
        limits = {"max_restarts": 0, "escalate_keys": 0, "escalate_share": 0}
        async with scripted(Script(turn, activate), **limits) as directory, trio.open_nursery() as nursery:
            nursery.start_soon(wait, at(directory, "sound"))
            await trio.sleep(1)
            at(directory, "broken").tell(1)

    with pytest.RaisesGroup(pytest.RaisesExc(Escalated)):
        await run()
    assert isinstance(failed[0], Draining)
    assert failed[1] == 1
