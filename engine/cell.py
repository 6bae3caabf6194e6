"""One key's life: activate, take turns, crash, restart, rest. In: mail from `directory`. Next hop: `Actor.handle`.

    activate -> turn, turn, ... -> passivate -> gone
        ^           |crash
        +-- backoff +--> quarantine: callers fail at once, until the key has rested

A crash ends the incarnation. Its deferred batches are waited for, so that the next one cannot read a state that is
still being written; then what has to run again goes to the head of the mailbox, in the order in which it was accepted:
stale batches, then the batch that crashed, then everything else. `supervisor` decides who is to blame.
"""

from __future__ import annotations

import logging
from typing import Any

import trio

from .actor import Actor, Context
from .desk import Desk
from .errors import Refusal
from .mailbox import NEVER, Envelope
from .ref import address_name, current_chain
from .supervisor import Supervisor, crash_of, is_infrastructure

logger = logging.getLogger("tertulia.cell")

NOTHING_TO_SAY = Actor[Any].passivate


class Cell(Desk):
    """The supervised life of one key."""

    __slots__ = ()

    # The supervising task.

    async def run(self) -> None:
        """Keep the key alive while it has mail; end when it is passive, absent or quarantined."""
        current_chain.set((self.address,))
        while True:
            crash = await self._incarnate()
            if isinstance(crash, _Absent):
                return self.directory.forget(self, crash.refusal)
            if isinstance(crash, _Unexplained):
                return self.directory.quarantine(self, crash.crash)
            if crash is None:
                self.retiring = False
                if not self.mailbox.size:
                    # No await between the test and the removal: mail that comes later makes a new cell.
                    return self.directory.forget(self)
            else:
                supervisor = self._record_crash(crash)
                if supervisor is None:
                    return self.directory.quarantine(self, crash)
                del crash  # and with it the frames of the turn
                await trio.sleep(supervisor.backoff())
                if not await self._is_wanted():
                    return self.directory.forget(self)

    async def _incarnate(self) -> Exception | None:
        """Live one incarnation to its end. Returns its crash, None where it ended in peace."""
        self._failure = None
        self._came_up = False
        actor: Actor[Any] | None = None
        crash: Exception | None = None
        try:
            with trio.CancelScope() as self._scope:
                actor = await self._activate()
                await self._take_turns(actor)
        except BaseException as error:
            crash = crash_of(error)
            if crash is None:  # cancelled, or the program is to end
                self._collect()
                raise
        self.actor = None
        try:
            while self.deferred:
                await self._sleep()
        finally:
            self._collect()
        crash = crash or self._failure
        if crash is None and actor is not None:
            await self._passivate(actor)
        self.directory.queued -= self.mailbox.silence_alarms()
        return crash

    async def _activate(self) -> Actor[Any]:
        context = Context(self, self.address[1], self.directory)
        actor = self.directory.make(self.address, context)
        async with self.directory.activations:
            self._busy_since = trio.current_time()
            try:
                await actor.activate()
            except Refusal as refusal:
                raise _Absent(refusal) from refusal
            finally:
                self._busy_since = NEVER
        self._came_up = True
        self.actor = actor
        return actor

    async def _take_turns(self, actor: Actor[Any]) -> None:
        mailbox = self.mailbox
        directory = self.directory
        turnstile = directory.turnstile
        in_flight = directory.config.lifecycle.turns_in_flight
        while self._failure is None:
            if not mailbox.size:
                if self.retiring or directory.draining:
                    return
                await self._sleep(idle=True)
                if mailbox.size:
                    self.retiring = False
            elif len(self.deferred) >= in_flight:
                await self._sleep()
            elif not turnstile.admits(self):
                turnstile.line_up(self)
                await self._sleep()
            else:
                before = mailbox.size
                now = directory.now()
                batch = mailbox.take(now)
                if actor.pace:
                    self.next_turn = now + actor.pace
                directory.queued -= before - mailbox.size
                turnstile.enter(self, len(batch))
                if batch:
                    await self._take_turn(actor, batch, now)
                if not self.deferred:
                    turnstile.leave(self)
                if mailbox.size:  # without more mail it sleeps, and that is a checkpoint too
                    await trio.lowlevel.checkpoint()

    async def _take_turn(self, actor: Actor[Any], batch: list[Envelope], now: float) -> None:
        self._turn = batch
        self._busy_since = now
        chained = [envelope.chain for envelope in batch if envelope.chain]
        if chained:
            current_chain.set((self.address, *(address for chain in chained for address in chain)))
        try:
            await actor.handle(batch)
        except BaseException as error:
            self._blame(batch, error)
            raise
        finally:
            self._turn = None
            self._busy_since = NEVER
            if chained:
                current_chain.set((self.address,))
        took = self.directory.now() - now
        done = len(batch)
        if self._left is not None:
            done -= len(self._left)
            self._put_off(self._left)
        self._seconds_per_message += (took / max(done, 1) - self._seconds_per_message) / 8
        if took > self.directory.config.lifecycle.slow_turn:
            logger.warning("%s took %.1f s for a turn of %d messages.", address_name(self.address), took, len(batch))
        if self._supervisor is not None:
            self._stood(self._supervisor, batch)

    def _blame(self, batch: list[Envelope], error: BaseException) -> None:
        """Keep a crashed turn's batch for the next incarnation, except for what is poison."""
        self._left = None
        if self._is_deferred(batch):
            return  # it will be answered: the crash came later
        crash = crash_of(error) or self._failure
        poison = self._supervised().blame(crash, batch, trio.current_time()) if crash is not None else None
        if crash is not None and poison is not None:
            self.directory.bury(self.address, poison, crash)
        else:
            self._crashed = batch

    def _stood(self, supervisor: Supervisor, batch: list[Envelope]) -> None:
        """A turn of a key with a record ended well."""
        if not self._is_deferred(batch):
            supervisor.recovered()
        crash = supervisor.acquit(batch, trio.current_time())
        if crash is not None:
            raise _Unexplained(crash)

    async def _passivate(self, actor: Actor[Any]) -> None:
        if type(actor).passivate is NOTHING_TO_SAY:
            return  # a scope for each of these would be half of an idle engine's drain
        self._busy_since = trio.current_time()
        try:
            with trio.CancelScope() as self._scope:
                await actor.passivate()
        except BaseException as error:
            if crash_of(error) is None:
                raise
            logger.error("%s failed to passivate.", address_name(self.address), exc_info=error)
        finally:
            self._busy_since = NEVER

    def _supervised(self) -> Supervisor:
        if self._supervisor is None:
            self._supervisor = Supervisor(self.directory.config.supervision)
        return self._supervisor

    def _record_crash(self, crash: Exception) -> Supervisor | None:
        """Put a crash on record. Returns the record, None where the key is beyond hope."""
        name = address_name(self.address)
        self.directory.crashes += 1
        if is_infrastructure(crash):
            logger.warning("%s restarts: %s", name, crash)
        else:
            logger.error("%s crashed: %r", name, crash, exc_info=crash)
        supervisor = self._supervised()
        return None if supervisor.crashed(crash, trio.current_time()) else supervisor

    async def _is_wanted(self) -> bool:
        """An actor that ran is restarted. One that could not be activated is tried again only when it has mail."""
        while not self._came_up and not self.mailbox.size:
            if self.retiring or self.directory.draining:
                return False
            await self._sleep(idle=True)
        return True


class _Absent(Exception):
    """Activation found nothing under the key."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class _Unexplained(Exception):
    """All suspects of a crash ran through: with it the key has had too many crashes that no message explains."""

    def __init__(self, crash: Exception) -> None:
        super().__init__(crash)
        self.crash = crash
