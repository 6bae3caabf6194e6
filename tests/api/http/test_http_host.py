"""A real server socket: hypercorn behind `HttpHost`, with httpx and with bare sockets as clients."""

import socket as sockets
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from quart_trio import QuartTrio

from tertulia.api.http_host import HttpHost
from tertulia.api.http_settings import HttpSettings

from .town import MINE, Town, open_town

PATIENCE = 30.0  # seconds, also for a busy machine: what has not happened by then does not happen
SOON = 5.0  # seconds: half of what stopping waits for the requests under way
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
HEALTH_AND_CLOSE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Served:
    """A host whose connections are accepted on a loopback port, as the front door does."""

    host: HttpHost
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@asynccontextmanager
async def serve(app: QuartTrio, settings: HttpSettings | None = None) -> AsyncGenerator[Served, None]:
    host = HttpHost(app, settings)
    listener = sockets.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def accept() -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            sock, _ = listener.accept()
            host.hand_over(sock)

    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        nursery.start_soon(accept)
        with listener, trio.fail_after(PATIENCE):
            yield Served(host, listener.getsockname()[1])
            nursery.cancel_scope.cancel()


@pytest.fixture
async def served(town: Town) -> AsyncIterator[Served]:
    async with serve(town.app) as opened:
        yield opened


def by(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}", "X-Account-Id": "1"}


async def everything(stream: trio.SocketStream) -> bytes:
    """What comes until the server closes."""
    return b"".join([chunk async for chunk in stream])


async def conversation(served: Served, said: bytes) -> bytes:
    """What the server answers until it closes."""
    async with await served.connect() as stream:
        if said:
            await stream.send_all(said)
        return await everything(stream)


async def test_a_message_goes_in_and_comes_out_over_one_connection(served: Served) -> None:
    async with httpx.AsyncClient(base_url=f"{served.url}/api/v1", headers=by("agent")) as http:
        sent = await http.post(f"/conversations/{MINE}/messages", json={"content": "over the wire"})
        listed = await http.get(f"/conversations/{MINE}/messages")
        assert served.host.connections == 1
    assert sent.status_code == 201
    assert listed.json()["data"][-1] == sent.json()["data"]


async def test_an_error_over_the_wire_is_a_problem(served: Served) -> None:
    async with httpx.AsyncClient(base_url=f"{served.url}/api/v1") as http:
        refused = await http.get("/conversations")
    assert refused.status_code == 401
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert "server" not in refused.headers


async def test_a_body_that_comes_in_pieces_is_read_whole(served: Served) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"content": "', b"x" * 50_000, b'"}'):
            yield piece

    async with httpx.AsyncClient(headers=by("agent") | {"Content-Type": "application/json"}) as http:
        sent = await http.post(f"{served.url}/api/v1/conversations/{MINE}/messages", content=pieces())
    assert sent.status_code == 201
    assert len(sent.json()["data"]["content"]) == 50_000


async def test_a_body_that_grows_over_the_limit_is_refused(served: Served) -> None:
    head = b"POST /api/v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    async with await served.connect() as stream:
        await stream.send_all(head + b"Content-Type: application/json\r\n\r\n")
        for _ in range(5):
            await stream.send_all(chunk)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "request_head",
    [HEALTH_AND_CLOSE, b"GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n"],
    ids=["close", "1.0"],
)
async def test_a_client_that_asks_for_the_end_gets_it_at_once(served: Served, request_head: bytes) -> None:
    assert HttpSettings().keep_alive > PATIENCE, "or an idle connection's end could pass for it"
    answer = await conversation(served, request_head)
    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_connection_that_stays_idle_is_closed(town: Town) -> None:
    async with serve(town.app, HttpSettings(keep_alive=0.1)) as served:
        assert (await conversation(served, HEALTH)).startswith(b"HTTP/1.1 200")


async def test_what_is_no_http_is_answered_and_closed_and_harms_nobody(served: Served) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n"):
        assert b"200" not in await conversation(served, nonsense)
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{served.url}/healthz")).status_code == 200


