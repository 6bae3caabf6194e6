"""Health, readiness, metrics, and who may call from a browser."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from tertulia.actors.jobs.figures import JobStatistics
from tertulia.api.engine import Engine
from tertulia.api.http import make_app
from tertulia.api.http_settings import HttpSettings
from tertulia.api.metrics import COUNTERS, HELP, Metrics
from tertulia.api.settings import Settings
from tertulia.engine.errors import Unavailable
from tertulia.storage.group_commit import GroupCommitStatistics
from tertulia.storage.records import JobState

from .town import MINE, NORTH, START, Client, Reply, Town, later, open_town


async def test_a_server_that_runs_is_alive(client: Client) -> None:
    alive = await client.get("/healthz")
    assert (alive.status, alive.data) == (200, {"status": "alive"})


async def test_a_server_whose_store_answers_is_ready(client: Client) -> None:
    assert (await client.get("/readyz")).data == {"status": "ready", "parts": {"server": "ok", "store": "ok"}}


class Bus:
    """As much of a bus as a probe looks at."""

    def __init__(self, *, connected: bool) -> None:
        self.connected = connected


@pytest.mark.parametrize(("connected", "status", "bus"), [(True, "ready", "ok"), (False, "degraded", "away")])
async def test_a_server_without_its_bus_works_on_and_says_so(
    town: Town, monkeypatch: pytest.MonkeyPatch, connected: bool, status: str, bus: str
) -> None:
    monkeypatch.setattr(Engine, "bus", Bus(connected=connected))
    answer = await town.client.get("/readyz")
    assert answer.status == 200
    assert answer.data == {"status": status, "parts": {"server": "ok", "store": "ok", "bus": bus}}


class BrokenStore:
    """A store whose ping fails as it is told; all else is the real one."""

    def __init__(self, reads: Any, ping: Callable[[], Any]) -> None:
        self._reads = reads
        self.ping = ping

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)


async def unreachable() -> None:
    await trio.lowlevel.checkpoint()
    raise Unavailable("The database cannot be read: gone.")


@pytest.mark.parametrize("ping", [unreachable, trio.sleep_forever], ids=["failing", "hanging"])
async def test_a_server_whose_store_does_not_answer_is_not_ready_and_says_why(
    autojump_clock: MockClock, town: Town, ping: Callable[[], Any]
) -> None:
    object.__setattr__(town.engine.world, "reads", BrokenStore(town.engine.world.reads, ping))
    refused = await town.client.get("/readyz")
    assert refused.problem == (503, "unavailable")
    assert refused.json["detail"].startswith("The store does not answer:")
    assert refused.json["parts"] == {"server": "ok", "store": "away"}
    assert refused.headers["Retry-After"] == "1"
    assert (await town.client.get("/healthz")).status == 200


class FailingJournal:
    """A journal whose commits fail; nothing is written through it here."""

    def statistics(self) -> GroupCommitStatistics:
        return GroupCommitStatistics(0, 0, 0, 0, 1, 0, failing_since=1.0)


async def test_a_server_whose_commits_fail_is_not_ready(town: Town) -> None:
    journal = town.engine.world.journal
    object.__setattr__(town.engine.world, "journal", FailingJournal())
    refused = await town.client.get("/readyz")
    object.__setattr__(town.engine.world, "journal", journal)
    assert refused.problem == (503, "unavailable")
    assert "cannot be written" in refused.json["detail"]
    assert refused.json["parts"]["store"] == "failing"


async def test_a_server_that_drains_is_not_ready(town: Town) -> None:
    town.engine.directory.draining = True
    refused = await town.client.get("/readyz")
    town.engine.directory.draining = False
    assert refused.problem == (503, "server_restart")
    assert refused.json["parts"] == {"server": "draining"}


# Metrics


def metric(text: bytes, name: str) -> float:
    values = [line.rpartition(" ")[2] for line in text.decode().splitlines() if line.startswith(f"{name} ")]
    assert len(values) == 1, name
    return float(values[0])


async def test_metrics_show_what_the_engine_counts(client: Client) -> None:
    before = (await client.get("/metrics")).body
    await client.post(f"/conversations/{MINE}/messages", {"content": "x"}, by="agent")
    shown = await client.get("/metrics")
    assert shown.headers["Content-Type"].startswith("text/plain")
    rows = [metric(text, "tertulia_group_commit_rows_total") for text in (before, shown.body)]
    assert rows[1] - rows[0] == 1
    assert metric(shown.body, "tertulia_directory_active") == 1


async def test_answers_are_counted_by_route_and_status(client: Client) -> None:
    await client.get("/conversations", by="agent")
    await client.get("/conversations")
    await client.get("/nowhere")
    text = (await client.get("/metrics")).body.decode()
    for line in (
        'tertulia_http_requests_total{route="conversations.list_conversations",status="200"} 1.0',
        'tertulia_http_requests_total{route="conversations.list_conversations",status="401"} 1.0',
        'tertulia_http_requests_total{route="none",status="404"} 1.0',
    ):
        assert line in text


async def test_every_number_of_the_statistics_is_described(town: Town) -> None:
    engine = town.engine
    parts = {
        "directory": engine.directory.statistics(),
        "hub": engine.world.hub.statistics(),
        "group_commit": getattr(engine.world.journal, "statistics", lambda: None)(),
        "jobs": JobStatistics(*(0 for _ in fields(JobStatistics))),
    }
    for part, statistics in parts.items():
        assert is_dataclass(statistics)
        assert {(part, item.name) for item in fields(statistics)} == {key for key in HELP if key[0] == part}
    assert set(HELP) >= COUNTERS


@dataclass(frozen=True)
class Weather:
    degrees: float


def test_a_part_that_is_not_described_is_shown_all_the_same() -> None:
    metrics = Metrics({})
    metrics.add("weather", lambda: Weather(21.5))
    assert metric(metrics.render(), "tertulia_weather_degrees") == 21.5


async def test_a_node_that_runs_jobs_counts_those_of_every_queue() -> None:
    async with open_town(settings=Settings()) as town:
        await town.engine.jobs.pause("mail")
        due = replace(later("3" * 28, NORTH), state=JobState.AVAILABLE, run_at=START - 7000)
        await town.write(due)
        figures = (await counting(town)).body
    assert metric(figures, 'tertulia_jobs_queue_jobs{queue="mail",state="scheduled"}') == 2  # one of each tenant
    assert metric(figures, 'tertulia_jobs_queue_jobs{queue="mail",state="available"}') == 1
    assert metric(figures, 'tertulia_jobs_queue_lag_seconds{queue="mail"}') == 7
    assert metric(figures, "tertulia_jobs_lag_seconds") == 7
    assert metric(figures, "tertulia_jobs_running") == 0


async def counting(town: Town) -> Reply:
    """The metrics, right after a count."""
    assert town.engine.dispatcher is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(town.engine.dispatcher.figures.count)
        await wait_all_tasks_blocked()  # it has counted, and rests
        nursery.cancel_scope.cancel()
    return await town.client.get("/metrics")


async def test_a_node_that_runs_no_jobs_says_nothing_of_them(client: Client) -> None:
    text = (await client.get("/metrics")).body.decode()
    assert "tertulia_jobs" not in text


async def test_no_token_and_no_address_of_a_caller_is_in_the_metrics(client: Client) -> None:
    await client.get("/conversations", by="agent")
    assert b"agent" not in (await client.get("/metrics")).body


# Browsers


async def test_without_settings_no_page_may_call(client: Client) -> None:
    reply = await client.get("/healthz", headers={"Origin": "https://example.org"})
    assert "Access-Control-Allow-Origin" not in reply.headers


async def test_a_page_that_is_allowed_may_call_and_others_may_not() -> None:
    async with open_town(HttpSettings(origins=("https://shop.example",))) as town:
        allowed = await town.client.get("/conversations", by="agent", headers={"Origin": "https://shop.example"})
        other = await town.client.get("/conversations", by="agent", headers={"Origin": "https://evil.example"})
        refused = await town.client.get("/conversations", headers={"Origin": "https://shop.example"})
        preflight = await town.client.call("OPTIONS", "/conversations", headers={"Origin": "https://shop.example"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert allowed.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Origin" not in other.headers
    assert refused.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert preflight.status == 200
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in preflight.headers


async def test_every_answer_forbids_sniffing_caching_and_framing(client: Client) -> None:
    for path in ("/healthz", "/metrics", "/openapi.json", "/conversations"):
        headers = (await client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


async def test_cable_sessions_are_a_metric_where_there_is_a_gateway(town: Town) -> None:
    @dataclass(frozen=True)
    class Gateway:
        sessions: frozenset[int]

    app = make_app(town.engine, gateway=Gateway(frozenset({1, 2})))
    text = await Client(app).get("/metrics")
    assert metric(text.body, "tertulia_gateway_sessions") == 2
