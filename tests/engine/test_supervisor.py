"""Who is to blame for a crash, and how long a key waits until it is restarted."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tertulia.engine.config import Supervision
from tertulia.engine.errors import ActorFailed, DeadlineExceeded, Draining, Overloaded, StaleWrite, Unavailable
from tertulia.engine.mailbox import NEVER, Alarm, Envelope
from tertulia.engine.supervisor import Supervisor, crash_of, is_infrastructure

CRASH = ValueError("crash")


def envelopes(count: int) -> list[Envelope]:
    return [Envelope(number, NEVER) for number in range(count)]


def test_the_back_off_doubles_from_a_tenth_of_a_second_to_ten() -> None:
    supervisor = Supervisor(Supervision(jitter=0))
    delays: list[float] = []
    for _ in range(9):
        supervisor.crashed(Unavailable(), 0)
        delays.append(supervisor.backoff())
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_the_back_off_stays_finite_after_thousands_of_crashes() -> None:
    supervisor = Supervisor(Supervision(jitter=0))
    for _ in range(5000):
        supervisor.crashed(Unavailable(), 0)
    assert supervisor.backoff() == 10.0


def test_jitter_shortens_by_up_to_a_fifth_and_never_lengthens() -> None:
    supervisor = Supervisor(Supervision(jitter=0.2))
    for _ in range(20):
        supervisor.crashed(Unavailable(), 0)
    delays = [supervisor.backoff() for _ in range(1000)]
    assert 8.0 <= min(delays) < 8.2
    assert 9.8 < max(delays) <= 10.0


def test_a_turn_that_stood_makes_the_next_back_off_short_again() -> None:
    supervisor = Supervisor(Supervision(jitter=0))
    for _ in range(5):
        supervisor.crashed(Unavailable(), 0)
    supervisor.recovered()
    supervisor.crashed(Unavailable(), 0)
    assert supervisor.backoff() == 0.1


def test_the_fourth_crash_without_mail_within_five_seconds_is_too_much() -> None:
    supervisor = Supervisor(Supervision())
    assert [supervisor.crashed(CRASH, at) for at in (0, 1, 2, 5)] == [False, False, False, True]


def test_crashes_further_apart_are_not() -> None:
    supervisor = Supervisor(Supervision())
    assert not any(supervisor.crashed(CRASH, at) for at in (0, 2, 4, 5.1, 7.1, 9.1))


def test_a_message_that_crashes_alone_twice_is_poison_and_the_key_is_innocent() -> None:
    supervisor = Supervisor(Supervision(max_restarts=0))
    (bad,) = batch = envelopes(1)
    assert supervisor.blame(CRASH, batch, 0) is None
    assert not supervisor.crashed(CRASH, 0)
    assert supervisor.blame(CRASH, batch, 1) is bad
    assert not supervisor.crashed(CRASH, 1)


def test_a_crash_without_mail_after_one_that_is_being_tried_counts() -> None:
    supervisor = Supervisor(Supervision(max_restarts=0))
    supervisor.blame(CRASH, envelopes(1), 0)
    assert not supervisor.crashed(CRASH, 0)
    assert supervisor.crashed(CRASH, 0.1)


def test_a_batch_crash_that_a_lone_crasher_explains_does_not_count() -> None:
    supervisor = Supervisor(Supervision(max_restarts=0))
    good, bad = batch = envelopes(2)
    assert supervisor.blame(CRASH, batch, 0) is None
    assert not supervisor.crashed(CRASH, 0)
    assert supervisor.acquit([good], 0) is None
    for attempt in (1, 2):
        assert supervisor.blame(CRASH, [bad], attempt) is (bad if attempt == 2 else None)
        assert not supervisor.crashed(CRASH, attempt)
    assert supervisor.acquit(envelopes(1), 3) is None


def test_a_batch_crash_that_no_suspect_explains_counts() -> None:
    supervisor = Supervisor(Supervision(max_restarts=0))
    first, second = batch = envelopes(2)
    supervisor.blame(CRASH, batch, 0)
    assert not supervisor.crashed(CRASH, 0)
    assert supervisor.acquit([first], 1) is None
    assert supervisor.acquit([second], 1) is CRASH


def test_it_counts_at_the_instant_at_which_it_happened() -> None:
    supervisor = Supervisor(Supervision(max_restarts=0))
    batch = envelopes(2)
    supervisor.blame(CRASH, batch, 0)
    supervisor.crashed(CRASH, 0)
    assert supervisor.acquit(batch, 5.1) is None


def test_a_lone_crash_that_does_not_happen_again_was_not_the_message_s_fault() -> None:
    supervisor = Supervisor(Supervision(max_restarts=0))
    batch = envelopes(1)
    supervisor.blame(CRASH, batch, 0)
    assert not supervisor.crashed(CRASH, 0)
    assert supervisor.acquit(batch, 1) is CRASH


def test_a_suspect_that_went_away_leaves_the_crash_unjudged() -> None:
    supervisor = Supervisor(Supervision(max_restarts=0))
    first, second = batch = envelopes(2)
    supervisor.blame(CRASH, batch, 0)
    supervisor.crashed(CRASH, 0)
    assert supervisor.acquit([first], 1) is None
    assert supervisor.acquit(envelopes(3), 2) is None
    supervisor.blame(CRASH, envelopes(2), 3)
    assert supervisor.acquit([second], 4) is None


def test_a_crash_by_the_actor_s_own_timer_counts_at_once() -> None:
    supervisor = Supervisor(Supervision(max_restarts=0))
    assert supervisor.blame(CRASH, [Alarm("tick", NEVER)], 0) is None
    assert supervisor.crashed(CRASH, 0)


@pytest.mark.parametrize("error", [Unavailable(), StaleWrite(), Overloaded(), Draining(), DeadlineExceeded()])
@pytest.mark.parametrize("grouped", [False, True])
def test_errors_of_the_infrastructure_count_against_nobody(error: Exception, grouped: bool) -> None:
    crash = ExceptionGroup("both", [error, error]) if grouped else error
    supervisor = Supervisor(Supervision(max_restarts=0, poison_attempts=1))
    assert is_infrastructure(crash)
    assert supervisor.blame(crash, envelopes(1), 0) is None
    assert not supervisor.crashed(crash, 0)


@pytest.mark.parametrize("error", [ValueError(), ActorFailed(), ExceptionGroup("", [Unavailable(), ValueError()])])
def test_anything_else_is_somebody_s_fault(error: Exception) -> None:
    assert not is_infrastructure(error)


async def test_a_crash_is_what_is_left_without_cancellations() -> None:
    cancelled: list[trio.Cancelled] = []

    async def catch() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            cancelled.append(error)
            raise

    async with trio.open_nursery() as nursery:
        nursery.start_soon(catch)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    group = BaseExceptionGroup("", [cancelled[0], CRASH])
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="crash")):
        raise crash_of(group) or KeyError("nothing is left")
    assert crash_of(CRASH) is CRASH
    for reason in (cancelled[0], BaseExceptionGroup("", [cancelled[0]]), SystemExit(), KeyboardInterrupt()):
        assert crash_of(reason) is None
    assert crash_of(BaseExceptionGroup("", [CRASH, SystemExit()])) is None
