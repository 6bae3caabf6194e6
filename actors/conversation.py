"""A conversation as an actor. In: batches from its mailbox. Next hop: `storage/group_commit`, then `engine/hub`.

A turn runs its commands one after the other on the state in memory, each with its policy check, and submits what they
decided as one unit of work. It does not wait for the commit: the next turn goes on from the new state. Answers and
broadcasts leave after the commit, in the order of `seq`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..engine.actor import Actor, Context
from ..engine.errors import NotFound, Refusal, StaleWrite
from ..engine.hub import Hub
from ..engine.mailbox import Envelope
from ..storage.contracts import Journal, Reads
from ..storage.writes import Unit
from .access import AccessBook
from .commands.send_message import SendMessage, SendMessageHandler
from .conversation_state import ConversationState
from .draft import Draft
from .entities import WallClock
from .events import Event, conversation_stream
from .limits import ChatLimits

ConversationKey: TypeAlias = tuple[int, int]  # (account id, conversation id)
CommandHandler: TypeAlias = Callable[[ConversationState, Any, Draft], Any]


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What conversations and accounts work with."""

    reads: Reads
    journal: Journal
    hub: Hub[Event]
    access: AccessBook
    wall_clock: WallClock
    limits: ChatLimits


def command_handlers(limits: ChatLimits) -> Mapping[type, CommandHandler]:
    """One handler per use case."""
    return {SendMessage: SendMessageHandler(limits)}


def inbox_topic(inbox_id: int) -> str:
    """The topic of everything that happens in an inbox's conversations."""
    return f"inbox:{inbox_id}"


class ConversationActor(Actor[ConversationKey]):
    """The only writer of one conversation."""

    def __init__(
        self, context: Context[ConversationKey], world: Collaborators, handlers: Mapping[type, CommandHandler]
    ) -> None:
        super().__init__(context)
        self._world = world
        self._handlers = handlers
        self._in_flight = 0
        self._topic = conversation_stream(context.key[1])
        self._inbox_topic = ""
        self.state: ConversationState

    async def activate(self) -> None:
        account_id, conversation_id = self.key
        records = await self._world.reads.conversation(account_id, conversation_id)
        if records is None:
            raise NotFound
        self.state = ConversationState(records, await self._world.access.of(account_id))
        self._inbox_topic = inbox_topic(self.state.inbox_id)

    async def handle(self, batch: list[Envelope]) -> None:
        if batch[0].reruns:
            await self._recall(batch)
        draft = Draft(self.state, batch, self._world.wall_clock())
        for envelope in batch:
            command = envelope.message
            try:
                answer = self._handlers[type(command)](self.state, command, draft)
            except Refusal as refusal:
                envelope.refuse(refusal)
            else:
                draft.answers.append((envelope, answer))
        if draft.empty and not self._in_flight:
            self._answer(draft)
        else:
            self._submit(draft)

    async def _recall(self, batch: list[Envelope]) -> None:
        """The store refused these once. Perhaps their client ids are older than what memory holds: look them up."""
        state = self.state
        client_ids = {envelope.message.client_id for envelope in batch if isinstance(envelope.message, SendMessage)}
        unknown = client_ids - state.sent.keys() - {None}
        if unknown:
            for row in await self._world.reads.sent(state.account_id, state.id, unknown):
                state.remember(row, self._world.limits.remembered_client_ids)

    def _submit(self, draft: Draft) -> None:
        state = self.state
        unit = Unit(
            account_id=state.account_id,
            committed=lambda: self._committed(draft),
            failed=lambda error: self._failed(draft, error),
            writes=draft.writes,
        )
        if draft.published or draft.changes:
            unit.conversation_id = state.id
            unit.old_seq = draft.old_seq
            unit.new_seq = state.last_seq
            unit.changes = {
                **draft.changes,
                "last_message_seq": state.last_message_seq,
                "last_activity_at": state.last_activity_at,
                "updated_at": draft.now,
            }
            unit.messages = draft.messages
            unit.events = draft.events
        self._world.journal.submit(unit)
        self._in_flight += 1
        self.context.defer(draft.batch)

    def _committed(self, draft: Draft) -> None:
        self._in_flight -= 1
        hub = self._world.hub
        hub.publish(self._topic, draft.published)
        hub.publish(self._inbox_topic, draft.published)
        self._answer(draft)
        self.context.settle()

    def _failed(self, draft: Draft, error: Exception) -> None:
        self._in_flight -= 1
        if isinstance(error, StaleWrite):
            self.context.run_again()
        else:
            for envelope, _ in draft.answers:
                envelope.refuse(error)
            self.context.settle()
        self.context.fail(error)

    def _answer(self, draft: Draft) -> None:
        for envelope, answer in draft.answers:
            envelope.resolve(answer)
