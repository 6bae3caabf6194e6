"""Rename an account, or change its settings."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from ...engine.errors import Invalid
from ...storage.records import Account
from ..account_state import AccountState
from ..attributes import why_not
from ..checking import named
from ..limits import ChatLimits
from ..policies.account import AccountPolicy
from ..policies.base import authorize
from ..timers.account_settings import timer_faults
from .account import UpdateAccount


class UpdateAccountHandler:
    def __init__(self, limits: ChatLimits) -> None:
        self._limits = limits

    async def __call__(self, account: AccountState, command: UpdateAccount) -> Account:
        policy = AccountPolicy(account.access, command.by)
        authorize(policy.can_update(), visible=policy.can_show())
        columns: dict[str, Any] = {}
        if command.name is not UNSET:
            columns["name"] = named(command.name, self._limits)
        if command.settings is not UNSET:
            reason = why_not(command.settings, self._limits.custom_attributes)
            if reason is not None:
                raise Invalid(fields={"settings": reason})
            faults = timer_faults(command.settings, self._limits)
            if faults:
                raise Invalid(fields=faults)
            columns["settings"] = command.settings
        changed = {name: value for name, value in columns.items() if getattr(account.record, name) != value}
        if changed:
            change = account.change(command.by)
            change.columns = changed
            await account.commit(change)
            self._apply(account)
        return account.record

    def _apply(self, account: AccountState) -> None:
        """Conversations look at the settings before they do what time asks of them, on every node."""
        if account.access.settings != account.record.settings:
            account.access.settings = account.record.settings
            account.rights_changed()
