"""All settings of a server: defaults, then the environment, then the command line.

Every limit has a name: the field `visitor_rate` of the section `chat` is `TERTULIA_CHAT_VISITOR_RATE`. A variable that
names no setting is an error, because it is most likely a misspelt one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args, get_origin, get_type_hints

from ..actors.cluster_limits import ClusterLimits
from ..actors.jobs.limits import JobLimits
from ..actors.limits import ChatLimits
from ..actors.webhooks.limits import WebhookLimits
from ..engine.config import EngineConfig, Lifecycle, MailboxLimits, SocketLimits, Supervision
from ..engine.errors import TertuliaError
from ..storage.database_url import POSTGRES
from ..storage.group_commit import GroupCommitLimits
from ..storage.postgres_limits import PostgresLimits
from ..storage.redis_limits import BusLimits
from .cable_limits import CableLimits
from .http_settings import HttpSettings
from .webhook_limits import WebhookSenderLimits
from .worker_limits import WorkerLimits

PREFIX = "TERTULIA_"
#: Variables with this prefix belong to the test suite.
TEST_PREFIX = "TERTULIA_TEST_"

REDIS = ("redis://", "rediss://", "unix://")


class WrongSetting(TertuliaError):
    """A setting has a value that cannot be used."""

    code = "wrong_setting"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the server listens and what it lets in."""

    database: str = "sqlite:///tertulia.db"
    redis: str = ""  # the bus between nodes; without it this is the only one
    workers: int = 1  # processes that share the port; each is a node
    jobs_module: str = ""  # where the program's own jobs are, as `shop.background`; empty: nowhere
    bind: str = "127.0.0.1:8000"
    cable_path: str = "/cable"
    origins: tuple[str, ...] = ()  # allowed for browsers, as `https://example.org`; empty: all
    backlog: int = 4096  # connections that wait to be accepted
    drain_window: float = 5.0  # seconds over which clients are told to reconnect elsewhere
    shutdown_timeout: float = 20.0  # seconds after which a drain is cut short


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, by section."""

    server: ServerSettings = field(default_factory=ServerSettings)
    mailbox: MailboxLimits = field(default_factory=MailboxLimits)
    supervision: Supervision = field(default_factory=Supervision)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    sockets: SocketLimits = field(default_factory=SocketLimits)
    chat: ChatLimits = field(default_factory=ChatLimits)
    group_commit: GroupCommitLimits = field(default_factory=GroupCommitLimits)
    cable: CableLimits = field(default_factory=CableLimits)
    http: HttpSettings = field(default_factory=HttpSettings)
    cluster: ClusterLimits = field(default_factory=ClusterLimits)
    postgres: PostgresLimits = field(default_factory=PostgresLimits)
    bus: BusLimits = field(default_factory=BusLimits)
    worker: WorkerLimits = field(default_factory=WorkerLimits)
    jobs: JobLimits = field(default_factory=JobLimits)
    webhook: WebhookLimits = field(default_factory=WebhookLimits)
    webhook_sender: WebhookSenderLimits = field(default_factory=WebhookSenderLimits)

    @property
    def engine(self) -> EngineConfig:
        return EngineConfig(self.mailbox, self.supervision, self.lifecycle, self.sockets)


def variables() -> dict[str, tuple[str, str]]:
    """The name of every environment variable, with the section and the field that it sets.

    The section `server` has no prefix of its own: `TERTULIA_BIND`.
    """
    names: dict[str, tuple[str, str]] = {}
    defaults = Settings()
    for section in fields(Settings):
        for item in fields(getattr(defaults, section.name)):
            if not item.init:
                continue  # derived from others
            prefix = "" if section.name == "server" else f"{section.name}_"
            names[f"{PREFIX}{prefix}{item.name}".upper()] = (section.name, item.name)
    return names


def settings_from(environment: Mapping[str, str], **server: Any) -> Settings:
    """The settings that an environment gives; keyword arguments that are not None override the `server` section.

    Raises:
        WrongSetting: a variable is unknown, or its value cannot be used.
    """
    known = variables()
    chosen: dict[str, dict[str, Any]] = {}
    for name, text in environment.items():
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX):
            continue
        if name not in known:
            raise WrongSetting(f"There is no setting {name}; `tertulia settings` lists them all.")
        section, item = known[name]
        chosen.setdefault(section, {})[item] = _parse(name, text, _type_of(section, item))
    chosen.setdefault("server", {}).update({name: value for name, value in server.items() if value is not None})
    settings = Settings()
    for section, values in chosen.items():
        try:
            settings = replace(settings, **{section: replace(getattr(settings, section), **values)})
        except ValueError as error:
            raise WrongSetting(str(error)) from None
    address_of(settings.server.bind)
    return settings


def check_nodes(server: ServerSettings) -> None:
    """Nodes share a database server and a bus; what can only serve one of them is refused.

    Raises:
        WrongSetting: the database and the bus do not fit each other or the number of workers.
    """
    database, redis, workers = shown(server.database), shown(server.redis), server.workers
    if workers < 1:
        raise WrongSetting(f"The number of workers is {workers}; it must be 1 or more.")
    if server.redis and not server.redis.startswith(REDIS):
        raise WrongSetting(
            f"The Redis URL {redis!r} names no bus; it begins with {', '.join(REDIS[:-1])} or {REDIS[-1]}."
        )
    if not server.database.startswith(POSTGRES):
        if workers > 1:
            raise WrongSetting(
                f"{database} can serve one process only; {workers} workers need --database postgresql://... "
                "and --redis redis://..."
            )
        if server.redis:
            raise WrongSetting(f"{database} can serve one process only; --redis needs --database postgresql://...")
    elif workers > 1 and not server.redis:
        raise WrongSetting(f"{workers} workers need --redis redis://... to hear of each other.")


def shown(url: str) -> str:
    """A URL as it may be printed: without who signs in, and how."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"^(\w+://).*@", r"\1***@", url))


def address_of(bind: str) -> tuple[str, int]:
    """`127.0.0.1:8000` or `[::1]:8000` as host and port.

    Raises:
        WrongSetting: it is neither.
    """
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise WrongSetting(f"{bind!r} is no address to bind to; write it as 127.0.0.1:8000.")
    return host.strip("[]"), int(port)


def _type_of(section: str, item: str) -> Any:
    settings: object = getattr(Settings(), section)
    return get_type_hints(type(settings))[item]


def _parse(name: str, text: str, kind: Any) -> Any:
    try:
        if get_origin(kind) is tuple:
            of_part = get_args(kind)[0]
            return tuple(of_part(part.strip()) for part in text.split(",") if part.strip())
        if kind is bool:
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError):
        raise WrongSetting(f"{name} is {text!r}; it must be {_expected(kind)}.") from None


def _expected(kind: Any) -> str:
    if kind is bool:
        return "true or false"
    if get_origin(kind) is tuple:
        return f"values of type {get_args(kind)[0].__name__} with commas between them"
    return f"a value of type {kind.__name__}"
