"""An idle subscription is small: a server holds thousands of them."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.api.cable.protocol import PROTOCOLS
from tertulia.api.cable.session import Session
from tertulia.api.engine import Engine
from tertulia.api.testing import Cable
from tertulia.engine.frames import TEXT
from tertulia.engine.group import PlainSink
from tertulia.engine.handshake import UpgradeRequest
from tertulia.storage.records import Conversation
from tertulia.storage.writes import Insert, Unit

from .stage import open_stage

SESSIONS = 500
FIRST = 1000
REQUEST = UpgradeRequest("/cable", {"token": "ana"}, {}, ("actioncable-v1-ext-json",))
SUBSCRIBE = '{"command":"subscribe","identifier":"{\\"channel\\":\\"ConversationChannel\\",\\"id\\":%d}"}'


class Nowhere(PlainSink):
    """A transport that keeps nothing: its bytes are the connection's to answer for."""

    __slots__ = ()
    waiting = 0

    @property
    def outbox(self) -> Nowhere:
        return self

    def send(self, frames: bytes) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def trust(self) -> None: ...

    def close(self, code: int = 0, reason: str = "", last: bytes = b"") -> None: ...


async def bytes_per_session(engine: Engine, cable: Cable, conversation_of: Callable[[int], int]) -> float:
    transports = [Nowhere() for _ in range(SESSIONS)]
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        sessions: list[Session] = []
        for number, transport in enumerate(transports):
            session = cable.gateway.connect(REQUEST, transport, PROTOCOLS["actioncable-v1-ext-json"])
            session.received(TEXT, (SUBSCRIBE % conversation_of(number)).encode())
            sessions.append(session)
            if number % 50 == 49:
                await wait_all_tasks_blocked()
        await trio.sleep(30)  # trio forgets timeouts that came to nothing when their time has passed
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert engine.world.hub.statistics().subscriptions == SESSIONS
    for session in sessions:
        session.closed()
    return (after - before) / SESSIONS


async def test_a_subscribed_session_is_under_a_kibibyte_where_many_share_a_conversation(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        assert await bytes_per_session(engine, cable, lambda _: 1) < 1024


async def test_a_subscribed_session_is_under_two_kibibytes_where_each_has_a_conversation_of_its_own(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as (engine, cable):
        rows = [
            Conversation(
                id=id,
                account_id=1,
                inbox_id=1,
                contact_id=1,
                display_id=id,
                last_activity_at=1,
                created_at=1,
                updated_at=1,
            )
            for id in range(FIRST, FIRST + SESSIONS)
        ]
        await engine.world.journal.write(Unit(1, lambda: None, lambda _: None, writes=[Insert(row) for row in rows]))
        assert await bytes_per_session(engine, cable, lambda number: FIRST + number) < 2048
