"""How frames reach a server and come from it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

PORT_DEFAULT = 7171
# No server sends a longer frame, whatever its limits are: see `docs/protocol.md`.
FRAME_BYTES_MAX = 16 * 1024 * 1024
_SUBPROTOCOL = "warren.json"


class Transport(Protocol):
    """An open way to a server."""

    def send(self, frame: str) -> None:
        """Sends a frame, soon. Does nothing once the way is closed."""

    async def receive(self) -> str | None:
        """The next frame; none when the way is closed."""

    def close(self) -> None:
        """Closes the way at once."""


def opener(url: str, tls: ssl.SSLContext | None) -> Coroutine[Any, Any, Transport]:
    """What opens a way: ``tcp:`` and ``tls:`` by a socket, ``ws:`` and ``wss:`` by WebSocket.

    Raises ``ValueError`` for another URL, ``ImportError`` when ``websockets`` is missing.
    """
    parts = urlsplit(url)
    if parts.scheme in ("tcp", "tls"):
        return _open_socket(parts, tls)
    if parts.scheme in ("ws", "wss"):
        # Only here: the package is an extra.
        import websockets.asyncio.client  # noqa: F401, PLC0415

        return _open_websocket(url, tls)
    raise ValueError(f"a server's URL begins with tcp, tls, ws or wss, not {parts.scheme}")


def _context(url: str, tls: ssl.SSLContext | None) -> ssl.SSLContext | None:
    is_plain = url.startswith(("tcp", "ws:"))
    return None if is_plain else tls or ssl.create_default_context()


class _Socket:
    """JSON over a plain or TLS socket. A frame ends with LF."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, frame: str) -> None:
        if not self._writer.is_closing():
            self._writer.write(frame.encode() + b"\n")

    async def receive(self) -> str | None:
        try:
            line = await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            return None
        return line.decode()

    def close(self) -> None:
        self._writer.transport.abort()


async def _open_socket(url: SplitResult, tls: ssl.SSLContext | None) -> Transport:
    reader, writer = await asyncio.open_connection(
        url.hostname,
        url.port or PORT_DEFAULT,
        ssl=_context(url.scheme, tls),
        limit=FRAME_BYTES_MAX,
    )
    return _Socket(reader, writer)


class _WebSocket:
    """JSON over WebSocket, by the package ``websockets``."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        # What has not left: no more than the calls that a server remembers.
        self._frames: asyncio.Queue[str] = asyncio.Queue()
        self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415

        try:
            while True:
                await self._connection.send(await self._frames.get())
        except ConnectionClosed:
            pass

    def send(self, frame: str) -> None:
        if not self._sender.done():
            self._frames.put_nowait(frame)

    async def receive(self) -> str | None:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415

        try:
            return str(await self._connection.recv())
        except ConnectionClosed:
            return None

    def close(self) -> None:
        self._sender.cancel()
        self._connection.transport.abort()


async def _open_websocket(url: str, tls: ssl.SSLContext | None) -> Transport:
    from websockets.asyncio.client import connect  # noqa: PLC0415
    from websockets.exceptions import WebSocketException  # noqa: PLC0415
    from websockets.typing import Subprotocol  # noqa: PLC0415

    try:
        connection = await connect(
            url,
            subprotocols=[Subprotocol(_SUBPROTOCOL)],
            # The client has a heartbeat of its own, and the server compresses nothing.
            compression=None,
            ping_interval=None,
            max_size=FRAME_BYTES_MAX,
            ssl=_context(url, tls),
        )
    except WebSocketException as error:
        raise ConnectionError(str(error)) from error
    return _WebSocket(connection)
