"""Create and rename inboxes, and choose who answers in them."""

from __future__ import annotations

import secrets

import msgspec

from ...engine.errors import Invalid, NotFound
from ...storage.contracts import Reads
from ...storage.records import Inbox, InboxMember
from ...storage.writes import Delete, Insert, Update
from ..account_state import AccountState
from ..checking import named
from ..entities import Principal
from ..limits import ChatLimits
from ..policies.account import AccountPolicy
from ..policies.base import authorize
from ..policies.inbox import InboxPolicy
from .account import CreateInbox, SetInboxMembers, UpdateInbox

#: An inbox's public identifier is not a secret, but nobody should find inboxes by counting.
IDENTIFIER_BYTES = 16


class CreateInboxHandler:
    def __init__(self, reads: Reads, limits: ChatLimits) -> None:
        self._reads = reads
        self._limits = limits

    async def __call__(self, account: AccountState, command: CreateInbox) -> Inbox:
        policy = InboxPolicy(account.access, command.by)
        authorize(policy.can_manage(), visible=AccountPolicy(account.access, command.by).can_show())
        change = account.change(command.by)
        inbox = Inbox(
            id=(await self._reads.reserve(Inbox))[0],
            account_id=account.id,
            name=named(command.name, self._limits),
            identifier=secrets.token_urlsafe(IDENTIFIER_BYTES),
            created_at=change.now,
            updated_at=change.now,
        )
        change.writes = [Insert(inbox)]
        await account.commit(change)
        account.access.inboxes[inbox.id] = inbox.name
        account.rights_changed()
        return inbox


class UpdateInboxHandler:
    def __init__(self, reads: Reads, limits: ChatLimits) -> None:
        self._reads = reads
        self._limits = limits

    async def __call__(self, account: AccountState, command: UpdateInbox) -> Inbox:
        _authorize(account, command.by, command.inbox_id)
        name = named(command.name, self._limits)
        records = await self._reads.account(account.id)
        assert records is not None
        inbox = next(inbox for inbox in records.inboxes if inbox.id == command.inbox_id)
        if name == inbox.name:
            return inbox
        change = account.change(command.by)
        values = {"name": name, "updated_at": change.now}
        change.writes = [Update(Inbox, {"account_id": account.id, "id": inbox.id}, values)]
        await account.commit(change)
        account.access.inboxes[inbox.id] = name
        return msgspec.structs.replace(inbox, name=name, updated_at=change.now)


class SetInboxMembersHandler:
    async def __call__(self, account: AccountState, command: SetInboxMembers) -> list[int]:
        access = account.access
        _authorize(account, command.by, command.inbox_id)
        strangers = sorted(set(command.user_ids) - access.roles.keys())
        if strangers:
            raise Invalid(fields={"user_ids": f"Not members of this account: {', '.join(map(str, strangers))}."})
        wanted = set(command.user_ids)
        before = access.inbox_members.get(command.inbox_id, set())
        if wanted != before:
            where = {"account_id": account.id, "inbox_id": command.inbox_id}
            change = account.change(command.by)
            change.writes = [Delete(InboxMember, {**where, "user_id": user_id}) for user_id in sorted(before - wanted)]
            change.writes += [Insert(InboxMember(**where, user_id=user_id)) for user_id in sorted(wanted - before)]
            await account.commit(change)
            access.inbox_members[command.inbox_id] = wanted
            account.rights_changed()
        return sorted(wanted)


def _authorize(account: AccountState, by: Principal, inbox_id: int) -> None:
    policy = InboxPolicy(account.access, by)
    authorize(policy.can_manage(), visible=policy.can_show(inbox_id))
    if inbox_id not in account.access.inboxes:
        raise NotFound
