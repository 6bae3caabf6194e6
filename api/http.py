"""The HTTP API as a Quart-Trio application. In: requests from `http_host`. Next hop: `calls`, then a handler of
`routes/`.

Every route is one line of the route table; a request runs through guard, validation and handler, and its result or
its error becomes the answer in one place each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, cast

import msgspec
from quart import Request, Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from ..actors.cluster import Cluster
from ..actors.limits import ChatLimits
from ..engine.errors import TertuliaError
from .answers import respond, respond_to_error
from .auth import Authenticator
from .calls import Api, Call
from .cors import allow_origins
from .engine import Engine
from .http_settings import HttpSettings
from .job_metrics import queue_metrics
from .metrics import METRICS, Metrics, Statistics
from .openapi import description_of
from .probes import add_probes
from .routes import accounts, contacts, conversations, inboxes, jobs, messages, sessions, visitors, webhooks
from .routing import IdConverter, KeyConverter, Route

AREAS = (
    sessions.area,
    accounts.area,
    inboxes.area,
    contacts.area,
    conversations.area,
    messages.area,
    visitors.area,
    jobs.area,
    webhooks.area,
)
ROUTES: tuple[Route, ...] = tuple(route for area in AREAS for route in area.routes)


def make_app(
    engine: Engine,
    *,
    authenticator: Authenticator | None = None,
    gateway: Any = None,
    settings: HttpSettings | None = None,
    statistics: Iterable[tuple[str, Statistics]] = (),
) -> QuartTrio:
    """The application of one engine.

    `authenticator` is the one that cable uses, so that signing out closes sockets too. `statistics` are more parts for
    `/metrics`, such as the reactor.
    """
    settings = settings or HttpSettings()
    world = engine.world
    if authenticator is None:
        authenticator = Authenticator(world.reads, world.access, world.wall_clock)
    api = Api(engine, authenticator, settings)
    app = QuartTrio("tertulia", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.body
    app.config["BODY_TIMEOUT"] = settings.body_timeout
    app.config["RESPONSE_TIMEOUT"] = settings.response_timeout
    app.url_map.converters["id"] = IdConverter
    app.url_map.converters["key"] = KeyConverter
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.register_error_handler(HTTPException, _answer_error)
    app.register_error_handler(TertuliaError, _answer_error)
    metrics = Metrics(dict(_parts(engine, gateway)) | dict(statistics))
    if engine.dispatcher is not None:
        metrics.add_families(partial(queue_metrics, engine.dispatcher.figures))
    app.extensions[METRICS] = metrics
    _count_answers(app, metrics)
    if settings.origins:
        allow_origins(app, frozenset(settings.origins))
    for route in ROUTES:
        view = _view(api, route)
        for rule in route.rules:
            app.add_url_rule(rule, route.name, view, methods=[route.method])
    add_probes(app, engine, metrics, _description(world.limits))
    return app


@cache
def _description(limits: ChatLimits) -> bytes:
    return msgspec.json.encode(description_of(ROUTES, limits))


def _view(api: Api, route: Route) -> Callable[..., Awaitable[Response]]:
    run, status = route.operation.run, route.status

    async def view(**path: Any) -> Response:
        call = Call(api, cast("Any", request)._get_current_object())
        return respond(await run(call, path), status)

    return view


async def _answer_error(error: Exception) -> Response:
    return respond_to_error(error)


def _parts(engine: Engine, gateway: Any) -> Iterable[tuple[str, Statistics]]:
    yield "directory", engine.directory.statistics
    yield "hub", engine.world.hub.statistics
    journal = getattr(engine.world.journal, "statistics", None)
    if journal is not None:
        yield "group_commit", journal
    bus = getattr(engine.bus, "statistics", None)
    if bus is not None:
        yield "bus", bus
    cluster = engine.cluster
    if cluster is not None:
        yield "cluster", lambda: _cluster_statistics(cluster)
    if engine.dispatcher is not None:
        yield "jobs", engine.dispatcher.statistics
    if gateway is not None:
        yield "gateway", lambda: GatewayStatistics(len(gateway.sessions))


@dataclass(frozen=True, slots=True)
class ClusterStatistics:
    """How many nodes this one knows to live, itself included; what it read from the store because the bus had lost it,
    and the commands that it sent to other nodes."""

    nodes: int
    gaps: int
    forwarded: int


def _cluster_statistics(cluster: Cluster) -> ClusterStatistics:
    forwarding = cluster.forwarding
    return ClusterStatistics(
        len(cluster.homes.nodes), cluster.hub.gaps, 0 if forwarding is None else forwarding.forwarded
    )


@dataclass(frozen=True, slots=True)
class GatewayStatistics:
    """How many cable clients are connected."""

    sessions: int


def _count_answers(app: QuartTrio, metrics: Metrics) -> None:
    async def count(response: Response) -> Response:
        current: Request = request
        metrics.requests[(current.endpoint or "none", response.status_code)] += 1
        return response

    app.after_request(count)
