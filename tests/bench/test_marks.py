from __future__ import annotations

from bench.load.marks import ID_SIZE, MARK_SIZE, AlternatingLedger, Completeness, Ledger, mark, marks_in, message_id


def seen(*numbers: int, sender: int = 1) -> Ledger:
    ledger = Ledger()
    for n in numbers:
        ledger.note(sender, n)
    return ledger


def test_everything_once_and_in_order_is_perfect() -> None:
    assert seen(1, 2, 3).settle({1: 3}) == Completeness(expected=3)


def test_what_is_missing_at_the_end_is_lost() -> None:
    assert seen(1, 2).settle({1: 4}) == Completeness(expected=4, lost=2)


def test_what_is_passed_over_is_lost() -> None:
    assert seen(1, 3, 4).settle({1: 4}) == Completeness(expected=4, lost=1)


def test_a_sender_who_was_never_heard_is_lost_as_a_whole() -> None:
    assert seen(1).settle({1: 1, 2: 5}) == Completeness(expected=6, lost=5)


def test_the_same_again_is_a_duplicate() -> None:
    assert seen(1, 2, 2, 1).settle({1: 2}) == Completeness(expected=2, duplicated=2)


def test_what_comes_late_is_reordered_and_not_lost() -> None:
    assert seen(1, 3, 2, 4).settle({1: 4}) == Completeness(expected=4, reordered=1)


def test_what_came_late_and_comes_again_is_a_duplicate_as_well() -> None:
    assert seen(1, 3, 2, 2).settle({1: 3}) == Completeness(expected=3, reordered=1, duplicated=1)


def test_senders_are_told_apart() -> None:
    ledger = seen(1, 2)
    ledger.note(7, 1)
    assert ledger.has_all({1: 2, 7: 1})
    assert not ledger.has_all({1: 2, 7: 2})


def test_what_was_passed_over_is_still_to_come() -> None:
    ledger = seen(1, 3)
    assert not ledger.has_all({1: 3})
    ledger.note(1, 2)
    assert ledger.has_all({1: 3})


def test_one_fault_anywhere_is_not_perfect() -> None:
    total = Completeness()
    total += seen(1, 2).settle({1: 2})
    assert total.perfect
    total += seen(1).settle({1: 2})
    assert not total.perfect
    assert total == Completeness(expected=4, lost=1)


def test_on_and_off_in_turn_are_complete() -> None:
    ledger = AlternatingLedger()
    for on in (1, 0, 1, 0):
        ledger.note(1, on)
    assert ledger.settle({1: 4}) == Completeness(expected=4)


def test_two_ons_in_a_row_are_an_off_that_was_lost() -> None:
    ledger = AlternatingLedger()
    for on in (1, 1, 0):
        ledger.note(1, on)
    assert ledger.settle({1: 4}) == Completeness(expected=4, lost=1)


def test_marks_are_found_in_any_text_around_them() -> None:
    text = b'{"a":"' + mark(12, 345, 2**40) + b' hello"}{"b":"' + mark(0, 1, 7) + b'"}'
    assert marks_in(text) == [(12, 345, 2**40), (0, 1, 7)]


def test_an_id_is_not_taken_for_a_mark() -> None:
    assert marks_in(message_id(12, 345)) == []


def test_marks_and_ids_have_one_size() -> None:
    assert {len(mark(sender, n, n)) for sender, n in ((0, 1), (999999, 10**8))} == {MARK_SIZE}
    assert {len(message_id(sender, n)) for sender, n in ((0, 1), (999999, 10**8))} == {ID_SIZE}
