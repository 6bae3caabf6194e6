"""What is secret is in no text that may end up in a log."""

from __future__ import annotations

import pytest

from tertulia.actors.commands.account import AddAccountUser
from tertulia.actors.entities import Member, Role
from tertulia.api.tokens import Issued
from tertulia.engine.handshake import UpgradeRequest

SECRET = "only-for-me"

HOLDERS = [
    Issued(SECRET, "2030-01-01T00:00:00.000Z"),
    UpgradeRequest("/cable", {"token": SECRET}, {}, ()),
    UpgradeRequest("/cable", {}, {"authorization": f"Bearer {SECRET}"}, ()),
    UpgradeRequest("/cable", {}, {}, (f"anycable-token.{SECRET}",)),
    AddAccountUser(Member(1, 1, "Ana"), "bo@example.org", "Bo", Role.AGENT, SECRET),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_a_secret_is_not_printed_with_what_holds_it(holder: object) -> None:
    assert type(holder).__name__ in repr(holder)
    assert SECRET not in repr(holder)
