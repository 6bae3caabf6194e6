"""What machines ask: is it alive, can it work, how is it doing, what can it do."""

from __future__ import annotations

from typing import Any

import trio
from quart import Response
from quart_trio import QuartTrio

from ..engine.errors import Draining, Unavailable
from .answers import JSON, respond, respond_with
from .engine import Engine
from .metrics import CONTENT_TYPE, Metrics
from .representations import HealthData

#: How long the store may take to answer a ping, in seconds: less than what probes wait.
STORE_PATIENCE = 2.0


def add_probes(app: QuartTrio, engine: Engine, metrics: Metrics, description: bytes) -> None:
    async def healthz() -> Response:
        return respond(HealthData(status="alive"), 200)

    async def readyz() -> Response:
        await _check(engine)
        return respond(HealthData(status="ready"), 200)

    async def show_metrics() -> Response:
        return respond_with(metrics.render(), CONTENT_TYPE)

    async def openapi() -> Response:
        return respond_with(description, JSON)

    app.add_url_rule("/healthz", "healthz", healthz)
    app.add_url_rule("/readyz", "readyz", readyz)
    app.add_url_rule("/metrics", "metrics", show_metrics)
    app.add_url_rule("/openapi.json", "openapi", openapi)


async def _check(engine: Engine) -> None:
    """Raises Draining or Unavailable, which say what part cannot work."""
    if engine.directory.draining:
        raise Draining
    commits: Any = getattr(engine.world.journal, "statistics", None)
    if commits is not None and commits().failing_since is not None:
        raise Unavailable("The store cannot be written; what is sent now waits for it.")
    try:
        with trio.fail_after(STORE_PATIENCE):
            await engine.world.reads.ping()
    except (Unavailable, trio.TooSlowError) as error:
        reason = error.detail if isinstance(error, Unavailable) else f"it took more than {STORE_PATIENCE:g} s"
        raise Unavailable(f"The store does not answer: {reason}") from error
