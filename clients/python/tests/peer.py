"""A server that does what a test says, for what the real one does rarely or never."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from server import PATIENCE


class Connection:
    """One connection of the client's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> dict[str, Any]:
        """The next request; an empty one when the client has closed."""
        try:
            line = await asyncio.wait_for(self._reader.readline(), PATIENCE)
        except ConnectionError:
            line = b""
        request: dict[str, Any] = json.loads(line or b"{}")
        return request

    def write(self, *messages: dict[str, Any]) -> None:
        """Sends messages in one piece."""
        self._writer.write("".join(json.dumps(message) + "\n" for message in messages).encode())

    async def answer(
        self, method: str, *messages: dict[str, Any], **fields: Any
    ) -> dict[str, Any]:
        """Reads a request of that method, and replies to it; the messages go with the reply."""
        request = await self.read()
        assert request.get("msg") == method, f"{request} came in place of {method}"
        reply = {"msg": method, "status": 0} | fields
        self.write(reply | ({"id": request["id"]} if "id" in request else {}), *messages)
        return request

    async def end(self) -> None:
        """Closes it, when all that was written has left."""
        self._writer.close()
        await self._writer.wait_closed()

    def cut(self) -> None:
        self._writer.transport.abort()


class Peer:
    """The server: its connections, in their order."""

    def __init__(self) -> None:
        self.url = ""
        self._connections: asyncio.Queue[Connection] = asyncio.Queue()
        self._all: list[Connection] = []

    async def arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self._all.append(connection)
        self._connections.put_nowait(connection)

    async def accept(self) -> Connection:
        """The next connection."""
        return await asyncio.wait_for(self._connections.get(), PATIENCE)

    async def greet(self, **hello: Any) -> Connection:
        """The next connection, whose hello is answered."""
        connection = await self.accept()
        await connection.answer("hello", **({"protocol": 1, "heartbeat_ms": 60_000} | hello))
        return connection

    async def serve(self, *messages: dict[str, Any], **hello: Any) -> Connection:
        """The next connection, on which a user has logged in, and at once hears these messages."""
        connection = await self.greet(**hello)
        await connection.answer("login", *messages, session="7", token="a", object="1.1")
        return connection

    def end(self) -> None:
        for connection in self._all:
            connection.cut()


@contextlib.asynccontextmanager
async def peer() -> AsyncIterator[Peer]:
    served = Peer()
    listening = await asyncio.start_server(served.arrived, "127.0.0.1", 0)
    served.url = "tcp://127.0.0.1:{}".format(listening.sockets[0].getsockname()[1])
    try:
        yield served
    finally:
        # Whoever stands at the door is let in, so that nobody is left there: as many turns of the
        # loop as that takes.
        for _ in range(3):
            await asyncio.sleep(0)
        listening.close()
        served.end()
