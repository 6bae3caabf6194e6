"""Commands for actors that live on other nodes. In: `directory.post`. Next hop: the bus, then the other node's mailbox.

A command is sent to its actor's home, and the answer comes back to whoever waits here. Everything for one node that is
decided in one pass of the scheduler travels as one payload. What can go wrong, and what the caller learns:

- The home goes away, or the bus does: a command that may run twice (`is_repeatable`) is sent to the new home; another
  one may have run, and its caller gets `OutcomeUnknown`.
- The home is draining: nothing was accepted, so the command is sent again until its home is known, or its time is up.
- The home does not listen any more (`unheard`): the same as if it had gone away.
- No answer in time: `DeadlineExceeded`, as with an actor that lives here.

Nodes that disagree on a home both run what they get: the store's fence lets one of them write, and the other starts
again from the store. A command is never sent on by the node that it was sent to.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import msgspec
import trio

from ..engine.directory import Directory
from ..engine.errors import DeadlineExceeded, Draining, OutcomeUnknown, Overloaded, TertuliaError
from ..engine.mailbox import NEVER, Alarm, Envelope, Lane
from ..engine.ref import Address
from ..storage.bus import NODE_CHANNEL, Bus
from .cluster_limits import ClusterLimits
from .homes import Homes
from .wire import (
    WireError,
    decode_answer,
    decode_command,
    decode_error,
    encode_answer,
    encode_command,
    encode_error,
    is_repeatable,
)

logger = logging.getLogger("tertulia.forwarding")


#: Keys of actors are numbers, texts, or tuples of them.
Key: TypeAlias = int | str | tuple[int | str, ...]


class Asked(msgspec.Struct, array_like=True):
    """A command. `seconds` is what its caller still waits; 0: nobody waits for the answer."""

    number: int
    kind: str
    key: Key
    lane: int
    seconds: float
    command: bytes


class Answered(msgspec.Struct, array_like=True):
    number: int
    refused: bool
    body: bytes
    accepted: bool = True  # False: it did not even get into a mailbox


class Parcel(msgspec.Struct):
    """What one node tells another in one payload."""

    origin: str
    asked: list[Asked] = []
    answered: list[Answered] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Parcel).decode


@dataclass(slots=True)
class _Pending:
    home: str
    address: Address
    envelope: Envelope
    lane: Lane
    until: float  # nobody waits for longer

    def is_over(self, now: float) -> bool:
        return min(self.envelope.deadline, self.until) <= now


class Forwarding:
    """One node's post to and from the others. A `Router` for the directory."""

    def __init__(self, bus: Bus, homes: Homes, directory: Directory, limits: ClusterLimits) -> None:
        self._bus = bus
        self._homes = homes
        self._directory = directory
        self._limits = limits
        self._kinds = {kind.__name__: kind for kind in directory.factories}
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._homeless: list[_Pending] = []
        self._parcels: dict[str, Parcel] = {}
        self._token = trio.lowlevel.current_trio_token()
        self.forwarded = 0  # commands sent to other nodes
        self.received = 0  # commands that came from them
        homes.listeners.append(self._nodes_changed)
        homes.missed.append(self._start_again)

    @property
    def waiting(self) -> int:
        """Commands that wait for another node's answer."""
        return len(self._pending)

    # Out.

    def takes(self, address: Address, envelope: Envelope, lane: Lane) -> bool:
        if self._homes.is_here(address) or isinstance(envelope, Alarm):
            return False
        try:
            command = encode_command(envelope.message)
        except WireError:
            return False  # not a command that travels, or one that its actor refuses anyway
        if len(command) > self._limits.forward_bytes:
            return False  # the fence keeps it right wherever it runs
        if len(self._pending) >= self._limits.pending_forwards:
            raise Overloaded
        number = next(self._numbers)
        home = self._homes.of(address)
        seconds = 0.0
        if envelope.caller is not None:
            now = trio.current_time()
            seconds = max(0.001, min(envelope.deadline, now + self._limits.longest_wait) - now)
            self._pending[number] = _Pending(home, address, envelope, lane, now + seconds)
        kind, key = cast("tuple[type[Any], Key]", address)
        asked = Asked(number, kind.__name__, key, int(lane), seconds, command)
        self._parcel(home).asked.append(asked)
        self.forwarded += 1
        return True

    def _parcel(self, node: str) -> Parcel:
        if not self._parcels:
            self._token.run_sync_soon(self._send, idempotent=True)
        parcel = self._parcels.get(node)
        if parcel is None:
            parcel = self._parcels[node] = Parcel(self._bus.node)
        return parcel

    def _send(self) -> None:
        parcels, self._parcels = self._parcels, {}
        for node, parcel in parcels.items():
            self._bus.publish(NODE_CHANNEL + node, _encode(parcel))

    # In.

    def receive(self, payload: bytes) -> None:
        """What came over the bus on this node's channel."""
        try:
            parcel = _decode(payload)
        except msgspec.MsgspecError as error:
            logger.error("another node sent what cannot be read: %s", error)
            return
        self._homes.heard(parcel.origin)
        for answered in parcel.answered:
            self._hear(answered)
        for asked in parcel.asked:
            self._run(parcel.origin, asked)

    def _hear(self, answered: Answered) -> None:
        pending = self._pending.pop(answered.number, None)
        if pending is None:
            return  # too late
        try:
            if not answered.refused:
                pending.envelope.resolve(decode_answer(answered.body))
                return
            error = decode_error(answered.body)
        except WireError as wrong:
            logger.error("the answer of node %s cannot be read: %s", pending.home, wrong)
            error = OutcomeUnknown()
        if isinstance(error, Draining):
            self._homes.look_soon()  # its node goes, and is not the home any more
            if answered.accepted and not is_repeatable(pending.envelope.message):
                pending.envelope.refuse(OutcomeUnknown())
            else:
                self._homeless.append(pending)
        else:
            pending.envelope.refuse(error)

    def _run(self, origin: str, asked: Asked) -> None:
        self.received += 1
        caller = _Answer(self, origin, asked.number) if asked.seconds else None
        deadline = trio.current_time() + asked.seconds if asked.seconds else NEVER
        try:
            message = decode_command(asked.command)
            address = (self._kinds[asked.kind], asked.key)
            self._directory.post_here(address, Envelope(message, deadline, caller), Lane(asked.lane))
            if not self._homes.is_here(address):
                self._directory.cells[address].retire()  # done once, for a node that does not know the new home yet
        except (WireError, KeyError, ValueError) as error:
            logger.error("node %s sent a command that cannot be read: %r", origin, error)
            self.answer(origin, Answered(asked.number, True, encode_error(WireError()), accepted=False))
        except TertuliaError as error:
            self.answer(origin, Answered(asked.number, True, encode_error(error), accepted=False))

    def answer(self, origin: str, answered: Answered) -> None:
        self._parcel(origin).answered.append(answered)

    # Time, and what goes wrong.

    async def run(self) -> None:
        """Watch over deadlines until cancelled."""
        while True:
            await trio.sleep(self._limits.forward_sweep)
            now = trio.current_time()
            for number, pending in list(self._pending.items()):
                if pending.is_over(now):
                    del self._pending[number]
                    pending.envelope.refuse(DeadlineExceeded())
            homeless, self._homeless = self._homeless, []
            for pending in homeless:
                if pending.is_over(now):
                    pending.envelope.refuse(DeadlineExceeded())
                else:
                    self._send_again(pending)

    def close(self) -> None:
        """The engine has ended: nobody hears answers any more."""
        pending, self._pending = self._pending, {}
        homeless, self._homeless = self._homeless, []
        for item in pending.values():
            item.envelope.refuse(OutcomeUnknown())
        for item in homeless:
            item.envelope.refuse(Draining())

    def bus_lost(self) -> None:
        """Answers may be lost with it."""
        self._lost(list(self._pending))

    def unheard(self, node: str) -> None:
        """What was published for a node reached nobody: it is gone, although its heartbeat has not ended."""
        self._homes.suspect(node)
        self._lost([number for number, pending in self._pending.items() if pending.home == node])

    def _start_again(self) -> None:
        """Other nodes may have written what the actors here do not know: they start again from the store."""
        for cell in list(self._directory.cells.values()):
            cell.retire()

    def _nodes_changed(self) -> None:
        live = set(self._homes.nodes)
        self._lost([number for number, pending in self._pending.items() if pending.home not in live])
        for address, cell in list(self._directory.cells.items()):
            if not self._homes.is_here(address):
                cell.retire()  # it finishes what it has; new mail goes to its new home

    def _lost(self, numbers: list[int]) -> None:
        for number in numbers:
            pending = self._pending.pop(number, None)
            if pending is None:
                continue
            if is_repeatable(pending.envelope.message):
                self._send_again(pending)
            else:
                pending.envelope.refuse(OutcomeUnknown())

    def _send_again(self, pending: _Pending) -> None:
        if pending.envelope.caller is None:
            return
        try:
            self._directory.post(pending.address, pending.envelope, pending.lane)
        except TertuliaError as error:
            pending.envelope.refuse(error)


class _Answer:
    """The caller on another node."""

    __slots__ = ("_forwarding", "_number", "_origin")

    def __init__(self, forwarding: Forwarding, origin: str, number: int) -> None:
        self._forwarding = forwarding
        self._origin = origin
        self._number = number

    def resolve(self, value: Any) -> None:
        try:
            body = encode_answer(value)
        except WireError:
            logger.exception("an answer of type %s cannot be sent to another node", type(value).__name__)
            self.refuse(OutcomeUnknown())
        else:
            self._forwarding.answer(self._origin, Answered(self._number, False, body))

    def refuse(self, error: Exception) -> None:
        self._forwarding.answer(self._origin, Answered(self._number, True, encode_error(error)))
