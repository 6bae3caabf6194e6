"""The API described by itself: OpenAPI 3.1 from the route table and its structs.

Nothing here is written twice: paths, bodies, queries, answers and limits come from what the server really uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

import msgspec

from ..actors.limits import ChatLimits
from .calls import Audience
from .cursors import ID
from .problems import CONTENT_TYPE as PROBLEM
from .problems import Problem
from .routing import Route
from .schemas import MAX_ID, Body

REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")

#: What the converters of `routing.py` let through.
PATH_SCHEMAS: dict[str, dict[str, Any]] = {
    "id": {"type": "integer", "minimum": 0, "maximum": MAX_ID},
    "key": {"type": "string", "pattern": f"^{ID.pattern}$"},
}

#: Addresses that are not part of the versioned API, and what they answer.
PLAIN: dict[str, tuple[str, str]] = {
    "/healthz": ("The process is alive", "application/json"),
    "/readyz": ("The server can do its work; 503 names the part that cannot", "application/json"),
    "/metrics": ("Metrics for Prometheus", "text/plain"),
    "/openapi.json": ("This description", "application/json"),
}

ERRORS: dict[Audience, tuple[int, ...]] = {
    Audience.ANYONE: (404, 413, 415, 422, 429, 503),
    Audience.TOKEN: (401, 403, 503),
    Audience.ACCOUNT: (400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
}


def description_of(routes: Iterable[Route], limits: ChatLimits) -> dict[str, Any]:
    """The whole document."""
    routes = list(routes)
    kinds = _kinds(routes)
    refs, components = msgspec.json.schema_components(kinds, ref_template=REF)
    ref_of = dict(zip(kinds, refs, strict=True))
    _show_limits(kinds, components, limits)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for rule in route.rules:
            paths.setdefault(path_of(rule), {})[route.method.lower()] = _operation(route, rule, ref_of, components)
    for path, (summary, content_type) in PLAIN.items():
        paths[path] = {"get": _plain(summary, content_type)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tertulia", "version": version("tertulia")},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def path_of(rule: str) -> str:
    """`/contacts/<id:contact_id>` as `/contacts/{contact_id}`."""
    return _PARAMETER.sub(r"{\2}", rule)


def _kinds(routes: list[Route]) -> list[Any]:
    found: dict[Any, None] = {Problem: None}
    for route in routes:
        for kind in (route.operation.body, route.operation.query, route.answer):
            if kind is not None:
                found[kind] = None
    return list(found)


def _show_limits(kinds: list[Any], components: dict[str, Any], limits: ChatLimits) -> None:
    """Lengths that can be set are not in the structs: put this server's into their schemas."""
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Body)):
            continue
        for name, limit_name in kind.sized.items():
            schema = components[kind.__name__]["properties"][name]
            for variant in (schema, *schema.get("anyOf", ())):
                if variant.get("type") == "string":
                    variant["maxLength"] = getattr(limits, limit_name)
                elif variant.get("type") == "array":
                    variant["maxItems"] = getattr(limits, limit_name)
                    variant["items"] = {"type": "string", "minLength": 1, "maxLength": limits.label}


def _operation(route: Route, rule: str, ref_of: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation = route.operation
    nested = "<id:account_id>" in rule
    described: dict[str, Any] = {
        "operationId": route.name.replace(".", "_") + ("_in_account" if nested and len(route.rules) > 1 else ""),
        "tags": [route.area],
        "summary": route.summary,
        "parameters": list(_parameters(route, rule, components)),
        "responses": {str(route.status): _success(route, ref_of), **_failures(operation.audience, ref_of)},
    }
    if operation.audience is not Audience.ANYONE:
        described["security"] = [{"token": []}]
    if operation.body is not None:
        needed = any(field.required for field in msgspec.structs.fields(operation.body))
        described["requestBody"] = {"required": needed, "content": _json(ref_of[operation.body])}
    return described


def _parameters(route: Route, rule: str, components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind, name in _PARAMETER.findall(rule):
        yield {"name": name, "in": "path", "required": True, "schema": PATH_SCHEMAS.get(kind, {"type": "string"})}
    if route.operation.audience is Audience.ACCOUNT and "<id:account_id>" not in rule:
        description = "The account; also as ?account_id=. A visitor's token names it already."
        yield {"name": "X-Account-Id", "in": "header", "description": description, "schema": {"type": "integer"}}
    if route.operation.query is not None:
        properties = components[route.operation.query.__name__]["properties"]
        for name, schema in properties.items():
            yield {"name": name, "in": "query", "schema": schema}


def _success(route: Route, ref_of: dict[Any, Any]) -> dict[str, Any]:
    if route.answer is None:
        return {"description": "Done"}
    data = ref_of[route.answer]
    properties: dict[str, Any] = {"data": {"type": "array", "items": data} if route.listed else data}
    if route.listed:
        cursor = {"anyOf": [{"type": "string"}, {"type": "null"}]}
        properties["meta"] = {"type": "object", "properties": {"next_cursor": cursor}, "required": ["next_cursor"]}
    envelope = {"type": "object", "properties": properties, "required": list(properties)}
    return {"description": "Created" if route.status == 201 else "The answer", "content": _json(envelope)}


def _failures(audience: Audience, ref_of: dict[Any, Any]) -> dict[str, Any]:
    content = {PROBLEM: {"schema": ref_of[Problem]}}
    return {
        str(status): {"description": "A problem; `code` says which", "content": content} for status in ERRORS[audience]
    }


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _plain(summary: str, content_type: str) -> dict[str, Any]:
    content: dict[str, Any] = {content_type: {}}
    return {
        "summary": summary,
        "tags": ["operations"],
        "responses": {"200": {"description": summary, "content": content}},
    }
