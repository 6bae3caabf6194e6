"""Who may see what in one account, in memory: the facts that policies decide on.

There is one `AccountAccess` per account, shared by every session and every actor of the account and changed only by the
account's actor, after the commit. A right that is revoked is therefore revoked for everybody at the same instant.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import trio

from ..engine.errors import NotFound
from ..storage.contracts import AccountRecords, Reads
from ..storage.records import Webhook
from .entities import Member, Principal, Role, Visitor
from .webhooks.subscriptions import Subscription, subscriptions_of


class AccountAccess:
    """The members, roles and inboxes of an account."""

    __slots__ = (
        "__weakref__",
        "account_id",
        "active",
        "blocked",
        "inbox_members",
        "inboxes",
        "names",
        "roles",
        "settings",
        "version",
        "webhooks",
    )

    def __init__(self, records: AccountRecords) -> None:
        self.account_id = records.account.id
        self.active = False
        self.settings: Mapping[str, Any] = {}
        self.roles: dict[int, Role] = {}
        self.names: dict[int, str] = {}
        self.inboxes: dict[int, str] = {}
        self.inbox_members: dict[int, set[int]] = {}
        self.blocked: set[int] = set()  # contacts that may do nothing
        self.webhooks: tuple[Subscription, ...] = ()  # the active ones, by id
        #: Rises with every change, so that whoever derived something from this can see that it is old.
        self.version = 0
        self.load(records)

    def load(self, records: AccountRecords) -> bool:
        """Take over what the store says; whether that is anything new."""
        before = self._facts()
        self.active = records.account.status == "active"
        self.settings = records.account.settings
        self.roles = {member.user_id: Role(member.role) for member in records.members}
        self.names = {user.id: user.name for user in records.users.values()}
        self.inboxes = {inbox.id: inbox.name for inbox in records.inboxes}
        self.inbox_members = {}
        for entry in records.inbox_members:
            self.inbox_members.setdefault(entry.inbox_id, set()).add(entry.user_id)
        self.blocked = set(records.blocked_contacts)
        self.webhooks = subscriptions_of(records.webhooks)
        return self._facts() != before

    def _facts(self) -> tuple[Any, ...]:
        people = (self.roles, self.names, self.inboxes, self.inbox_members, self.blocked)
        return (self.active, self.settings, *people, self.webhooks)

    def set_webhook(self, webhook: Webhook) -> None:
        """One is new, or another than before."""
        others = (other for other in self.webhooks if other.webhook_id != webhook.id)
        subscriptions = (*others, *subscriptions_of([webhook]))
        self.webhooks = tuple(sorted(subscriptions, key=lambda subscription: subscription.webhook_id))

    def forget_webhook(self, webhook_id: int) -> None:
        self.webhooks = tuple(other for other in self.webhooks if other.webhook_id != webhook_id)

    def admits(self, principal: Principal) -> bool:
        """Whether the principal may do anything at all in this account. Sessions of those who may not are closed."""
        if isinstance(principal, Member):
            return self.role_of(principal) is not None
        if isinstance(principal, Visitor):
            return (
                self.active
                and principal.account_id == self.account_id
                and principal.inbox_id in self.inboxes
                and principal.contact_id not in self.blocked
            )
        return principal.account_id == self.account_id

    def may_be_assigned(self, user_id: int, inbox_id: int) -> bool:
        """Conversations are assigned to who may answer in them: not to viewers, not to who cannot see the inbox."""
        role = self.roles.get(user_id)
        return role is not None and role is not Role.VIEWER and self.may_see_inbox(user_id, role, inbox_id)

    def role_of(self, member: Member) -> Role | None:
        """The member's role now; None where the user does not belong to the account (any more)."""
        return self.roles.get(member.user_id) if self.active and member.account_id == self.account_id else None

    def may_see_inbox(self, user_id: int, role: Role, inbox_id: int) -> bool:
        """Without members it is open to every agent; with members, to them. Administrators and viewers see all."""
        if inbox_id not in self.inboxes:
            return False
        members = self.inbox_members.get(inbox_id)
        return not members or role is not Role.AGENT or user_id in members


class AccessBook:
    """The `AccountAccess` of every account that is in use."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._known: weakref.WeakValueDictionary[int, AccountAccess] = weakref.WeakValueDictionary()
        self._loading: dict[int, trio.Event] = {}
        #: Called after every change of an account's access, with that access.
        self.listeners: list[Callable[[AccountAccess], Any]] = []

    def in_use(self) -> list[int]:
        """The accounts whose access somebody uses now."""
        return list(self._known)

    def known(self, account_id: int) -> AccountAccess | None:
        return self._known.get(account_id)

    async def of(self, account_id: int) -> AccountAccess:
        """The account's access, read from the store at most once while anybody uses it.

        Raises:
            NotFound: there is no such account.
        """
        while True:
            access = self._known.get(account_id)
            if access is not None:
                return access
            loading = self._loading.get(account_id)
            if loading is not None:
                await loading.wait()
                continue
            self._loading[account_id] = trio.Event()
            try:
                records = await self._reads.account(account_id)
                if records is None:
                    raise NotFound
                access = self._known[account_id] = AccountAccess(records)
            finally:
                self._loading.pop(account_id).set()
            return access

    def changed(self, access: AccountAccess) -> None:
        """Tell the listeners that rights in this account changed."""
        access.version += 1
        for listener in self.listeners:
            listener(access)
