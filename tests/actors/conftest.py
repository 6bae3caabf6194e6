"""Fixtures of the domain's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .kit import World, open_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as world:
        yield world
