"""A participant that also speaks: it repeats each message until it is acknowledged, then says the next one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import trio

from .nodes import Node
from .participant import Event, Participant, Person
from .tally import Tally, Wait
from .websocket import Closed

#: Seconds without an answer after which a message is sent again. The server's own deadline for a command is shorter.
PATIENCE = 7.0
BETWEEN_CHORES = 3  # messages
PRIORITIES = ("low", "medium", "high", "urgent", None)


class Sender:
    """One message under way at a time, so that its messages are stored in the order in which it said them."""

    def __init__(
        self,
        name: str,
        conversation_id: int,
        person: Person,
        choose: Callable[[], Node],
        tally: Tally,
        *,
        interval: float,
        content: str = "x" * 80,
    ) -> None:
        self.conversation_id = conversation_id
        self.participant = Participant(name, conversation_id, person, choose, tally, self._heard)
        #: The client_ids of its messages that the server acknowledged, in order.
        self.acknowledged: list[str] = []
        self.finished = trio.Event()
        self._tally = tally
        self._interval = interval
        self._chores = person.role == "administrator"
        self._content = content
        self._random = Random(f"sender {name}")
        self._pending: str | None = None
        self._answered = trio.Event()
        self._pause = 0.0
        self._stopping = trio.Event()

    def stop(self) -> None:
        """Say nothing new; what is under way is still repeated until it is acknowledged (`finished`)."""
        self._stopping.set()

    async def run(self) -> None:
        """Send until `stop`."""
        number = 0
        due = trio.current_time() + self._random.uniform(0, self._interval)
        while True:
            with trio.move_on_at(due):
                await self._stopping.wait()
            if self._stopping.is_set():
                break
            number += 1
            self._tally.sent += 1
            if self._chores and number % BETWEEN_CHORES == 0 and self.participant.online.is_set():
                await self._do_chores()
            await self._say(f"{self.participant.name}-{number}")
            due = max(due + self._interval, trio.current_time())
        self.finished.set()

    async def _say(self, client_id: str) -> None:
        self._pending = client_id
        began, nodes = trio.current_time(), list[str]()
        while self._is_waiting():
            await self.participant.online.wait()
            if not self._is_waiting():
                break  # the history had it
            self._answered, self._pause = trio.Event(), 0.0
            nodes.append(self.participant.node_name)
            try:
                await self.participant.perform("send_message", content=self._content, client_id=client_id)
            except Closed:
                await self.participant.offline.wait()
                continue
            with trio.move_on_after(PATIENCE) as patience:
                await _either(self._answered.wait, self.participant.offline.wait)
            if patience.cancelled_caught:
                at, node = trio.current_time() - PATIENCE - self._tally.began, self.participant.node_name
                self._tally.unanswered.append(f"{at:6.2f} s {client_id} in {self.conversation_id} on {node}")
            await trio.sleep(self._pause)
        self._tally.attempts += len(nodes)
        self._tally.waits.append(Wait(trio.current_time() - began, began - self._tally.began, client_id, nodes))

    async def _do_chores(self) -> None:
        """Events of other kinds, for once only: nobody repeats them, and they may be lost before they are stored."""
        with suppress(Closed):
            await self.participant.perform("typing", on=True)
            await self.participant.perform("update", priority=self._random.choice(PRIORITIES))
            await self.participant.perform("read", seq=1)

    def _is_waiting(self) -> bool:
        return self._pending is not None

    def _heard(self, event: Event) -> None:
        failed = event.type == "command.failed"
        if failed:
            self._tally.failures[str(event.data.code)] += 1
        pending = self._pending
        if pending is None or event.data.client_id != pending:
            return
        if event.type == "message.created":
            self.acknowledged.append(pending)
            self._pending = None
            self._answered.set()
        elif failed:
            if event.data.retryable:
                self._pause = event.data.retry_after
            else:
                self._tally.refusals.append(f"{pending} was refused: {event.data.code}: {event.data.detail}")
                self._pending = None
            self._answered.set()


async def _either(*waits: Callable[[], Any]) -> None:
    async with trio.open_nursery() as nursery:

        async def wait(for_it: Callable[[], Any]) -> None:
            await for_it()
            nursery.cancel_scope.cancel()

        for for_it in waits:
            nursery.start_soon(wait, for_it)
