from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from tertulia.engine import group
from tertulia.engine.reactor import Reactor
from tertulia.engine.ring import Ring, new_ring

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


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ring]:
    """A ring that wraps around soon, and that even small groups use."""
    monkeypatch.setattr(group, "MANY", 2)
    try:
        Ring(16).close()
    except OSError as error:
        pytest.skip(f"this system lends no io_uring: {error}")
    ring = new_ring(16)
    assert ring is not None
    yield ring
    ring.close()
