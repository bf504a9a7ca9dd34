"""ConnServer modules against the real server, by its own protocol."""

from __future__ import annotations

import asyncio
import unittest

from server import PATIENCE, following, server
from workers import OPEN, worker

from warren_client import WarrenError, connect

MODULE = """
    import cs

    message = "wave"

    def process(server, socket, msg):
        assert isinstance(socket, cs.Socket) and msg["msg"] == "wave"
        if msg["to"] == "nobody":
            return False
        if msg["to"] == "everybody":
            server.broadcast(msg)
        if msg["to"] == "shy":
            msg["status"] = "5"
            socket.send(msg)
            return True
        server.room(msg["to"]).broadcast({"msg": "waved", "from": socket.uid(), "n": msg["n"]})
        msg["status"] = "0"
        msg["by"] = server.name()
        socket.send(msg)
        return True
"""


class ConnServerTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_module_answers_and_tells_a_room(self) -> None:
        async with (
            server(OPEN) as running,
            worker(MODULE, of=running) as working,
            connect(running.url, user="bob") as bob,
        ):
            await bob.call("join", room="plaza")
            heard = following(bob, "emit")
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(b"msg=login&user=ann~\0msg=wave&to=plaza&n=3~\0")
            await reader.readuntil(b"~\0")
            answer = await asyncio.wait_for(reader.readuntil(b"~\0"), PATIENCE)
            self.assertEqual(answer, b"by=warren&msg=wave&n=3&status=0&to=plaza~\0")
            emitted = await heard
            self.assertEqual((emitted["event"], emitted["room"]), ("waved", "plaza"))
            self.assertEqual((emitted["user"], emitted["n"]), ("ann", "3"))
            writer.close()
            for to, told in {
                "nobody": "process returned False",
                "everybody": "Unsupported: server.broadcast is not supported",
                "shy": "status 5",
            }.items():
                with self.subTest(to), self.assertRaises(WarrenError) as caught:
                    await bob.call("wave", to=to, n=1)
                self.assertEqual(caught.exception.reason, "task-failed")
                await working.logged(told)
