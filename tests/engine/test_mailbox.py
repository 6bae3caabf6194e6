"""The three lanes, what comes before them, and what is never handed out again."""

import random
from typing import Any

import pytest

from tertulia.engine.config import MailboxLimits
from tertulia.engine.errors import DeadlineExceeded, Overloaded
from tertulia.engine.mailbox import NEVER, Alarm, Envelope, Lane, Mailbox

from .scripted import Recorder


def filled(commands: int = 0, jobs: int = 0, broadcasts: int = 0, limits: MailboxLimits | None = None) -> Mailbox:
    mailbox = Mailbox(limits or MailboxLimits())
    for lane, count in zip(Lane, (commands, jobs, broadcasts), strict=True):
        for number in range(count):
            mailbox.offer(Envelope((lane, number), NEVER), lane)
    return mailbox


def messages(envelopes: list[Envelope]) -> list[Any]:
    return [envelope.message for envelope in envelopes]


def letters(*messages: Any, deadline: float = NEVER) -> list[Envelope]:
    return [Envelope(message, deadline) for message in messages]


@pytest.mark.parametrize("lane", [Lane.COMMANDS, Lane.JOBS])
def test_a_full_lane_of_commands_or_jobs_refuses_at_the_sender(lane: Lane) -> None:
    mailbox = Mailbox(MailboxLimits(commands=3, jobs=3, broadcasts=3))
    for number in range(3):
        mailbox.offer(Envelope(number, NEVER), lane)
    with pytest.raises(Overloaded):
        mailbox.offer(Envelope(3, NEVER), lane)
    assert messages(list(mailbox)) == [0, 1, 2]
    assert mailbox.room(lane) == 0


def test_a_full_lane_of_broadcasts_forgets_its_oldest() -> None:
    mailbox = Mailbox(MailboxLimits(broadcasts=2))
    caller = Recorder()
    assert mailbox.offer(Envelope(0, NEVER, caller), Lane.BROADCASTS)
    assert mailbox.offer(Envelope(1, NEVER), Lane.BROADCASTS)
    assert not mailbox.offer(Envelope(2, NEVER), Lane.BROADCASTS)
    assert messages(mailbox.take(0)) == [1, 2]
    assert isinstance(caller.answer, Overloaded)


def test_the_lanes_have_bounds_of_their_own() -> None:
    mailbox = filled(commands=1000, jobs=1000, broadcasts=100)
    assert [mailbox.room(lane) for lane in Lane] == [0, 0, 0]
    assert len(mailbox) == 2100


def test_a_turn_takes_at_most_64_commands_8_jobs_and_8_broadcasts() -> None:
    batch = filled(commands=100, jobs=100, broadcasts=100).take(0)
    assert [sum(message[0] is lane for message in messages(batch)) for lane in Lane] == [64, 8, 8]


def test_a_lane_keeps_its_order_over_many_turns() -> None:
    mailbox = filled(commands=200, jobs=30)
    taken: list[Any] = []
    while mailbox.size:
        taken += messages(mailbox.take(0))
    assert [number for lane, number in taken if lane is Lane.COMMANDS] == list(range(200))
    assert [number for lane, number in taken if lane is Lane.JOBS] == list(range(30))


