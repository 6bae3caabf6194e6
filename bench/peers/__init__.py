"""What people would use instead. In: each folder's `peer.toml` and what its `install` left. Out: `Peer`, for scenarios.

A folder holds `peer.toml` (version, what it keeps, how its clients talk), `install` (puts exactly that version into the
folder's `.installed`, from PyPI, npm, the Go proxy or Debian, or compiles it) and `serve` (becomes the server, on
127.0.0.1). All listen with one process, or with as many as one core needs; whoever starts them decides on which cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

FOLDER = Path(__file__).parent
INSTALLED = ".installed"  # what `install` makes in a peer's folder
VERSION = "version"  # in there: the version that is installed, written last
REASON = "reason"  # in there: why `install` could not do it

Need: TypeAlias = Literal["postgres", "redis"]


@dataclass(frozen=True)
class HttpPost:
    """How a message is published by HTTP; every answer but 2xx is a failure."""

    path: str
    body: str
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wire:
    """How a client joins a room, publishes to it and knows what it hears: text frames on one WebSocket each.

    `path`, `greetings`, `publish` and `post` are templates: `{room}` is a number, `{text}` the text to publish. A text
    is ASCII letters, digits and any of `@:;,._-` and blanks: it needs no escape in JSON, nor in JSON inside of JSON.
    """

    publish: str = ""  # the frame that publishes `{text}`; empty: only HTTP does
    path: str = "/"
    subprotocol: str | None = None
    headers: tuple[str, ...] = ()
    #: A frame that contains this is waited for before anything is said; None: the handshake is enough.
    welcome: str | None = None
    greetings: tuple[str, ...] = ()  # then sent in their order, at once
    ready: str | None = None  # a frame that contains this says that the client has joined; None: the handshake does
    #: A frame that equals the first is answered with the second: the protocol's own heartbeat. A ping of WebSocket's
    #: (RFC 6455, section 5.5.2) is answered as well, by every client.
    heartbeat: tuple[str, str] | None = None
    #: What is between two messages that the server may put into one frame.
    separator: str | None = None
    #: What the publisher hears when its message was accepted. None: that is its own text, as everybody in the room gets
    #: it, so who publishes has to join.
    accepted: str | None = None
    post: HttpPost | None = None

    def fill(self, template: str, *, room: int, text: str = "") -> str:
        """A template with its blanks filled. Braces that are no blank stay as they are."""
        return template.replace("{room}", str(room)).replace("{text}", text)


@dataclass(frozen=True)
class Peer:
    """One of them, installed or not."""

    name: str
    title: str  # as tables call it
    version: str
    wire: Wire
    folder: Path
    #: Whether a message is written in PostgreSQL, and flushed, before anybody hears of it.
    durable: bool = False
    needs: tuple[Need, ...] = ()
    #: Whether a sender's messages come in their order even if it does not wait for one before it sends the next.
    ordered: bool = True
    #: What a reader of the table has to know of what is compared.
    remark: str = ""
    #: A process that serves on demand (a Ruby or Python program) may take this long to listen.
    seconds_to_start: float = 20.0
    missing: str | None = field(default=None)  # why it cannot run here; None: it can

    @property
    def command(self) -> list[str]:
        """What to run; it becomes the server, and ends on SIGTERM."""
        return [str(self.folder / "serve")]

    def environment(
        self, port: int, *, postgres_url: str | None = None, redis_url: str | None = None
    ) -> Mapping[str, str]:
        """What `serve` has to find in its environment, besides the environment of whoever starts it.

        Raises:
            ValueError: it needs a database that was not given.
        """
        given = {"postgres": postgres_url, "redis": redis_url}
        for need in self.needs:
            if not given[need]:
                raise ValueError(f"{self.title} needs {need}: give its URL.")
        found = {"PORT": str(port), "DATABASE_URL": postgres_url or "", "REDIS_URL": redis_url or ""}
        return {name: value for name, value in found.items() if value}


class _Description(msgspec.Struct, forbid_unknown_fields=True):
    """`peer.toml`."""

    title: str
    version: str
    wire: Wire
    durable: bool = False
    needs: tuple[Need, ...] = ()
    ordered: bool = True
    remark: str = ""
    seconds_to_start: float = 20.0


def peers() -> list[Peer]:
    """All of them by name, those that cannot run here with the reason.

    Raises:
        msgspec.MsgspecError: a `peer.toml` says what no peer has.
    """
    return [read(path.parent) for path in sorted(FOLDER.glob("*/peer.toml"))]


def peer(name: str) -> Peer:
    """One of them.

    Raises:
        LookupError: there is none of this name.
    """
    if not (FOLDER / name / "peer.toml").is_file():
        known = ", ".join(each.name for each in peers())
        raise LookupError(f"There is no peer {name}; there are {known}.")
    return read(FOLDER / name)


def read(folder: Path) -> Peer:
    """What a folder describes.

    Raises:
        msgspec.MsgspecError: its `peer.toml` says what no peer has.
    """
    said = msgspec.toml.decode((folder / "peer.toml").read_bytes(), type=_Description)
    return Peer(
        folder.name,
        said.title,
        said.version,
        said.wire,
        folder,
        said.durable,
        said.needs,
        said.ordered,
        said.remark,
        said.seconds_to_start,
        _why_missing(folder, said.version),
    )


def _why_missing(folder: Path, version: str) -> str | None:
    installed = folder / INSTALLED
    if (installed / REASON).is_file():
        return (installed / REASON).read_text().strip()
    if not (installed / VERSION).is_file():
        return f"not installed: run bench/peers/{folder.name}/install"
    found = (installed / VERSION).read_text().strip()
    if found != version:
        return (
            f"version {found or 'unknown'} is installed, {version} is asked for: run bench/peers/{folder.name}/install"
        )
    return None
