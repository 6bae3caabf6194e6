"""What the HTTP API lets in, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

DAY = 86_400.0  # seconds


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Limits and lifetimes of the HTTP API. A rate of 0 switches its limit off."""

    body: int = 256 * 1024  # bytes of a request body
    body_timeout: float = 30.0  # seconds that a body may take to arrive
    response_timeout: float = 30.0  # seconds that a client may take to read an answer
    connections: int = 10_000  # HTTP connections at the same time; each is a task
    keep_alive: float = 65.0  # seconds that an idle connection stays open; longer than load balancers keep theirs
    shutdown_timeout: float = 10.0  # seconds that requests under way have when the server stops
    origins: tuple[str, ...] = ()  # web pages that may call the API from a browser (CORS); none by default
    trusted_proxies: int = 0  # how many proxies in front of the server write X-Forwarded-For
    user_token_lifetime: float = 30 * DAY  # seconds
    contact_token_lifetime: float = 365 * DAY  # seconds; renewed when the visitor comes back
    # A guesser gets 10 tries at once and 6 a minute, from one address or for one e-mail.
    sign_in_rate: float = 0.1
    sign_in_burst: float = 10.0
    visitor_session_rate: float = 0.5  # per address
    visitor_session_burst: float = 20.0
    remembered_addresses: int = 20_000  # per limit; the least recently seen go first
    passwords_at_once: int = 2  # hashes computed in parallel: each takes 64 MiB and most of a processor

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            may_be_zero = item.name.endswith("_rate") or item.name == "trusted_proxies"
            if isinstance(value, int | float) and (value < 0 or (value == 0 and not may_be_zero)):
                raise ValueError(f"HttpSettings.{item.name} is {value}; it must be greater than zero.")
