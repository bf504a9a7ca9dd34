"""A worker with behaviours against a server that says what a test needs."""

from __future__ import annotations

import base64
import contextlib
import math
import signal
import struct
import unittest
from collections.abc import AsyncIterator
from typing import Any

from peer import Connection, Peer, peer
from test_worker_session import task
from workers import Worker, worker

from warren.behaviours import batch_bytes

SOURCE = """
    import os, signal, threading, time, warren

    @warren.behaviour("wolf")
    def wolves(world, batch):
        batch.go_to(0, (9, 0))

    @warren.behaviour("fork")
    def forks(world, batch):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        else:
            # Should it go on as a worker, which it must not, then not for ever.
            threading.Timer(5, os._exit, [1]).start()

    @warren.behaviour("leave")
    def leaves(world, batch):
        os.kill(os.getpid(), signal.SIGTERM)

    @warren.behaviour("exit")
    def exits(world, batch):
        os._exit(9)

    @warren.behaviour("raise")
    def fails(world, batch):
        batch.positions[0] = 5
        raise ValueError("no such spell")

    @warren.method("wait")
    def wait(ctx, msg):
        open("begun", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.01)

    @warren.method("hit")
    def hit(ctx, msg):
        pass
"""


def think(token: int, behaviour: str = "wolf") -> dict[str, Any]:
    batch = batch_bytes([3], [0.5], [90.0], [1, 2, 0], [0.5, 0, 0], [7])
    said = {"msg": "think", "world": "171.5", "band": 0, "token": token, "behaviour": behaviour}
    said |= {"tick": token, "speed": 2.0, "radius": 50.0, "dims": 2, "count": 1}
    packed = {"home": bytes(12), "batch": batch, "members": b""}
    # As JSON has bytes.
    return said | {name: {"$bytes": base64.b64encode(value).decode()} for name, value in packed.items()}


@contextlib.asynccontextmanager
async def working(*before: dict[str, Any]) -> AsyncIterator[tuple[Peer, Connection, Worker]]:
    """A worker that has said what it does; it hears these messages before it hears that it does it."""
    async with peer() as served, worker(SOURCE, "--url", served.url, waits=False) as running:
        connection = await served.greet(frame_bytes_max=65_536)
        await connection.answer("login", session="7", token="a", object="1.1")
        await connection.answer("work")
        work = await connection.read()
        assert work["behaviours"] == ["wolf", "fork", "leave", "exit", "raise"], work
        connection.write(*before, {"msg": "work", "id": work["id"], "status": 0})
        yield served, connection, running


class BehaviourSessionTest(unittest.IsolatedAsyncioTestCase):
    async def thought(self, connection: Connection, token: int) -> tuple[float, ...]:
        """The worker's next message is this answer: the NPC's heading, position, velocity and state."""
        said = await connection.read()
        self.assertEqual((said["msg"], said.get("token")), ("thought", token), said)
        self.assertEqual(said["world"], "171.5")
        batch = base64.b64decode(said["batch"]["$bytes"])
        return struct.unpack("<7f4xQ", batch)

    async def step(self, connection: Connection, msg: str, number: int) -> None:
        said = await connection.read()
        self.assertEqual((said["msg"], said.get("task")), (msg, f"171.{number}"), said)

    async def test_it_says_which_behaviours_it_has_and_nothing_else_of_them(self) -> None:
        source = "import warren\n" + "".join(
            f"@warren.behaviour('wolf{number}')\ndef f{number}(world, batch): pass\n"
            for number in range(65)
        )
        async with peer() as served, worker(source, "--url", served.url, waits=False):
            connection = await served.greet(frame_bytes_max=65_536)
            await connection.answer("login", session="7", token="a", object="1.1")
            names = [f"wolf{number}" for number in range(65)]
            for expected in (names[:64], names[64:]):
                work = await connection.answer("work")
                del work["id"]
                self.assertEqual(work, {"msg": "work", "behaviours": expected})

    async def test_what_is_asked_is_answered_also_before_the_answer_to_work(self) -> None:
        async with working(think(1)) as (_, connection, _):
            heading, *position, vx, vy, vz, state = await self.thought(connection, 1)
            # From (1, 2) towards (9, 0), two units in a second, for half a second.
            way = math.hypot(8, 2)
            self.assertAlmostEqual(heading, math.degrees(math.atan2(-2, 8)), places=4)
            for value, expected in zip(position, (1 + 8 / way, 2 - 2 / way, 0), strict=True):
                self.assertAlmostEqual(value, expected, places=5)
            for value, expected in zip((vx, vy, vz), (16 / way, -4 / way, 0), strict=True):
                self.assertAlmostEqual(value, expected, places=5)
            self.assertEqual(state, 7)

    async def test_npcs_wait_for_no_task_but_the_one_that_is_being_done(self) -> None:
        async with working(task(1, "wait"), task(2)) as (_, connection, running):
            await running.made("begun")
            connection.write(think(1), think(2))
            (running.folder / "go").touch()
            await self.step(connection, "begin", 1)
            await self.step(connection, "done", 1)
            await self.thought(connection, 1)
            await self.thought(connection, 2)
            await self.step(connection, "begin", 2)
            await self.step(connection, "done", 2)

    async def test_what_was_done_is_told_before_a_behaviour_that_ends_the_process(self) -> None:
        async with working(task(1, "wait"), task(2)) as (_, connection, running):
            await running.made("begun")
            connection.write(think(1, "exit"))
            (running.folder / "go").touch()
            await self.step(connection, "begin", 1)
            await self.step(connection, "done", 1)
            self.assertEqual(await connection.read(), {})
            self.assertEqual(await running.ended(), 9)

    async def test_after_sigterm_no_npcs_are_moved(self) -> None:
        async with working(think(1, "leave"), think(2)) as (_, connection, running):
            await self.thought(connection, 1)
            await connection.answer("work", think(3))
            self.assertEqual((await connection.read())["msg"], "quit")
            self.assertEqual(await running.ended(), 0)
            self.assertIn("stopped: thought 1", running.log)

    async def test_nothing_that_a_behaviour_does_ends_the_worker(self) -> None:
        async with working(think(1, "raise"), think(2, "fork"), think(3)) as (_, connection, running):
            stands = (90, 1, 2, 0, 0, 0, 0, 7)
            self.assertEqual(await self.thought(connection, 1), stands)
            self.assertEqual(await self.thought(connection, 2), (90, 1, 2, 0, 0.5, 0, 0, 7))
            await self.thought(connection, 3)
            connection.write({"msg": "thought", "status": 409, "error": "lease-lost"}, think(4))
            await self.thought(connection, 4)
            running.signal(signal.SIGTERM)
            work = await connection.answer("work", think(5))
            self.assertEqual((work["methods"], work["credits"]), ([], 0))
            self.assertEqual((await connection.read())["msg"], "quit")
            self.assertEqual(await running.ended(), 0)
            self.assertIn("stopped: lease-lost 1, think-failed 1, thought 3", running.log)
            self.assertIn("ValueError: no such spell", running.log)
