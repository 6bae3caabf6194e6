"""Cross-origin requests, for the web pages that the settings name. Without a setting, browsers keep every page out."""

from __future__ import annotations

from quart import Response, request
from quart_trio import QuartTrio

METHODS = "GET, POST, PUT, PATCH, DELETE"
HEADERS = "Authorization, Content-Type, X-Account-Id"
EXPOSED = "Retry-After, Idempotent-Replay"
PREFLIGHT_SECONDS = "600"


def allow_origins(app: QuartTrio, origins: frozenset[str]) -> None:
    """Let pages of these origins call the application. Tokens travel in a header, so no cookies are allowed."""

    async def add_headers(response: Response) -> Response:
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
            if request.method == "OPTIONS":
                response.headers["Access-Control-Allow-Methods"] = METHODS
                response.headers["Access-Control-Allow-Headers"] = HEADERS
                response.headers["Access-Control-Max-Age"] = PREFLIGHT_SECONDS
        return response

    app.after_request(add_headers)
