"""How clients of a server talk. A scenario says who is in which room; a dialect turns that into a peer's bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .marks import ID_SIZE, MARK_SIZE, Mark, marks_in
from .wire import TEXT, header


@dataclass(frozen=True, slots=True)
class Client:
    """One connection of the load generator.

    Attributes:
        room: what it is subscribed to, a number from 0; it hears all senders of the room.
        sender: its number in the marks, where it sends; numbers are unique in a run.
        window: how many of its messages may be under way; 0: any number.
        paced: it sends in turn with the others when the rate says so, instead of when its window lets it.
        visitor: the customer of a conversation rather than an agent, where a peer tells them apart.
        http: it sends by HTTP requests, and hears nothing but their answers.
        reads: False for a client that never reads once it is subscribed.
        watched: whether the latency of what it hears is counted.
    """

    room: int
    sender: int | None = None
    window: int = 0
    paced: bool = False
    visitor: bool = False
    http: bool = False
    reads: bool = True
    watched: bool = True


class Step(NamedTuple):
    """One step of a greeting: when a frame holds `expects`, `sends` goes out. The last step sends nothing."""

    expects: bytes
    sends: bytes


class Dialect(ABC):
    """A peer's protocol. Instances travel to the generator's processes, so they are frozen dataclasses of a module."""

    @property
    def answers(self) -> Mapping[bytes, bytes]:
        """Payloads of the server that must be answered, and the frame that does, such as a protocol's own ping."""
        return {}

    @property
    def separator(self) -> bytes:
        """What stands between two messages in one frame; empty where a frame is a message."""
        return b""

    @property
    def alternates(self) -> bool:
        """Whether events carry no number, but are on and off in turn: see `marks.AlternatingLedger`."""
        return False

    @property
    def accepted(self) -> bytes:
        """What a frame to the sender holds whose message was taken; empty where it hears its own message instead."""
        return b""

    @property
    def failure(self) -> bytes:
        """What a frame holds that refuses a message; empty where there is no such thing."""
        return b""

    @abstractmethod
    def opening(self, client: Client) -> bytes:
        """The upgrade request; empty for a client that speaks plain HTTP."""

    @abstractmethod
    def greeting(self, client: Client) -> Sequence[Step]:
        """From the upgrade to the subscription; `expects` is empty for what is sent at once."""

    def resuming(self, client: Client, last: bytes) -> Sequence[Step]:
        """The same for a client that comes back; `last` ends with the frame that it received last, or is empty."""
        return self.greeting(client)

    @abstractmethod
    def messages(self, client: Client) -> Sequence[bytes]:
        """What it sends, in turn: whole frames or requests in which `%(id)b` and `%(mark)b` are filled in."""

    @abstractmethod
    def with_text(self, text: str) -> Dialect:
        """The same, with another text in every message."""

    def marks(self, data: bytes) -> list[Mark]:
        """The marks in whole frames."""
        return marks_in(data)


def filled_size(template: bytes) -> int:
    """The size of a template once it is filled in."""
    return len(template % {b"id": b" " * ID_SIZE, b"mark": b" " * MARK_SIZE})


def framed(template: bytes, first: int = TEXT) -> bytes:
    """A template of a payload as a template of a whole frame."""
    return header(filled_size(template), first).replace(b"%", b"%%") + template