async def test_a_request_that_breaks_its_connection_s_code_breaks_no_other(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """hypercorn lets some errors through, this one from its HTTP/2 library."""
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n\r\n"
    assert b"200" not in await conversation(served, head)
    assert "an HTTP connection ended with an error" in caplog.text
    assert (await conversation(served, HEALTH_AND_CLOSE)).startswith(b"HTTP/1.1 200")


async def test_a_head_that_never_ends_is_not_waited_for(town: Town) -> None:
    async with serve(town.app, HttpSettings(keep_alive=0.1)) as served:
        assert await conversation(served, b"GET /healthz HT") == b""


async def test_a_client_that_closes_is_let_go_of_at_once(served: Served) -> None:
    async with await served.connect() as stream:
        await stream.send_all(HEALTH)
        await stream.receive_some()
    while served.host.connections:
        await trio.lowlevel.checkpoint()


async def test_a_client_that_reads_nothing_does_not_hold_up_the_end(town: Town) -> None:
    entered = trio.Event()
    add_big_route(town.app, entered)
    async with serve(town.app, HttpSettings(shutdown_timeout=0.1)) as served, await served.connect() as stream:
        await stream.send_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await entered.wait()
        await trio.testing.wait_all_tasks_blocked()
        await served.host.stop()
        while served.host.connections:
            await trio.lowlevel.checkpoint()


def add_big_route(app: QuartTrio, entered: trio.Event) -> None:
    async def big() -> bytes:
        entered.set()
        return b" " * 50_000_000

    app.add_url_rule("/big", "big", big)


async def test_a_client_that_goes_away_harms_nobody(served: Served) -> None:
    for _ in range(3):
        async with await served.connect() as stream:
            await stream.send_all(b"POST /api/v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{served.url}/healthz")).status_code == 200


async def test_over_the_bound_connections_are_refused_with_503(town: Town) -> None:
    async with serve(town.app, HttpSettings(connections=1)) as served, await served.connect() as first:
        await first.send_all(HEALTH)
        assert (await first.receive_some()).startswith(b"HTTP/1.1 200")
        refused = await conversation(served, b"")
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 1" in refused


async def test_stopping_closes_idle_connections_and_takes_no_more(served: Served) -> None:
    async with await served.connect() as stream:
        await stream.send_all(HEALTH)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        await served.host.stop()
        await everything(stream)
    assert served.host.connections == 0
    assert await conversation(served, b"") == b""


async def test_stopping_lets_a_request_under_way_finish(town: Town) -> None:
    entered, go_on = trio.Event(), trio.Event()
    add_slow_route(town.app, entered, go_on)
    async with serve(town.app) as served, await served.connect() as stream:
        await stream.send_all(SLOW)
        await entered.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.host.stop)
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
        assert (await everything(stream)).endswith(b"done")


async def test_stopping_does_not_wait_for_a_client_that_has_sent_its_next_request_already(town: Town) -> None:
    entered, go_on = trio.Event(), trio.Event()
    add_slow_route(town.app, entered, go_on)
    async with serve(town.app) as served, await served.connect() as stream:
        await stream.send_all(SLOW + HEALTH)
        await entered.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.host.stop)
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
            answers = await everything(stream)
            with trio.fail_after(SOON):
                while served.host.connections:
                    await trio.lowlevel.checkpoint()
        assert answers.endswith(b"done"), "the next request is not begun any more"


async def test_a_client_that_resets_with_its_next_request_sent_is_let_go_of(town: Town) -> None:
    entered, go_on = trio.Event(), trio.Event()
    add_slow_route(town.app, entered, go_on)
    async with serve(town.app) as served:
        stream = await served.connect()
        await stream.send_all(SLOW + HEALTH)
        await entered.wait()
        await trio.testing.wait_all_tasks_blocked()
        reset(stream)
        go_on.set()
        with trio.fail_after(SOON):
            while served.host.connections:
                await trio.lowlevel.checkpoint()


def reset(stream: trio.SocketStream) -> None:
    """Close so that the other side's next write fails."""
    stream.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def test_stopping_does_not_wait_for_ever(town: Town) -> None:
    entered = trio.Event()
    add_slow_route(town.app, entered, trio.Event())
    async with serve(town.app, HttpSettings(shutdown_timeout=0.1)) as served, await served.connect() as stream:
        await stream.send_all(SLOW)
        await entered.wait()
        await served.host.stop()
        assert not (await everything(stream)).endswith(b"done")


def add_slow_route(app: QuartTrio, entered: trio.Event, go_on: trio.Event) -> None:
    async def slow() -> Any:
        entered.set()
        await go_on.wait()
        return "done"

    app.add_url_rule("/slow", "slow", slow)


async def test_the_address_of_the_caller_is_its_socket_s() -> None:
    async with (
        open_town(HttpSettings(sign_in_burst=1)) as town,
        serve(town.app) as served,
        httpx.AsyncClient(base_url=f"{served.url}/api/v1") as http,
    ):
        statuses: list[int] = []
        for n in range(2):
            body = {"email": f"{n}@x.org", "password": "x"}
            answer = await http.post("/auth/sign_in", json=body, headers={"X-Forwarded-For": f"10.0.0.{n}"})
            statuses.append(answer.status_code)
    assert statuses == [401, 429]


async def test_a_body_that_does_not_come_is_given_up() -> None:
    settings = HttpSettings(body_timeout=0.05)
    head = (
        b"POST /api/v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    async with open_town(settings) as town, serve(town.app, settings) as served:
        answer = await conversation(served, head)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"timeout"' in answer


async def test_two_requests_on_one_connection_are_answered_in_order(served: Served) -> None:
    answers = await conversation(served, HEALTH + HEALTH_AND_CLOSE)
    assert answers.count(b"HTTP/1.1 200") == 2