@pytest.mark.parametrize("position", [1, 8, 9, 20])
def test_a_job_waits_for_its_position_by_eight_turns_however_full_the_commands_are(position: int) -> None:
    mailbox = filled(commands=1000, jobs=position)
    turns = 0
    while True:
        turns += 1
        if (Lane.JOBS, position - 1) in messages(mailbox.take(0)):
            break
        for number in range(mailbox.room(Lane.COMMANDS)):
            mailbox.offer(Envelope(number, NEVER), Lane.COMMANDS)
    assert turns == -(-position // 8)


def test_suspects_run_first_and_one_by_one() -> None:
    mailbox = filled(commands=2)
    assert mailbox.put_back(letters("a", "b")) == 2
    assert mailbox.put_back(letters("c")) == 1
    batches = [messages(mailbox.take(0)) for _ in range(4)]
    assert batches == [["c"], ["a"], ["b"], [(Lane.COMMANDS, 0), (Lane.COMMANDS, 1)]]
    assert len(mailbox) == 0


def test_what_was_answered_or_abandoned_is_not_put_back() -> None:
    answered, refused, abandoned, waiting = batch = letters("a", "b", "c", "d")
    answered.resolve(None)
    refused.refuse(ValueError())
    abandoned.abandon()
    mailbox = filled()
    assert mailbox.put_back(batch) == 1
    assert mailbox.take(0) == [waiting]


def test_what_a_turn_left_is_the_next_batch() -> None:
    mailbox = filled(commands=1)
    mailbox.put_first(letters("a", "b"))
    assert len(mailbox) == 3
    assert [messages(mailbox.take(0)), messages(mailbox.take(0))] == [["a", "b"], [(Lane.COMMANDS, 0)]]


def test_expired_work_never_starts_and_abandoned_work_is_dropped_in_silence() -> None:
    mailbox = filled()
    late, gone = Recorder(), Recorder()
    abandoned = Envelope("gone", 9, gone)
    for envelope in (Envelope("late", 1, late), abandoned, Envelope("in time", 9)):
        mailbox.offer(envelope, Lane.COMMANDS)
    abandoned.abandon()
    assert messages(mailbox.take(now=1)) == ["in time"]
    assert isinstance(late.answer, DeadlineExceeded)
    assert gone.answers == []


def test_a_sweep_refuses_what_is_expired_wherever_it_waits() -> None:
    mailbox = filled()
    callers = [Recorder() for _ in range(4)]
    mailbox.put_back([Envelope("suspect", 1, callers[0]), Envelope("later", 3)])
    mailbox.put_first([Envelope("left", 1, callers[1])])
    mailbox.offer(Envelope("command", 1, callers[2]), Lane.COMMANDS)
    mailbox.offer(Envelope("broadcast", 1, callers[3]), Lane.BROADCASTS)
    assert mailbox.expire(now=2) == 4
    assert all(isinstance(caller.answer, DeadlineExceeded) for caller in callers)
    assert messages(list(mailbox)) == ["later"]
    assert len(mailbox) == 1


def test_the_soonest_deadline_tells_the_sweep_when_there_is_something_to_do() -> None:
    mailbox = filled()
    assert mailbox.soonest == NEVER
    for deadline in (7, 5, 9):
        mailbox.offer(Envelope(deadline, deadline), Lane.COMMANDS)
    assert mailbox.soonest == 5
    mailbox.expire(now=6)
    assert mailbox.soonest == 7


def test_alarms_end_with_their_incarnation() -> None:
    mailbox = filled(commands=1)
    mailbox.offer(Alarm("tick", NEVER), Lane.BROADCASTS)
    mailbox.put_back([Alarm("tock", NEVER)])
    assert mailbox.silence_alarms() == 2
    assert messages(list(mailbox)) == [(Lane.COMMANDS, 0)]


def test_an_envelope_is_answered_once() -> None:
    caller = Recorder()
    envelope = Envelope("a", 9, caller)
    envelope.resolve(1)
    envelope.resolve(2)
    envelope.refuse(ValueError())
    assert caller.answer == 1


@pytest.mark.parametrize("seed", range(10))
def test_the_size_is_what_the_mailbox_holds(seed: int) -> None:
    rng = random.Random(seed)
    mailbox = Mailbox(MailboxLimits(commands=5, jobs=4, broadcasts=3, commands_per_turn=2, jobs_per_turn=1))
    taken: list[Envelope] = []
    for now in range(300):
        for _ in range(rng.randrange(4)):
            lane = rng.choice(list(Lane))
            if lane is Lane.BROADCASTS or mailbox.room(lane):
                mailbox.offer(Envelope(now, now + rng.choice([2, 5, NEVER])), lane)
        match rng.randrange(5):
            case 0:
                mailbox.put_back(taken)
                taken = []
            case 1:
                mailbox.put_first([envelope for envelope in taken if envelope.deadline > 0])
                taken = []
            case 2:
                mailbox.expire(now)
            case _:
                taken = mailbox.take(now)
        assert len(mailbox) == len(list(mailbox)), f"seed {seed}"
    waiting = list(mailbox)
    assert (mailbox.clear(), len(mailbox), list(mailbox)) == (waiting, 0, []), f"seed {seed}"
