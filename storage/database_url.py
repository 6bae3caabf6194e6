"""What a database URL says, without its secrets. In: the URL as the operator gave it. Out: text that may be shown."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from ..engine.errors import TertuliaError

POSTGRES = ("postgresql://", "postgres://")
FORMS = "sqlite:///relative.db, sqlite:////absolute.db, postgresql://user:password@host:5432/database or memory:"


class BadDatabaseUrl(TertuliaError):
    """The database URL names no store."""

    code = "bad_database_url"


def shown(url: str) -> str:
    """The URL, or where it could hold a password, its beginning."""
    if "@" not in url and "password" not in url:
        return repr(url)
    return repr(re.match(r"[A-Za-z+]{0,20}:?/{0,3}", url)[0] + "...")  # type: ignore[index]


def place(url: str) -> str:
    """Where a PostgreSQL URL leads, for messages: its hosts and its database, never who signs in and how.

    Raises:
        BadDatabaseUrl: its parts cannot be told apart.
    """
    _, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :]:
        raise BadDatabaseUrl(
            "The database URL has a / ? # or @ in a name or password; write %2F, %3F, %23 or %40 instead."
        )
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
    except ValueError:
        raise BadDatabaseUrl(f"The database URL cannot be read; use {FORMS}.") from None
    hosts = authority.rpartition("@")[2] or options.get("host", "") or "the default host"
    return f"{hosts}{parts.path}"
