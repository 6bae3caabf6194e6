"""What a scenario is: a name, a sentence, and a function that measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ..peers import Peer
from ..results import Result
from ..stage import Stage

Measure: TypeAlias = Callable[[Stage], Iterator[Result]]


@dataclass(frozen=True)
class Scenario:
    """`measure` yields a result for each point.

    Attributes:
        points: how many there are, usually and with --quick, for the progress bar.
        fits: whether a peer can do it, too.
        briefly: how many points a peer has where peers are spared (see `Plan`); 0: it does not take part.
    """

    name: str
    summary: str
    measure: Measure
    points: tuple[int, int] = (1, 1)
    fits: Callable[[Peer], bool] = lambda peer: True
    briefly: int = 0


def no_peer(peer: Peer) -> bool:
    """For what only Tertulia's protocol has."""
    return False


def publishes(peer: Peer) -> bool:
    """For what is sent over a WebSocket."""
    return peer.wire.publish != ""
