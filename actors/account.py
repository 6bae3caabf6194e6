"""An account as an actor: it alone changes its people, inboxes and contacts, and numbers its conversations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import trio

from ..engine.actor import Actor, Context
from ..engine.errors import DeadlineExceeded, NotFound, Refusal, Unavailable
from ..engine.mailbox import Envelope
from .account_jobs import RunAccountJobHandler
from .account_state import AccountState
from .collaborators import Collaborators
from .commands.account import (
    AddAccountUser,
    CreateContact,
    CreateConversation,
    CreateInbox,
    RemoveAccountUser,
    SetInboxMembers,
    UpdateAccount,
    UpdateAccountUser,
    UpdateContact,
    UpdateInbox,
)
from .commands.account_users import AddAccountUserHandler, RemoveAccountUserHandler, UpdateAccountUserHandler
from .commands.contacts import CreateContactHandler, UpdateContactHandler
from .commands.create_conversation import CreateConversationHandler
from .commands.inboxes import CreateInboxHandler, SetInboxMembersHandler, UpdateInboxHandler
from .commands.update_account import UpdateAccountHandler
from .commands.webhook_handlers import webhook_command_handlers
from .jobs.lane import RunJob

AccountCommandHandler: TypeAlias = Callable[[AccountState, Any], Awaitable[Any]]


def account_command_handlers(world: Collaborators) -> Mapping[type, AccountCommandHandler]:
    """One handler per use case."""
    reads, limits = world.reads, world.limits
    handlers: dict[type, AccountCommandHandler] = {
        UpdateAccount: UpdateAccountHandler(limits),
        AddAccountUser: AddAccountUserHandler(reads, limits),
        UpdateAccountUser: UpdateAccountUserHandler(reads),
        RemoveAccountUser: RemoveAccountUserHandler(),
        CreateInbox: CreateInboxHandler(reads, limits),
        UpdateInbox: UpdateInboxHandler(reads, limits),
        SetInboxMembers: SetInboxMembersHandler(),
        CreateContact: CreateContactHandler(reads, limits),
        UpdateContact: UpdateContactHandler(reads, limits),
        CreateConversation: CreateConversationHandler(reads, limits),
        **webhook_command_handlers(world),
    }
    handlers[RunJob] = RunAccountJobHandler(handlers)
    return handlers


class AccountActor(Actor[int]):
    """The only writer of one account."""

    def __init__(
        self, context: Context[int], world: Collaborators, handlers: Mapping[type, AccountCommandHandler]
    ) -> None:
        super().__init__(context)
        self._world = world
        self._handlers = handlers
        self.state: AccountState

    async def activate(self) -> None:
        records = await self._world.reads.account(self.key)
        if records is None:
            raise NotFound
        self.state = AccountState(self._world, records, await self._world.access.of(self.key))
        if self.state.access.load(records):
            # What the last incarnation wrote and could not tell anybody, or another node did.
            self.state.rights_changed()
        await self.state.catch_up()

    async def handle(self, batch: list[Envelope]) -> None:
        """Answer each command on its own: what is durable must not run again because a later one crashed."""
        for envelope in batch:
            if envelope.deadline <= trio.current_time():
                envelope.refuse(DeadlineExceeded())
                continue
            try:
                answer = await self._handlers[type(envelope.message)](self.state, envelope.message)
            except Refusal as refusal:
                envelope.refuse(refusal)
            except Unavailable as error:
                # Whether it was written is unknown. A second attempt could do it twice, so that is the caller's choice.
                envelope.refuse(error)
                raise
            else:
                envelope.resolve(answer)
