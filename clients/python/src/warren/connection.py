"""A blocking way to a server: JSON, a line each, many of them in one system call."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from urllib.parse import urlsplit

from warren_client.transport import FRAME_BYTES_MAX, PORT_DEFAULT

_RECEIVE_BYTES = 256 * 1024
_SOCKET_WAITS = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Lost(Exception):
    """The connection is of no more use. ``reason`` is the server's word, if it has said one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Connection:
    """An open connection. ``wake`` is a descriptor that ends a wait when there is something to read."""

    def __init__(
        self, url: str, wake: int, timeout: float, tls: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("tcp", "tls") or not parts.hostname:
            raise ValueError(f"a worker's URL is tcp://HOST:PORT or tls://HOST:PORT, not {url}")
        try:
            opened = socket.create_connection((parts.hostname, parts.port or PORT_DEFAULT), timeout)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if parts.scheme == "tls":
                context = tls or ssl.create_default_context()
                opened = context.wrap_socket(opened, server_hostname=parts.hostname)
        except OSError as error:
            raise Lost(f"connect-failed: {error}") from error
        opened.setblocking(False)
        self._socket = opened
        self._wake = wake
        self._received = b""
        self.has_waited = False
        """Whether the last ``receive`` had to wait: nothing had come before it."""
        self._poll = select.poll()
        self._poll.register(wake, select.POLLIN)
        self._poll.register(opened, select.POLLIN)

    def send(self, data: bytes) -> None:
        """Sends all of it. What comes meanwhile is kept, so that neither side waits for the other."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except _SOCKET_WAITS:
                poll = select.poll()
                poll.register(self._socket, select.POLLIN | select.POLLOUT)
                poll.poll()
                self._fill()
            except OSError as error:
                # Why may be among what has come.
                with contextlib.suppress(Lost):
                    while self._fill():
                        pass
                raise Lost(f"socket-error: {error}") from error

    def receive(self, timeout: float | None) -> list[bytes]:
        """The lines that have come, as soon as there is one.

        None of them when the wait was ended by ``wake``, or after so many seconds.
        """
        self.has_waited = False
        while True:
            if b"\n" in self._received:
                *lines, self._received = self._received.split(b"\n")
                return lines
            if not self._fill() and not self._wait(timeout):
                return []

    def _fill(self) -> bool:
        """Takes what has come, without waiting: whether it was anything."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except _SOCKET_WAITS:
            return False
        except OSError as error:
            raise Lost(f"socket-error: {error}") from error
        if not data:
            raise Lost("peer-closed")
        self._received = self._received + data if self._received else data
        if len(self._received) > FRAME_BYTES_MAX and b"\n" not in self._received:
            raise Lost("frame-too-large")
        return True

    def _wait(self, timeout: float | None) -> bool:
        """Whether there is something to receive, before ``wake`` or the end of the time."""
        self.has_waited = True
        ready = self._poll.poll(None if timeout is None else max(0.0, timeout) * 1000)
        return bool(ready) and all(descriptor != self._wake for descriptor, _ in ready)

    def last_words(self) -> list[bytes]:
        """Lines that had come before the end."""
        return self._received.split(b"\n")[:-1]

    def close(self) -> None:
        """Closes this process's side. In a child process that leaves the parent's open."""
        self._socket.close()
