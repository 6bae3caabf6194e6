"""What a conversation remembers of its latest messages."""

from __future__ import annotations

import msgspec
import pytest

from tertulia.actors.remembered import Remembered
from tertulia.storage.records import MessageRow


def row(seq: int) -> MessageRow:
    return MessageRow(1, seq, 1, 1, "incoming", "text", "hi", None, False, "contact", 1, "Ana", f"c{seq}", 0)


def after(messages: int, bound: int) -> Remembered:
    remembered = Remembered()
    for seq in range(messages):
        remembered.add(f"c{seq}", row(seq), bound)
        assert len(remembered) <= bound
    return remembered


@pytest.mark.parametrize("bound", [1, 2, 3, 8, 9])
def test_the_latest_half_of_what_may_be_kept_is_always_there(bound: int) -> None:
    for messages in range(1, 4 * bound):
        remembered = after(messages, bound)
        for seq in range(max(0, messages - (bound + 1) // 2), messages):
            assert remembered.get(f"c{seq}") == row(seq)
            assert f"c{seq}" in remembered


def test_what_is_older_than_the_bound_is_forgotten() -> None:
    remembered = after(20, bound=8)
    assert remembered.get("c11") is None
    assert "c11" not in remembered


def test_a_message_that_changed_is_remembered_as_it_is_now() -> None:
    remembered = after(7, bound=8)  # some in each generation
    for seq in range(7):
        remembered.replace(f"c{seq}", msgspec.structs.replace(row(seq), content="edited"))
    assert [getattr(remembered.get(f"c{seq}"), "content", None) for seq in range(7)] == ["edited"] * 7
    remembered.replace("unknown", row(9))
    assert remembered.get("unknown") is None


def test_a_copy_does_not_see_what_comes_later() -> None:
    remembered = after(3, bound=8)
    copied = remembered.copy()
    remembered.add("later", row(9), 8)
    remembered.clear()
    assert copied.get("c2") == row(2)
    assert "later" not in copied
    assert len(remembered) == 0
