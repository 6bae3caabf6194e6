"""The fixtures of these tests."""

from collections.abc import AsyncIterator

import pytest

from .town import Client, Town, open_town


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    """Two accounts, in memory and without threads. Whoever lets time pass asks for the clock fixture as well."""
    async with open_town() as opened:
        yield opened


@pytest.fixture
async def client(town: Town) -> Client:
    return town.client
