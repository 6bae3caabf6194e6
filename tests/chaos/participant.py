"""One subscriber, of a conversation or of an account. In: events, from whichever node will have it. Out: what it saw.

It behaves as a careful client of the extended protocol: it names its position when it comes back, waits a little longer
before each try, and takes silence for the end of a connection. What it cannot be told in full it asks for again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec
import trio

from .nodes import Node
from .tally import Anomaly, Ending, Return, Tally
from .websocket import Closed, connect

SUBPROTOCOL = "actioncable-v1-ext-json"
FIRST_DELAY, LONGEST_DELAY = 0.2, 3.0  # seconds; a random half of it is left out
SILENCE = 9.0  # seconds: three pings that did not come
CONNECT_TIMEOUT = 5.0


class Person(NamedTuple):
    """Who is connected."""

    token: str
    role: str  # of a member; or "visitor"


def person_of(user: Mapping[str, Any]) -> Person:
    """A member of the demo account."""
    return Person(user["token"], user["role"])


class Data(msgspec.Struct):
    """As much of an event as is looked at."""

    client_id: str | None = None
    code: str | None = None
    detail: str | None = None
    retryable: bool = False
    retry_after: float = 0.0


class Event(msgspec.Struct):
    type: str
    data: Data


class Frame(msgspec.Struct):
    type: str | None = None
    message: msgspec.Raw = msgspec.Raw(b"null")
    stream_id: str | None = None
    epoch: str | None = None
    offset: int | None = None
    reason: str | None = None
    reconnect: bool | None = None


_frame = msgspec.json.Decoder(Frame).decode
_event = msgspec.json.Decoder(Event).decode


class Participant:
    """A subscriber. `choose` picks the node for the next connection; `heard` is called with every event."""

    def __init__(
        self,
        name: str,
        conversation_id: int,
        person: Person,
        choose: Callable[[], Node],
        tally: Tally,
        heard: Callable[[Event], None] | None = None,
        *,
        silence: float = SILENCE,
    ) -> None:
        self.name = name
        self.conversation_ids: Sequence[int] = (conversation_id,)
        self.identifier = json.dumps({"channel": "ConversationChannel", "id": conversation_id})
        self.node: Node | None = None
        self._left: Node | None = None  # where it was when it last had everything
        #: By stream: (seq, the client_id of a created message).
        self.logs: dict[str, list[tuple[int, str | None]]] = {}
        #: While it is connected and has all that it missed.
        self.online = trio.Event()
        #: Set when `online` is over.
        self.offline = trio.Event()
        self._token = person.token
        self.is_member = person.role != "visitor"
        self._choose = choose
        self._tally = tally
        self._heard = heard
        self._silence = silence
        self._random = Random(name)
        self._socket: Any = None
        self._news_came = trio.Event()
        self._epoch: str | None = None
        self._in_history = self._resuming = False
        self._news = 0

    def log_of(self, conversation_id: int) -> list[tuple[int, str | None]]:
        """What it saw of a conversation."""
        return self.logs.setdefault(f"conversation:{conversation_id}", [])

    @property
    def node_name(self) -> str:
        return "none" if self.node is None else self.node.name

    async def reach(self, conversation_id: int, seq: int) -> None:
        """Wait until it has seen everything up to there."""
        log = self.log_of(conversation_id)
        while not log or log[-1][0] < seq:
            self._news_came = trio.Event()
            await self._news_came.wait()

    async def perform(self, action: str, **data: Any) -> None:
        """Send a command. Raises Closed."""
        content = json.dumps({"action": action, **data})
        if self._socket is None:
            raise Closed("dropped")
        await self._socket.send(self._command("message", data=content))

    async def run(self) -> None:
        """Stay subscribed until cancelled."""
        delay = FIRST_DELAY
        while True:
            node = self._choose()
            how = await self._visit(node)
            self._tally.endings.append(Ending(how, node.name, trio.current_time()))
            if self.online.is_set():
                delay = FIRST_DELAY
                self.online = trio.Event()
            self.offline.set()
            await trio.sleep(self._random.uniform(delay / 2, delay))
            delay = min(2 * delay, LONGEST_DELAY)

    async def _visit(self, node: Node) -> str:
        """One connection, from its beginning to its end; returns how it ended."""
        try:
            with trio.fail_after(CONNECT_TIMEOUT):
                socket = await connect(f"ws://{node.address}/cable?token={self._token}", SUBPROTOCOL)
        except (OSError, trio.TooSlowError):
            return "unreachable"
        except Closed as closed:
            return str(closed)
        async with socket:
            self._socket, self.node = socket, node
            try:
                await socket.send(self._command("subscribe", history=self._history()))
                self._tally.connects += 1
                while True:
                    with trio.fail_after(self._silence):
                        messages = await socket.receive()
                    for message in messages:
                        how = self._hear(_frame(message))
                        if how is not None:
                            return how
            except trio.TooSlowError:
                return "silent"
            except Closed as closed:
                return str(closed)
            finally:
                self._socket = None

    def _command(self, command: str, **more: Any) -> bytes:
        return json.dumps({"command": command, "identifier": self.identifier, **more}).encode()

    def _history(self) -> dict[str, Any]:
        """Everything from the beginning, but of the streams that it knows only what it has not seen."""
        positions = {stream: {"epoch": self._epoch, "offset": log[-1][0]} for stream, log in self.logs.items() if log}
        self._in_history, self._news, self._resuming = True, 0, bool(positions)
        self._tally.resumes += self._resuming
        return {"since": 1, "streams": positions}

    def _hear(self, frame: Frame) -> str | None:
        """Returns how the connection ends, if it does."""
        match frame.type:
            case None:
                self._hear_event(frame)
            case "confirm_history":
                self._in_history = False
                self._tally.recovered += self._news
                self._tally.resumes_with_news += self._news > 0
                if self._left is not None:
                    self._tally.returns.append(Return(self._left.name, trio.current_time()))
                self._left = self.node
                self.offline = trio.Event()
                self.online.set()
            case "reject_history" | "reject_subscription":
                return frame.type
            case "disconnect":
                if not frame.reconnect:
                    self._tally.refusals.append(f"{self.name} was told not to come back: {frame.reason}")
                return frame.reason
            case _:
                pass
        return None

    def _hear_event(self, frame: Frame) -> None:
        event = _event(frame.message)
        if frame.offset is not None:
            self._follow(frame, event)
        if self._heard is not None:
            self._heard(event)

    def _follow(self, frame: Frame, event: Event) -> None:
        assert frame.offset is not None
        assert frame.stream_id is not None
        log = self.logs.setdefault(frame.stream_id, [])
        seq, previous = frame.offset, log[-1][0] if log else 0
        self._tally.deliveries += 1
        self._news += self._in_history and self._resuming
        # What a visitor must not see leaves holes in what it sees; the log of the store tells them from others.
        if seq <= previous or (seq > previous + 1 and self.is_member):
            seen = seq <= previous and any(seq == known for known, _ in log)
            kind = "gap" if seq > previous else "duplicate" if seen else "reordered"
            seconds = trio.current_time() - self._tally.began
            self._tally.anomalies.append(
                Anomaly(kind, self.name, frame.stream_id, self.node_name, seq, previous, seconds, self._in_history)
            )
            if seq <= previous:
                return
        log.append((seq, event.data.client_id if event.type == "message.created" else None))
        self._epoch = frame.epoch
        self._news_came.set()


class Dashboard(Participant):
    """Subscribed to an account: to all of its conversations at once."""

    def __init__(
        self, name: str, conversation_ids: Sequence[int], person: Person, choose: Callable[[], Node], tally: Tally
    ) -> None:
        super().__init__(name, 0, person, choose, tally)
        self.conversation_ids = conversation_ids
        self.identifier = json.dumps({"channel": "AccountChannel"})
