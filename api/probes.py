"""What machines ask: is it alive, can it work, how is it doing, what can it do."""

from __future__ import annotations

from typing import Any

import msgspec
import trio
from quart import Response
from quart_trio import QuartTrio

from ..engine.errors import Draining, TertuliaError, Unavailable
from .answers import JSON, respond, respond_to_problem, respond_with
from .engine import Engine
from .metrics import CONTENT_TYPE, Metrics
from .problems import Problem, problem_of
from .representations import HealthData

#: How long the store may take to answer a ping, in seconds: less than what probes wait.
STORE_PATIENCE = 2.0


class ReadinessData(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is `ready`, or `degraded` where a part is away that the server can do without for a while."""

    status: str
    parts: dict[str, str]


class NotReady(Problem, frozen=True, omit_defaults=True):
    """A problem that also says how each part is."""

    parts: dict[str, str] = msgspec.field(default_factory=dict[str, str])


def add_probes(app: QuartTrio, engine: Engine, metrics: Metrics, description: bytes) -> None:
    async def healthz() -> Response:
        return respond(HealthData(status="alive"), 200)

    async def readyz() -> Response:
        return await _readiness(engine)

    async def show_metrics() -> Response:
        return respond_with(metrics.render(), CONTENT_TYPE)

    async def openapi() -> Response:
        return respond_with(description, JSON)

    app.add_url_rule("/healthz", "healthz", healthz)
    app.add_url_rule("/readyz", "readyz", readyz)
    app.add_url_rule("/metrics", "metrics", show_metrics)
    app.add_url_rule("/openapi.json", "openapi", openapi)


async def _readiness(engine: Engine) -> Response:
    """503 where requests would fail here. The bus is no reason: without it this node delivers and writes all the same,
    and what it missed of the others comes when the bus is back."""
    parts = {"server": "draining" if engine.directory.draining else "ok"}
    if engine.directory.draining:
        return _not_ready(Draining(), parts)
    store, error = await _store(engine)
    parts["store"] = store
    if engine.bus is not None:
        parts["bus"] = "ok" if engine.bus.connected else "away"
    if error is not None:
        return _not_ready(error, parts)
    degraded = any(state != "ok" for state in parts.values())
    return respond(ReadinessData(status="degraded" if degraded else "ready", parts=parts), 200)


def _not_ready(error: TertuliaError, parts: dict[str, str]) -> Response:
    problem, headers = problem_of(error)
    return respond_to_problem(NotReady(**msgspec.structs.asdict(problem), parts=parts), headers)


async def _store(engine: Engine) -> tuple[str, Unavailable | None]:
    """How the store is, and the error where it cannot be used."""
    commits: Any = getattr(engine.world.journal, "statistics", None)
    if commits is not None and commits().failing_since is not None:
        return "failing", Unavailable("The store cannot be written; what is sent now waits for it.")
    reason = f"it took more than {STORE_PATIENCE:g} s"
    with trio.move_on_after(STORE_PATIENCE):
        try:
            await engine.world.reads.ping()
        except Unavailable as error:
            reason = error.detail
        else:
            return "ok", None
    return "away", Unavailable(f"The store does not answer: {reason}")
