"""What an attempt to deliver a webhook may take, and where it may go. In: settings. Next: `webhook_sender`."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .outgoing_address import OutgoingRule


@dataclass(frozen=True, slots=True)
class WebhookSenderLimits:
    """Times are in seconds."""

    timeout: float = 5.0  # seconds of one attempt, from resolving the name to the end of the answer
    address_timeout: float = 2.0  # seconds until the next address is tried, where a name has several
    connections: int = 100  # at the same time
    #: At the same time, to one host and port. Several times what one account may run (`JobLimits.per_account`): tenants
    #: share hosts, and one whose receiver is slow must not take all of one.
    connections_per_host: int = 40
    lookups: int = 32  # names resolved at the same time; one that was given up counts until the system gives up, too
    idle_connections: int = 50  # kept open for the next delivery
    keep_alive: float = 2.0  # seconds that they are; shorter than servers keep theirs
    answer: int = 64 * 1024  # bytes that are read of an answer
    kept_answer: int = 500  # characters of its body that are kept for the delivery log
    url: int = 2048  # characters of a URL
    allowed_networks: tuple[str, ...] = ()  # targets besides the public internet, as `10.0.0.0/8`
    ca_file: str = ""  # the authorities that may sign certificates, as PEM; empty: the system's

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int | float) and value <= 0 and item.name != "idle_connections":
                raise ValueError(f"WebhookSenderLimits.{item.name} must be greater than zero.")
        if self.idle_connections < 0:
            raise ValueError("WebhookSenderLimits.idle_connections must not be negative.")
        OutgoingRule(self.allowed_networks)
