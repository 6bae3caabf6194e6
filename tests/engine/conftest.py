from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from tertulia.engine.reactor import Reactor

from . import sockets


@pytest.fixture(autouse=True)
def _sockets_are_closed() -> Iterator[None]:
    yield
    while sockets.opened:
        sockets.opened.pop().close()


@pytest.fixture
async def reactor(nursery: trio.Nursery) -> AsyncIterator[Reactor]:
    """A reactor that runs for as long as the test."""
    reactor = Reactor(slice_size=2)
    nursery.start_soon(reactor.run)
    yield reactor
    reactor.close()
