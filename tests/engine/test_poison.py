"""A message that crashes its actor: found out, put aside, and no reason to punish anybody else."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tertulia.engine.actor import Actor
from tertulia.engine.errors import ActorFailed, Draining
from tertulia.engine.mailbox import NEVER, Envelope, Lane

from .scripted import Recorder, Script, Scripted, at, opened, outcome_of, outcomes, scripted


async def crash_on_bad(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
    if any(str(message).startswith("bad") for message in messages):
        raise ValueError("poison")
    return [f"{message}!" for message in messages]


async def test_a_crash_in_a_batch_blames_nobody(autojump_clock: MockClock) -> None:
    async with scripted(Script(crash_on_bad), poison_attempts=1) as directory:
        answers = await outcomes(at(directory), "a", "b", "bad")
    assert answers == {"a": "a!", "b": "b!", "bad": "ValueError"}


async def test_poison_is_isolated_from_its_batch(autojump_clock: MockClock) -> None:
    async with scripted(Script(crash_on_bad)) as directory:
        answers = await outcomes(at(directory), "a", "b", "bad", "c", "d")
        (letter,) = directory.dead_letters
    assert answers == {"a": "a!", "b": "b!", "bad": "ValueError", "c": "c!", "d": "d!"}
    assert letter.address == (Scripted, "k")
    assert letter.envelope.message == "bad"
    assert isinstance(letter.error, ValueError)


async def test_poison_runs_alone_twice_and_no_more(autojump_clock: MockClock) -> None:
    script = Script(crash_on_bad)
    async with scripted(script) as directory:
        await outcomes(at(directory), "a", "bad")
    assert script.turns().count(["bad"]) == 2


async def test_no_amount_of_poison_quarantines_a_key(autojump_clock: MockClock) -> None:
    async with scripted(Script(crash_on_bad), max_restarts=0) as directory:
        ref = at(directory)
        for number in range(20):
            assert await outcomes(ref, "a", f"bad {number}") == {"a": "a!", f"bad {number}": "ValueError"}
            assert await ref.ask("b") == "b!"
        assert directory.statistics().dead_letters == 20


async def test_a_sender_that_disconnects_after_each_crash_cannot_quarantine_a_key(autojump_clock: MockClock) -> None:
    async with scripted(Script(crash_on_bad), max_restarts=0) as directory:
        ref = at(directory)
        for _ in range(20):
            with trio.move_on_after(0.05):
                await ref.ask("bad")
            assert await ref.ask("a") == "a!"


async def test_the_neighbours_of_poison_do_not_wait_for_a_growing_back_off(autojump_clock: MockClock) -> None:
    async with scripted(Script(crash_on_bad)) as directory:
        await outcomes(at(directory), *(f"bad {number}" for number in range(20)))
        assert trio.current_time() < 20 * 0.3 + 0.2


async def test_a_batch_crash_that_no_suspect_explains_counts(autojump_clock: MockClock) -> None:
    async def turn(_: Scripted, messages: list[Any]) -> Sequence[Any]:
        if len(messages) > 1:
            raise ValueError("only in company")
        return messages

    async with scripted(Script(turn)) as directory:
        ref = at(directory)
        for _ in range(4):
            assert await outcomes(ref, "a", "b") == {"a": "a", "b": "b"}
        with pytest.raises(ActorFailed):
            await ref.ask("c")


async def test_the_dead_letters_are_bounded_and_the_oldest_go_first(autojump_clock: MockClock) -> None:
    async with scripted(Script(crash_on_bad), dead_letters=2) as directory:
        for number in range(3):
            await outcome_of(at(directory), f"bad {number}")
        assert [letter.envelope.message for letter in directory.dead_letters] == ["bad 1", "bad 2"]


async def test_a_dead_letter_can_be_replayed_when_the_reason_is_gone(autojump_clock: MockClock) -> None:
    mended = [False]

    async def turn(actor: Scripted, messages: list[Any]) -> Sequence[Any]:
        return messages if mended[0] else await crash_on_bad(actor, messages)

    script = Script(turn)
    async with scripted(script) as directory:
        await outcome_of(at(directory), "bad")
        (letter,) = directory.dead_letters
        mended[0] = True
        directory.replay(letter)
        assert not directory.dead_letters
        assert await at(directory).ask("after") == "after"
        with pytest.raises(ValueError, match="not among the dead"):
            directory.replay(letter)
    assert script.messages() == ["bad", "bad", "bad", "after"]


async def test_a_dead_letter_that_cannot_be_sent_stays_dead(autojump_clock: MockClock) -> None:
    async with scripted(Script(crash_on_bad)) as directory:
        await outcome_of(at(directory), "bad")
    (letter,) = directory.dead_letters
    with pytest.raises(Draining):
        directory.replay(letter)
    assert list(directory.dead_letters) == [letter]


async def test_an_envelope_that_was_answered_before_the_crash_is_not_run_again(autojump_clock: MockClock) -> None:
    class Hasty(Actor[Any]):
        async def handle(self, batch: list[Envelope]) -> None:
            for envelope in batch:
                seen.append(envelope.message)
                if envelope.message == "bad":
                    raise ValueError
                envelope.resolve(envelope.message)

    seen: list[Any] = []
    async with opened(Hasty) as directory:
        caller = Recorder()
        directory.post((Hasty, 1), Envelope("a", NEVER, caller), Lane.COMMANDS)
        directory.ref(Hasty, 1).tell("bad")
        directory.ref(Hasty, 1).tell("c")
        await trio.sleep(3)
    assert seen == ["a", "bad", "bad", "bad", "c"]
    assert caller.answer == "a"
