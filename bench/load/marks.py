"""Completeness. In: the marks in what a client receives. Out: what was lost, seen twice, or in another order.

Every message carries the mark `@sender:n:time@`: who sent it, which of its messages it is (from 1), and when, in
nanoseconds of the monotonic clock, which is the same in all processes of a machine. Marks have one width, so that a
message can be built by filling in a template of the right length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MARKS = re.compile(rb"@(\d{6}):(\d{9}):([0-9a-f]{16})@").findall
MARK_SIZE = 35
ID_SIZE = 16

Mark = tuple[int, int, int]  # sender, n, nanoseconds


def mark(sender: int, n: int, nanoseconds: int) -> bytes:
    return b"@%06d:%09d:%016x@" % (sender, n, nanoseconds)


def message_id(sender: int, n: int) -> bytes:
    """An id for the protocol's own use, which is not taken for a mark."""
    return b"%06d-%09d" % (sender, n)


def marks_in(data: bytes) -> list[Mark]:
    return [(int(sender), int(n), int(sent, 16)) for sender, n, sent in MARKS(data)]


@dataclass(slots=True)
class Completeness:
    """How many deliveries there should have been, and what was wrong with them."""

    expected: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0

    def __iadd__(self, other: Completeness) -> Completeness:
        self.expected += other.expected
        self.lost += other.lost
        self.duplicated += other.duplicated
        self.reordered += other.reordered
        return self

    @property
    def perfect(self) -> bool:
        return not (self.lost or self.duplicated or self.reordered)


class Ledger:
    """What one client has seen. The hot path looks only at `next`; whatever is not next goes through `note`."""

    __slots__ = ("duplicated", "missing", "next", "reordered")

    def __init__(self) -> None:
        self.next: dict[int, int] = {}  # by sender: the n that comes next, where it is not 1
        self.missing: dict[int, set[int]] | None = None  # by sender: numbers that were passed over
        self.duplicated = self.reordered = 0

    def note(self, sender: int, n: int) -> None:
        """Take one mark, whichever it is."""
        expected = self.next.get(sender, 1)
        if n >= expected:
            self.next[sender] = n + 1
            if n > expected:
                if self.missing is None:
                    self.missing = {}
                self.missing.setdefault(sender, set()).update(range(expected, n))
            return
        missing = (self.missing or {}).get(sender, set())
        if n in missing:
            missing.remove(n)
            self.reordered += 1
        else:
            self.duplicated += 1

    def has_all(self, totals: Mapping[int, int]) -> bool:
        """Whether nothing of so many messages by sender is still to come."""
        if self.missing is not None and any(self.missing.values()):
            return False
        return all(self.next.get(sender, 1) > total for sender, total in totals.items())

    def settle(self, totals: Mapping[int, int]) -> Completeness:
        """The verdict, once no more can come; `totals` are the senders in this client's room."""
        lost = sum(max(0, total + 1 - self.next.get(sender, 1)) for sender, total in totals.items())
        lost += sum(map(len, (self.missing or {}).values()))
        return Completeness(sum(totals.values()), lost, self.duplicated, self.reordered)


class AlternatingLedger(Ledger):
    """For events that say only on (1) or off (0), in turn: one that is missing shows in the turn, two in the total."""

    __slots__ = ()

    def note(self, sender: int, n: int) -> None:
        expected = self.next.get(sender, 1)
        super().note(sender, expected if expected % 2 == n % 2 else expected + 1)
