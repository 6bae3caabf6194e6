"""The demo's page: both sides of one conversation in a browser. Served only by `tertulia serve --demo`.

The page holds the demo's tokens, which are worth nothing outside of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quart import Blueprint, Response

_PAGE = Path(__file__).with_name("pages") / "demo.html"
_POLICY = (
    "default-src 'none'; connect-src 'self' ws: wss:; img-src data:;"
    " style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


def demo_page(filled: Mapping[str, Any], cable_path: str) -> Blueprint:
    """A blueprint that serves `/demo`, and leads there from `/`."""
    agent, contact = filled["users"][1], filled["contacts"][0]
    demo = {
        "account_id": filled["account_id"],
        "conversation_id": contact["conversation_id"],
        "cable_path": cable_path,
        "agent": {"type": "user", "id": agent["id"], "token": agent["token"]},
        "visitor": {"type": "contact", "id": contact["id"], "token": contact["token"]},
    }
    page = _PAGE.read_text(encoding="utf-8").replace("{{demo}}", json.dumps(demo).replace("<", "\\u003c"))
    blueprint = Blueprint("demo", __name__)

    @blueprint.get("/demo")
    async def show() -> Response:
        return Response(page, mimetype="text/html", headers={"Content-Security-Policy": _POLICY})

    @blueprint.get("/")
    async def lead() -> Response:
        return Response("", status=302, headers={"Location": "/demo"})

    return blueprint
