"""Fixtures of the webhooks' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from trio.testing import MockClock

from .kit import Town, open_town


@pytest.fixture
async def town(autojump_clock: MockClock) -> AsyncIterator[Town]:
    async with open_town(autojump_clock) as town:
        yield town
