"""A conversation as an actor. In: batches from its mailbox. Next hop: `storage/group_commit`, then `engine/hub`.

A turn runs its commands one after the other on the state in memory, each with its policy check, and submits what they
decided as one unit of work. It does not wait for the commit: what comes meanwhile is the next turn's, which goes on
from the new state. Answers and broadcasts leave after the commit, in the order of `seq`.

A job gets a turn of its own (`jobs/performing`): the actor waits for it, and then runs its commands as one unit.

A commit that failed may have reached the disk all the same (its acknowledgement was lost). Therefore the next
incarnation first broadcasts whatever the store has beyond the last broadcast: subscribers miss nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from ..engine.actor import Actor, Context
from ..engine.errors import NotFound, Refusal, StaleWrite
from ..engine.mailbox import Envelope, Lane
from ..storage.writes import Unit
from .collaborators import Collaborators, ConversationKey
from .commands.delete_conversation import DeleteConversation, DeleteConversationHandler
from .commands.edit_message import DeleteMessage, DeleteMessageHandler, EditMessage, EditMessageHandler
from .commands.mark_read import MarkRead, MarkReadHandler, SetTyping, SetTypingHandler
from .commands.send_message import SendMessage, SendMessageHandler
from .commands.timers import EndSnoozeHandler, RemindMembersHandler, ResolveSilentHandler
from .commands.update_conversation import UpdateConversation, UpdateConversationHandler
from .conversation_state import ConversationState
from .draft import Draft, Unread
from .events import Event, conversation_stream, event_of, inbox_topic
from .jobs.endings import Ending
from .jobs.lane import RunJob
from .lane_attempt import Attempt, OutOfTurn, ask_for_a_turn
from .limits import ChatLimits
from .timers.commands import EndSnooze, RemindMembers, ResolveSilent
from .typists import TypingExpired, TypingExpiredHandler, stop_typing

__all__ = ["Collaborators", "CommandHandler", "ConversationActor", "ConversationKey", "command_handlers", "inbox_topic"]

CommandHandler: TypeAlias = Callable[[ConversationState, Any, Draft], Any]


#: How many messages of an actor that has just started, or has just met a repetition, are looked up first.
WARY_MESSAGES = 64


def command_handlers(limits: ChatLimits) -> Mapping[type, CommandHandler]:
    """One handler per use case."""
    return {
        SendMessage: SendMessageHandler(limits),
        EditMessage: EditMessageHandler(limits),
        DeleteMessage: DeleteMessageHandler(limits),
        MarkRead: MarkReadHandler(),
        SetTyping: SetTypingHandler(limits),
        TypingExpired: TypingExpiredHandler(),
        UpdateConversation: UpdateConversationHandler(limits),
        DeleteConversation: DeleteConversationHandler(),
        EndSnooze: EndSnoozeHandler(),
        ResolveSilent: ResolveSilentHandler(limits),
        RemindMembers: RemindMembersHandler(),
        RunJob: ask_for_a_turn,
    }


class ConversationActor(Actor[ConversationKey]):
    """The only writer of one conversation."""

    def __init__(
        self, context: Context[ConversationKey], world: Collaborators, handlers: Mapping[type, CommandHandler]
    ) -> None:
        super().__init__(context)
        self.pace = world.limits.pace
        self._world = world
        self._handlers = handlers
        self._in_flight = 0
        #: Messages whose client ids are looked up before they are accepted: see `_recall`.
        self._wary = 0
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
        self._wary = WARY_MESSAGES if self.state.last_message_seq else 0
        if self.key in self._world.behind:
            await self._catch_up()
        self._forget_typists()
        if self.state.deleted_at is not None:
            raise NotFound

    async def passivate(self) -> None:
        self._forget_typists()

    async def handle(self, batch: list[Envelope]) -> None:
        if self._wary > 0 or batch[0].reruns:
            await self._recall([envelope.message for envelope in batch])
        draft = Draft(self.state, batch, self._world.wall_clock())
        rest: list[Envelope] | None = None
        for envelope in batch:
            command = envelope.message
            try:
                answer = self._handlers[type(command)](self.state, command, draft)
            except Refusal as refusal:
                envelope.refuse(refusal)
            except Unread as unread:
                await self._read_up(envelope, draft, unread)
            except OutOfTurn:
                rest = batch[batch.index(envelope) :]
                break
            else:
                draft.answers.append((envelope, answer))
        if rest is None:
            self._conclude(draft)
        elif len(rest) == len(batch):
            await self._run_job(batch)
        else:
            self._conclude(draft)
            self._leave(batch, rest)

    def _conclude(self, draft: Draft) -> None:
        if draft.timers is not None:
            self._arm(draft.timers)
        if draft.empty and not self._in_flight:
            self._tell(draft)
        else:
            self._submit(draft)

    async def _read_up(self, envelope: Envelope, draft: Draft, unread: Unread | None) -> None:
        """Run a command that needs the log as the store has it. Rare: edits and deletions."""
        while unread is not None:
            await self._load(draft, unread)
            unread = None
            try:
                answer = self._handlers[type(envelope.message)](self.state, envelope.message, draft)
            except Refusal as refusal:
                envelope.refuse(refusal)
            except Unread as more:
                unread = more
            else:
                draft.answers.append((envelope, answer))

    async def _load(self, draft: Draft, unread: Unread) -> None:
        if draft.loaded is None:
            draft.loaded = {}
            if self._in_flight:
                await self._world.journal.write(Unit(self.state.account_id))
        if unread.seq is not None:
            row = await self._world.reads.message(*self.key, unread.seq)
            draft.loaded[unread.seq] = row

    # Jobs.

    async def _run_job(self, batch: list[Envelope]) -> None:
        """Run the first of the batch, which is a job; the rest is the next turn's.

        A job that was given up while it ran leaves nothing behind.
        """
        envelope, rest = batch[0], batch[1:]
        attempt = Attempt(envelope.message.job, self._world)
        ending = await attempt.perform()
        if attempt.commands and envelope.deadline > 0:
            await self._run_commands(attempt, ending, batch)
        else:
            envelope.resolve(attempt.ran(ending))
        self._leave(batch, rest)

    async def _run_commands(self, attempt: Attempt, ending: Ending, batch: list[Envelope]) -> None:
        """What a job's commands change and its end are one unit. Where one of them is refused, or has a bug, none of
        them has happened.
        """
        await self._recall(attempt.commands)
        before = self.state.copy()
        draft = Draft(self.state, batch, self._world.wall_clock())
        error = await self._obey(attempt.commands, draft)
        if error is None:
            draft.fenced = True
            draft.write(attempt.write(ending))
            draft.answers.append((batch[0], attempt.ran(ending, written=True)))
            self._conclude(draft)
        else:
            self._go_back(before)
            batch[0].resolve(attempt.ran(attempt.failed(error)))

    async def _obey(self, commands: Sequence[Any], draft: Draft) -> Exception | None:
        """Returns what went wrong; the state is then to be thrown away."""
        waiting = list(reversed(commands))
        while waiting:
            try:
                self._handlers[type(waiting[-1])](self.state, waiting[-1], draft)
                waiting.pop()
            except Unread as unread:
                needed = unread
            except Exception as error:
                return error
            else:
                continue
            await self._load(draft, needed)
        return None

    def _go_back(self, before: ConversationState) -> None:
        self.state = before
        if self.key in self._world.typists:
            self._world.typists[self.key] = before.typing

    def _leave(self, batch: list[Envelope], rest: list[Envelope]) -> None:
        """End the turn before the rest of its batch. Last: a crash until now would have run all of it again."""
        if rest:
            del batch[-len(rest) :]
            self.context.leave(rest)

    async def _recall(self, messages: Sequence[Any]) -> None:
        """Look up in the store which of these messages were sent before, if they are to be sent.

        A sender repeats itself after a failure, which is when an actor has just started and remembers nothing: its
        first messages are looked up, and again as many after every hit. Later the store's unique key has the last
        word, and what it refuses comes back here.
        """
        state = self.state
        sends = [message for message in messages if isinstance(message, SendMessage)]
        named = {send.client_id for send in sends if send.client_id is not None}
        unknown = {client_id for client_id in named if client_id not in state.sent}
        found = await self._world.reads.sent(state.account_id, state.id, unknown) if unknown else ()
        for row in found:
            state.remember(row, self._world.limits.remembered_client_ids)
        self._wary = WARY_MESSAGES if found else self._wary - len(sends)

    async def _catch_up(self) -> None:
        """Broadcast what is in the store and was never broadcast."""
        after = self._world.behind[self.key]
        page = self._world.limits.history_page
        while True:
            rows = await self._world.reads.log(*self.key, after=after, limit=page)
            self._publish([event_of(row) for row in rows])
            if rows:
                after = self._world.behind[self.key] = rows[-1].seq
            if len(rows) < page:
                break
        del self._world.behind[self.key]

    def _submit(self, draft: Draft) -> None:
        state = self.state
        if state.access.webhooks and draft.published:
            draft.record_deliveries()
        unit = Unit(
            account_id=state.account_id,
            committed=lambda: self._committed(draft),
            failed=lambda error: self._failed(draft, error),
            writes=draft.writes,
        )
        if draft.published or draft.changes or draft.fenced:
            if draft.published or draft.changes:
                state.updated_at = draft.now
            unit.conversation_id = state.id
            unit.old_seq = draft.old_seq
            unit.new_seq = state.last_seq
            unit.changes = {
                **draft.changes,
                "last_message_seq": state.last_message_seq,
                "last_activity_at": state.last_activity_at,
                "updated_at": state.updated_at,
            }
            unit.messages = draft.messages
            unit.events = draft.events
        self._world.journal.submit(unit)
        self._in_flight += 1
        self.context.defer(draft.batch)

    def _committed(self, draft: Draft) -> None:
        self._in_flight -= 1
        self._publish(draft.published)
        self._tell(draft)
        if draft.jobs is not None:
            self._world.jobs.committed(draft.jobs)
        self.context.settle()

    def _failed(self, draft: Draft, error: Exception) -> None:
        self._in_flight -= 1
        # The first turn that failed is where the broadcasts stopped; those after it fail with it.
        self._world.behind.setdefault(self.key, draft.old_seq)
        self.context.fail(error)  # before the batch ends: one that settles well would make the next back-off short
        if isinstance(error, StaleWrite):
            self.context.run_again()
        else:
            for envelope, _ in draft.answers:
                envelope.refuse(error)
            self.context.settle()

    def _publish(self, events: Sequence[Event]) -> None:
        hub = self._world.hub
        hub.publish(self._topic, events)
        hub.publish(self._inbox_topic, events)

    def _tell(self, draft: Draft) -> None:
        """What happened is durable: tell those who only look on, and those who asked."""
        if draft.ephemeral is not None:
            self._whisper(draft.ephemeral)
        for envelope, answer in draft.answers:
            envelope.resolve(answer)

    # Typing.

    def _whisper(self, events: Sequence[Event]) -> None:
        hub = self._world.hub
        hub.publish(self._topic, events, ephemeral=True)
        hub.publish(self._inbox_topic, events, ephemeral=True)

    def _arm(self, timers: Sequence[tuple[float, Any]]) -> None:
        for seconds, message in timers:
            # Broadcasts may be dropped, jobs not: somebody waits for the end of the typing.
            self.context.after(seconds, message, Lane.JOBS)
        self._world.typists[self.key] = self.state.typing

    def _forget_typists(self) -> None:
        """This incarnation will not hear of them again: they have stopped."""
        typists = self._world.typists.pop(self.key, None)
        if typists:
            draft = Draft(self.state, [], self._world.wall_clock())
            for typist in list(typists.values()):
                self.state.typing[typist.principal.type, typist.principal.id] = typist
                stop_typing(self.state, typist.principal, draft)
            self._whisper(draft.ephemeral or ())
