"""What a subscriber gets that comes back: history and live events, merged into one sequence. Pure.

The model is Centrifuge's `PubSubSync`: hold live events back from before the history is read, then merge both by
position, drop what is double, and check that nothing is missing. The answer is the whole truth or a `Gap`, not a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Positioned(Protocol):
    @property
    def stream(self) -> str: ...
    @property
    def seq(self) -> int | None: ...


E = TypeVar("E", bound=Positioned)


@dataclass(frozen=True, slots=True)
class Gap:
    """Something between `after` and `before` is missing in `stream`."""

    stream: str
    after: int
    before: int


def merge(history: Iterable[E], live: Iterable[E], positions: Mapping[str, int]) -> list[E] | Gap:
    """The events after `positions`, each once, in the order of each stream.

    `positions` is the last seq that the subscriber has, per stream; a stream without a position begins wherever its
    first event is. Ephemeral events (no seq) have no place in a history and are left out: they are stale by now.
    """
    merged: list[E] = []
    streams: dict[str, dict[int, E]] = {}
    for event in (*history, *live):
        if event.seq is not None and event.seq > positions.get(event.stream, 0):
            streams.setdefault(event.stream, {}).setdefault(event.seq, event)
    for stream, events in streams.items():
        last = positions.get(stream)
        for seq in sorted(events):
            if last is not None and seq != last + 1:
                return Gap(stream, last, seq)
            merged.append(events[seq])
            last = seq
    return merged
