"""Who closes the socket after both sides have said that they close: the server does (RFC 6455, 7.1.1)."""

from trio.testing import MockClock

from tertulia.engine import frames
from tertulia.engine.config import SocketLimits
from tertulia.engine.reactor import Reactor

from .sockets import Line, settle
from .wire import CLOSE, TEXT, client_frame, close_payload

LIMITS = SocketLimits(message=1000)


async def test_a_client_that_answers_our_closing_need_not_close_its_socket_first(
    reactor: Reactor, autojump_clock: MockClock
) -> None:
    line = Line(reactor, LIMITS)
    line.connection.close(1001)
    line.client.send(client_frame(TEXT, b"on its way") + client_frame(CLOSE, close_payload(1001)))
    await settle()
    assert line.frames() == [(frames.CLOSE, close_payload(1001))]
    assert line.ended
    assert (line.peer.closings, line.peer.messages) == (1, [])
    assert reactor.statistics().sockets == 0


async def test_an_answer_in_pieces_is_an_answer(reactor: Reactor, autojump_clock: MockClock) -> None:
    line = Line(reactor, LIMITS)
    line.connection.close(1000)
    for byte in client_frame(CLOSE, close_payload(1000)):
        assert not line.ended
        line.client.send(bytes([byte]))
        await settle()
    assert line.ended


async def test_what_follows_a_violation_is_not_read_as_frames(reactor: Reactor, autojump_clock: MockClock) -> None:
    """The rest of a message that is too large may look like anything; a reset would keep the client from its answer."""
    line = Line(reactor, LIMITS)
    line.client.send(client_frame(TEXT, b"x" * 2000)[:100])
    await settle()
    line.client.send(client_frame(CLOSE, close_payload(1000)))
    await settle()
    assert line.frames()[0][1][:2] == (1009).to_bytes(2, "big")
    assert not line.ended
