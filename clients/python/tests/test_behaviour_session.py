"""A worker with behaviours against a server that says what a test needs."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import select
import signal
import socket
import struct
import unittest
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

from peer import Connection, Peer, peer
from test_worker_session import task
from workers import Worker, worker

import warren.connection
from warren.behaviours import batch_bytes
from warren.session import Session
from warren.signals import Stop

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

    @warren.behaviour("nap")
    def naps(world, batch):
        open("napping", "w").close()
        time.sleep(0.6)

    @warren.method("nap")
    def long_nap(ctx, msg):
        time.sleep(1.2)

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
        assert work["behaviours"] == ["wolf", "fork", "leave", "exit", "raise", "nap"], work
        connection.write(*before, {"msg": "work", "id": work["id"], "status": 0})
        yield served, connection, running


class Scripted(warren.connection.Connection):
    """A connection on which messages come as a test says: when, and whether they were waited for."""

    def __init__(self, *script: tuple[float, bool, list[dict[str, Any]]]) -> None:
        self._script = list(script)
        self.now = 1000.0
        self.looks = 0
        self.sent: list[dict[str, Any]] = []

    def receive(self, timeout: float | None) -> list[bytes]:
        self.looks += 1
        if timeout == 0:
            return []
        if not self._script:
            raise warren.connection.Lost("end")
        seconds, self.has_waited, messages = self._script.pop(0)
        self.now += seconds
        return [json.dumps(message).encode() for message in messages]

    def send(self, data: bytes) -> None:
        self.sent += [json.loads(line) for line in data.splitlines()]


class WaitedTest(unittest.TestCase):
    def test_a_connection_tells_whether_it_has_waited(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            stop = Stop()
            url = "tcp://127.0.0.1:{}".format(listening.getsockname()[1])
            opened = warren.connection.Connection(url, stop.descriptor, 5.0)
            with contextlib.closing(opened), listening.accept()[0] as peer_socket:
                self.assertEqual((opened.receive(0.0), opened.has_waited), ([], True))
                peer_socket.sendall(b"one\ntwo\n")
                select.select([opened._socket], [], [], 5.0)
                self.assertEqual((opened.receive(5.0), opened.has_waited), ([b"one", b"two"], False))

    def serve(self, connection: Scripted, *methods: warren.Method) -> None:
        def stays(world: str, batch: warren.Batch) -> None:
            pass

        with mock.patch("time.monotonic", lambda: connection.now):
            session = Session(connection, methods, [warren.Behaviour("wolf", stays)], Stop())
            with self.assertRaises(warren.connection.Lost):
                session.serve()

    def test_what_was_there_before_it_was_looked_for_may_have_waited_all_the_time(self) -> None:
        for has_waited, failed in ((True, None), (False, True)):
            connection = Scripted((5.0, has_waited, [think(1)]))
            with self.assertLogs("warren.worker") if failed else contextlib.nullcontext():
                self.serve(connection)
            (said,) = connection.sent
            self.assertEqual(said.get("failed"), failed)

    def test_npcs_are_looked_for_between_tasks_but_not_between_any_two(self) -> None:
        for seconds, looks in ((0.0, 0), (0.0006, 50), (0.002, 100)):
            connection = Scripted((0.0, True, [task(number) for number in range(100)]))

            def takes(ctx: warren.Context, msg: warren.Message) -> None:
                connection.now += seconds

            self.serve(connection, warren.Method("hit", takes))
            self.assertEqual(connection.sent[-1]["task"], "171.99")
            # Those that waited are the first and the last.
            self.assertAlmostEqual(connection.looks - 2, looks, delta=1)


class BehaviourSessionTest(unittest.IsolatedAsyncioTestCase):
    async def thought(self, connection: Connection, token: int) -> tuple[float, ...]:
        """The worker's next message is this answer: the NPC's heading, position, velocity and state."""
        said = await self.told(connection, token)
        batch = base64.b64decode(said["batch"]["$bytes"])
        return struct.unpack("<7f4xQ", batch)

    async def told(self, connection: Connection, token: int) -> dict[str, Any]:
        """The worker's next message is an answer to this question."""
        said = await connection.read()
        self.assertEqual((said["msg"], said.get("token")), ("thought", token), said)
        self.assertEqual(said["world"], "171.5")
        return said

    async def fails(self, connection: Connection, token: int) -> None:
        said = await self.told(connection, token)
        self.assertEqual((said["failed"], "batch" in said), (True, False))

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
                name, _, digits = work.pop("plugin").partition("@")
                self.assertEqual((name, len(digits)), ("game", 12))
                self.assertEqual(work, {"msg": "work", "behaviours": expected})

    async def test_the_names_of_refused_work_are_told(self) -> None:
        async with peer() as served, worker(SOURCE, "--url", served.url, waits=False) as running:
            connection = await served.greet(frame_bytes_max=65_536)
            await connection.answer("login", session="7", token="a", object="1.1")
            await connection.answer("work")
            await connection.answer("work", status=400, error="field-invalid")
            self.assertEqual(await running.ended(), 77)
            self.assertIn("refuses the work of wolf, fork, leave, exit, raise, nap: field-", running.log)

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

    async def test_after_sigterm_npcs_go_on_until_it_leaves(self) -> None:
        async with working(task(1), think(1, "leave"), think(2)) as (_, connection, running):
            await self.thought(connection, 1)
            await self.thought(connection, 2)
            # What came before is given back first: others can do it.
            work = await connection.answer("work", think(3))
            self.assertEqual((work["methods"], work["credits"]), ([], 0))
            release = await connection.read()
            self.assertEqual((release["msg"], release["task"]), ("release", "171.1"))
            await self.thought(connection, 3)
            connection.write(think(4))
            await self.thought(connection, 4)
            connection.write({"msg": "release", "id": release["id"], "status": 0})
            self.assertEqual((await connection.read())["msg"], "quit")
            self.assertEqual(await running.ended(), 0)
            self.assertIn("stopped: released 1, thought 4", running.log)

    async def test_all_tasks_whose_time_is_over_are_given_back_before_npcs_are_moved(self) -> None:
        over = [task(number, limit_ms=0) for number in (2, 4)]
        before = (task(1, "wait"), over[0], task(3), over[1])
        async with working(*before) as (_, connection, running):
            await running.made("begun")
            connection.write(think(1))
            (running.folder / "go").touch()
            await self.step(connection, "begin", 1)
            await self.step(connection, "done", 1)
            await self.step(connection, "release", 2)
            await self.step(connection, "release", 4)
            await self.thought(connection, 1)
            await self.step(connection, "begin", 3)

    async def test_what_came_while_a_task_was_done_has_waited_as_long(self) -> None:
        async with working(task(1, "nap")) as (_, connection, running):
            await self.step(connection, "begin", 1)
            # It is on its way long before the method is done, and not read before.
            connection.write(think(1))
            await self.step(connection, "done", 1)
            await self.fails(connection, 1)
            # What comes while nothing is done has waited for nothing.
            connection.write(think(2, "nap"), think(3))
            await self.thought(connection, 2)
            await self.thought(connection, 3)
            await running.logged("wolf: waited here for too long")

    async def test_what_comes_while_npcs_are_moved_is_answered_behind_them(self) -> None:
        async with working(think(1, "nap")) as (_, connection, running):
            await running.made("napping")
            connection.write(think(2))
            await self.thought(connection, 1)
            await self.thought(connection, 2)

    async def test_what_has_no_room_is_said_again(self) -> None:
        async with working(think(1)) as (_, connection, running):
            first = await self.told(connection, 1)
            refusal = {"msg": "thought", "id": first["id"], "status": 503, "error": "busy"}
            connection.write(refusal)
            self.assertEqual(await connection.read(), first)
            connection.write({"msg": "thought", "id": first["id"], "status": 0}, think(2, "nap"))
            second = await self.told(connection, 2)
            # By now it counts no more.
            connection.write(task(1, "nap"))
            await self.step(connection, "begin", 1)
            connection.write(refusal | {"id": second["id"]})
            await self.step(connection, "done", 1)
            for _ in range(2):
                work = await connection.read()
                self.assertEqual((work["msg"], work["behaviours"][0]), ("work", "wolf"))
                self.assertEqual((work["plugin"][:5], "id" in work), ("game@", False))
                connection.write({"msg": "work", "status": 429, "error": "message-rate"})

    async def test_nothing_that_a_behaviour_does_ends_the_worker(self) -> None:
        async with working(think(1, "raise"), think(2, "fork"), think(3)) as (_, connection, running):
            await self.fails(connection, 1)
            self.assertEqual(await self.thought(connection, 2), (90, 1, 2, 0, 0.5, 0, 0, 7))
            last = await self.told(connection, 3)
            refusal = {"status": 409, "error": "lease-lost"}
            connection.write({"msg": "thought", "id": last["id"]} | refusal, think(4))
            await self.thought(connection, 4)
            running.signal(signal.SIGTERM)
            await connection.answer("work", think(5))
            await self.thought(connection, 5)
            self.assertEqual((await connection.read())["msg"], "quit")
            self.assertEqual(await running.ended(), 0)
            self.assertIn("stopped: lease-lost 1, think-failed 1, thought 4", running.log)
            self.assertIn("ValueError: no such spell", running.log)
            self.assertIn("wolf: answered too late", running.log)
