"""Who types on other nodes. In: what the hub publishes here, and receives. Out: the end of a typing that nobody tells.

Typing is announced once and ended once. If its node dies in between, its end is never told: so a node repeats for the
other nodes who still types, and they end what they have not heard of for `typing_silence` seconds. A repetition also
makes good an announcement that the bus lost, and is otherwise told to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import trio

from .cluster_limits import ClusterLimits
from .entities import WallClock
from .events import TYPING_OFF, TYPING_ON, Event

Tell = Callable[[str, Sequence[Event]], None]


class _By(msgspec.Struct, frozen=True):
    type: str
    id: int | None


class _Data(msgspec.Struct, frozen=True):
    by: _By
    private: bool


_read = msgspec.json.Decoder(_Data).decode


class Typing(NamedTuple):
    topic: str
    stream: str
    by: _By
    private: bool


class RemoteTyping:
    """What one node knows of those who type. `remind` publishes on the bus only, `tell` to this node's subscribers."""

    def __init__(self, limits: ClusterLimits, wall_clock: WallClock, remind: Tell, tell: Tell) -> None:
        self._limits = limits
        self._wall_clock = wall_clock
        self._remind = remind
        self._tell = tell
        #: Those whose conversations live here, with what was told of them.
        self._here: dict[Typing, Event] = {}
        #: Those of other nodes, with that and until when they are believed; the longest unheard of first.
        self._elsewhere: dict[Typing, tuple[Event, float]] = {}

    def published(self, topic: str, events: Sequence[Event]) -> None:
        """This node told the topic's subscribers, and the other nodes."""
        for event in events:
            typing = _typing_of(topic, event)
            if typing is not None:
                self._elsewhere.pop(typing, None)  # its conversation has moved here
                self._here.pop(typing, None)
                if event.type == TYPING_ON and len(self._here) < self._limits.remembered_typists:
                    self._here[typing] = event

    def received(self, topic: str, events: Sequence[Event]) -> Sequence[Event]:
        """Another node told this one. Returns what its subscribers do not know yet."""
        return [event for event in events if self._is_news(topic, event)]

    def _is_news(self, topic: str, event: Event) -> bool:
        typing = _typing_of(topic, event)
        if typing is None:
            return True
        self._here.pop(typing, None)  # its conversation has moved there
        known = self._elsewhere.pop(typing, None) is not None
        if event.type == TYPING_OFF:
            return True
        if len(self._elsewhere) >= self._limits.remembered_typists:
            self._end(next(iter(self._elsewhere)))
        self._elsewhere[typing] = (event, trio.current_time() + self._limits.typing_silence)
        return not known

    async def run(self) -> None:
        """Remind and end, until cancelled."""
        while True:
            await trio.sleep(self._limits.typing_reminder)
            for typing, event in list(self._here.items()):
                self._remind(typing.topic, [event])
            now = trio.current_time()
            for typing, (_, until) in list(self._elsewhere.items()):
                if until > now:
                    break
                self._end(typing)

    def _end(self, typing: Typing) -> None:
        event, _ = self._elsewhere.pop(typing)
        off = Event(TYPING_OFF, event.stream, None, self._wall_clock(), event.data, private=event.private)
        self._tell(typing.topic, [off])


def _typing_of(topic: str, event: Event) -> Typing | None:
    if event.type not in (TYPING_ON, TYPING_OFF):
        return None
    data: Any = event.data
    try:
        found = _read(data) if isinstance(data, msgspec.Raw) else msgspec.convert(data, _Data)
    except msgspec.MsgspecError:
        return None
    return Typing(topic, event.stream, found.by, found.private)
