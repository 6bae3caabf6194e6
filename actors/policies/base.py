"""What all policies share. Policies are pure: facts in, verdict out; the same objects decide every path."""

from __future__ import annotations

from ...engine.errors import Denied, NotFound
from ..access import AccountAccess
from ..entities import Member, Principal, Role, System


class BasePolicy:
    """Decides what one principal may do in one account."""

    def __init__(self, access: AccountAccess, principal: Principal) -> None:
        self.access = access
        self.principal = principal

    @property
    def role(self) -> Role | None:
        """The principal's role now; None for visitors and strangers."""
        return self.access.role_of(self.principal) if isinstance(self.principal, Member) else None

    @property
    def is_administrator(self) -> bool:
        return self.is_system or self.role is Role.ADMINISTRATOR

    @property
    def is_system(self) -> bool:
        return isinstance(self.principal, System) and self.principal.account_id == self.access.account_id


def authorize(allowed: bool, *, visible: bool = True) -> None:
    """Let pass or refuse. What a principal may not even see does not exist for it.

    Raises:
        NotFound: it is not visible.
        Denied: it is visible, and this is not allowed.
    """
    if not visible:
        raise NotFound
    if not allowed:
        raise Denied
