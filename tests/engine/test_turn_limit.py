"""What takes too long is logged, then cancelled; what always does is poison."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tertulia.engine.errors import TurnTooLong

from .scripted import Script, Scripted, at, outcome_of, outcomes, scripted


async def test_a_turn_that_takes_longer_than_thirty_seconds_is_cancelled_and_the_actor_restarted(
    autojump_clock: MockClock,
) -> None:
    async def turn(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
        if len(script.times("activate")) == 1:
            await trio.sleep_forever()
        return messages

    script = Script(turn)
    async with scripted(script) as directory:
        answers = await outcomes(at(directory), "a", "b", timeout=100)
    assert answers == {"a": "a", "b": "b"}
    assert script.times("activate")[1] == pytest.approx(30.1, abs=0.11)


async def test_a_message_that_always_hangs_is_poison(autojump_clock: MockClock) -> None:
    async def turn(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
        if "hang" in messages:
            await trio.sleep_forever()
        return messages

    async with scripted(Script(turn), max_restarts=0) as directory:
        answers = await outcomes(at(directory), "a", "hang", "b", timeout=200)
        assert answers == {"a": "a", "hang": "TurnTooLong", "b": "b"}
        assert [letter.envelope.message for letter in directory.dead_letters] == ["hang"]


async def test_the_sender_of_a_hanging_message_that_has_gone_does_not_make_it_run_again(
    autojump_clock: MockClock,
) -> None:
    async def turn(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
        if "hang" in messages:
            await trio.sleep_forever()
        return messages

    script = Script(turn)
    async with scripted(script, max_restarts=0) as directory:
        assert await outcomes(at(directory), "hang", timeout=5) == {"hang": "DeadlineExceeded"}
        assert trio.current_time() == pytest.approx(5, abs=0.11)
        assert await outcome_of(at(directory), "a", timeout=40) == "a"
    assert script.messages() == ["hang", "a"]


async def test_an_activation_that_hangs_is_cancelled_and_tried_again(autojump_clock: MockClock) -> None:
    async def activate(_: Any) -> None:
        if len(script.times("activate")) == 1:
            await trio.sleep_forever()

    script = Script(activate=activate)
    async with scripted(script) as directory:
        assert await outcome_of(at(directory), "a", timeout=100) == "a"
    assert script.times("activate")[1] == pytest.approx(30.1, abs=0.11)


async def test_a_passivation_that_hangs_or_fails_does_not_keep_the_key(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def passivate(key: Any) -> None:
        if key == "hangs":
            await trio.sleep_forever()
        raise ValueError("no good-bye")

    script = Script(passivate=passivate)
    async with scripted(script, idle=1) as directory:
        await at(directory, "hangs").ask(1)
        await at(directory, "fails").ask(1)
        await trio.sleep(32)
        assert directory.statistics().active == 0
        assert directory.statistics().crashes == 0
        assert await at(directory, "hangs").ask(2) == 2
    assert "failed to passivate" in caplog.text


async def test_a_turn_too_long_is_an_error_of_ours(autojump_clock: MockClock) -> None:
    async def turn(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
        await trio.sleep_forever()
        return messages

    async with scripted(Script(turn), drain_grace=0.5) as directory:
        answer = await outcome_of(at(directory), 1, timeout=100)
    assert isinstance(answer, TurnTooLong)


async def test_a_slow_turn_is_logged(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        await trio.sleep(messages[0])
        return messages

    with caplog.at_level(logging.WARNING):
        async with scripted(Script(turn)) as directory:
            await at(directory, "quick").ask(0.9)
            await at(directory, "slow").ask(1.5)
    assert [record.getMessage() for record in caplog.records] == ["Scripted slow took 1.5 s for a turn of 1 messages."]
