"""The bound on a request's body, without a socket."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tertulia.api.http_body import BoundBody

GONE = {"type": "http.disconnect"}


def piece(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def heard(events: list[dict[str, Any]], kind: str = "http") -> list[dict[str, Any]]:
    """What an application with room for 5 bytes receives."""
    rest, received = iter(events), list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        return next(rest)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.append(await receive())
        while received[-1] != events[-1]:
            received.append(await receive())

    await BoundBody(cast("Any", app), 5)(cast("Any", {"type": kind}), cast("Any", receive), cast("Any", None))
    return received


@pytest.mark.parametrize("bodies", [[b"12345"], [b"12", b"345"], [b"", b"12345", b""]])
async def test_a_body_up_to_the_limit_passes_as_it_comes(bodies: list[bytes]) -> None:
    def events() -> list[dict[str, Any]]:
        return [*map(piece, bodies[:-1]), piece(bodies[-1], more=False), GONE]

    assert await heard(events()) == events()


async def test_a_body_ends_with_the_piece_that_goes_over_the_limit() -> None:
    events = [piece(b"123"), piece(b"456"), piece(b"789"), piece(b"never", more=False), GONE]
    assert await heard(events) == [piece(b"123"), piece(b"456", more=False), GONE]


async def test_a_websocket_has_no_body() -> None:
    message: dict[str, Any] = {"type": "websocket.receive", "bytes": b"1234567", "text": None}
    events = [message, message, GONE]
    assert await heard(events, "websocket") == events
