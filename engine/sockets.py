"""Sockets, and who is told when they are ready. What `reactor` and `arrivals` have in common."""

from __future__ import annotations

import selectors
from socket import socket
from typing import Protocol

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class SocketHandler(Protocol):
    """An object that is told when its socket is ready. None of these waits."""

    def on_readable(self) -> None: ...

    def on_writable(self) -> None: ...

    def on_deadline(self) -> None: ...

    def abandon(self) -> None:
        """The socket is closed next: write to it no more. A descriptor means another socket soon after."""
        ...

    def on_error(self, error: Exception) -> None:
        """One of the others raised: log it and give the socket up. Must not raise."""
        ...


class Sockets:
    """A selector and the sockets registered with it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, sock: socket, handler: SocketHandler, events: int = READ) -> None:
        """Tell this handler, and no other, when the socket is ready for these events; none of them means `forget`."""
        if not events:
            self.forget(sock)
            return
        try:
            self._selector.modify(sock, events, handler)
        except KeyError:
            self._selector.register(sock, events, handler)

    def forget(self, sock: socket) -> None:
        """Always before the socket is closed or handed over; unknown sockets are no error.

        Its handler may still be told of a readiness that was seen before.
        """
        try:
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            return

    def close(self) -> None:
        """Close the selector and every socket that is still registered."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket):
                handler: SocketHandler = key.data
                handler.abandon()
                key.fileobj.close()
        self._selector.close()
