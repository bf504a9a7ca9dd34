"""A worker against a server that says what the real one says rarely."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import unittest
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from peer import Connection, Peer, peer
from workers import Worker, worker

SOURCE = """
    import time, warren

    @warren.method("nap")
    def nap(ctx, msg):
        time.sleep(2.1)

    @warren.method("hit", priority=1)
    def hit(ctx, msg):
        if "strength" in msg:
            ctx.set(msg["target"], hp=-msg["strength"])
        return {"attempt": ctx.attempt}

    @warren.method("ask", ordered=True, limit_ms=700)
    def ask(ctx, msg):
        return {"hp": ctx.read(msg["of"])["hp"]}
"""


def task(number: int, method: str = "hit", **fields: Any) -> dict[str, Any]:
    told = {"task": f"171.{number}", "token": 1000 + number, "method": method, "user": "ann"}
    return {"msg": "task", **told, "attempt": 1, "limit_ms": 30_000, **fields}


@contextlib.asynccontextmanager
async def working(*before: dict[str, Any]) -> AsyncIterator[tuple[Peer, Connection, Worker]]:
    """A worker that has logged in; it hears these messages before it hears that it works."""
    async with peer() as served, worker(SOURCE, "--url", served.url, waits=False) as running:
        yield served, await let_work(served, *before), running


async def let_work(served: Peer, *before: dict[str, Any]) -> Connection:
    connection = await served.greet(frame_bytes_max=4096)
    await connection.answer("login", session="7", token="a", object="1.1")
    for _ in range(2):
        await connection.answer("work")
    work = await connection.read()
    assert work["msg"] == "work", work
    connection.write(*before, {"msg": "work", "id": work["id"], "status": 0})
    return connection


class WorkerSessionTest(unittest.IsolatedAsyncioTestCase):
    async def step(self, connection: Connection, msg: str, number: int) -> dict[str, Any]:
        """The worker's next step is this one, of this task."""
        said = await connection.read()
        self.assertEqual((said["msg"], said["task"]), (msg, f"171.{number}"), said)
        self.assertEqual(said["token"], 1000 + number)
        return said

    async def test_it_says_what_it_does_and_how_its_tasks_are_treated(self) -> None:
        async with peer() as served:
            options = ("--credits", "3", "--user", "smith", "--url", served.url)
            async with worker(SOURCE, *options, waits=False):
                connection = await served.greet(frame_bytes_max=4096)
                login = await connection.answer("login", session="7", token="a", object="1.1")
                self.assertEqual((login["user"], "ticket" in login), ("smith", False))
                nap, hit, ask = [await connection.answer("work") for _ in range(3)]
                self.assertEqual(nap["methods"], ["nap"])
                name, _, digits = hit.pop("plugin").partition("@")
                self.assertEqual((name, len(digits)), ("game", 12))
                self.assertEqual(ask.pop("plugin"), f"game@{digits}")
                del hit["id"], ask["id"]
                methods = {"methods": ["hit"], "credits": 3, "priority": 1}
                self.assertEqual(hit, {"msg": "work", **methods})
                methods = {"methods": ["ask"], "credits": 3, "ordered": True, "limit_ms": 700}
                self.assertEqual(ask, {"msg": "work", **methods})

    async def test_a_task_that_comes_before_the_answer_to_work_is_done_at_once(self) -> None:
        async with working(task(1), task(2)) as (_, connection, _):
            for number in (1, 2):
                await self.step(connection, "begin", number)
                done = await self.step(connection, "done", number)
                self.assertEqual(done["attempt"], 1)

    async def test_an_end_that_the_server_has_no_room_for_gives_the_task_back(self) -> None:
        async with working(task(1)) as (_, connection, _):
            await self.step(connection, "begin", 1)
            done = await self.step(connection, "done", 1)
            for reason, status in (("busy", 503), ("message-rate", 429)):
                refusal = {"status": status, "error": reason}
                connection.write({"msg": done["msg"], "id": done["id"], **refusal})
                done = await self.step(connection, "release", 1)
                self.assertEqual(done["delay_ms"], 1000)
            connection.write({"msg": "release", "id": done["id"], "status": 0}, task(2))
            await self.step(connection, "begin", 2)

    async def test_a_task_whose_effects_have_no_room_has_failed_and_is_tried_again(self) -> None:
        for reason, status in (("partition-full", 507), ("queue-full", 503)):
            async with working(task(1)) as (_, connection, _):
                await self.step(connection, "begin", 1)
                done = await self.step(connection, "done", 1)
                refusal = {"status": status, "error": reason}
                connection.write({"msg": done["msg"], "id": done["id"], **refusal})
                fail = await self.step(connection, "fail", 1)
                self.assertEqual(fail["error_text"], f"refused: {reason}")
                self.assertIs(fail["retry"], True)
                connection.write({"msg": "fail", "id": fail["id"], "status": 0}, task(2))
                await self.step(connection, "begin", 2)

    async def test_what_was_refused_before_the_end_is_why_the_task_fails(self) -> None:
        async with working(task(1, target="171.9", strength=3)) as (_, connection, _):
            await self.step(connection, "begin", 1)
            effect = await self.step(connection, "effect", 1)
            self.assertEqual((effect["do"], effect["object"], effect["hp"]), ("set", "171.9", -3))
            done = await self.step(connection, "done", 1)
            self.assertEqual(done["effects"], 1)
            connection.write(
                {"msg": "effect", "id": effect["id"], "status": 413, "error": "object-too-large"},
                {"msg": "done", "id": done["id"], "status": 409, "error": "effects-missing"},
            )
            fail = await self.step(connection, "fail", 1)
            self.assertEqual(fail["error_text"], "refused: object-too-large")
            self.assertIs(fail["retry"], False)

    async def test_other_objects_are_asked_for_and_tasks_that_come_meanwhile_wait(self) -> None:
        async with working(task(1, "ask", of="171.5")) as (_, connection, _):
            await self.step(connection, "begin", 1)
            state = {"kind": "wolf", "version": 3, "owner": "ann", "hp": 7}
            get = await connection.answer("get", task(2), **state)
            self.assertEqual(get["object"], "171.5")
            self.assertEqual((await self.step(connection, "done", 1))["hp"], 7)
            await self.step(connection, "begin", 2)
            await self.step(connection, "done", 2)

    async def test_tasks_that_were_told_of_before_the_end_are_not_done_after_it(self) -> None:
        async with working(task(1, "ask", of="171.5")) as (served, connection, running):
            await self.step(connection, "begin", 1)
            get = await connection.read()
            self.assertEqual(get["msg"], "get")
            connection.write(task(2), {"msg": "closed", "status": 503, "error": "draining"})
            connection.cut()
            await running.logged("no connection (draining)")
            second = await let_work(served, task(3))
            await self.step(second, "begin", 3)

    async def test_why_the_server_has_closed_is_heard_also_when_a_method_was_at_work(self) -> None:
        async with working(task(1, "nap"), task(2), task(3)) as (_, connection, running):
            await self.step(connection, "begin", 1)
            connection.write({"msg": "closed", "status": 410, "error": "banned"})
            await connection.end()
            self.assertEqual(await running.ended(), 77)
            self.assertIn("banned", running.log)

    async def test_it_comes_back_unless_the_server_says_that_it_shall_not(self) -> None:
        async with working() as (served, connection, running):
            connection.cut()
            await running.logged("no connection (peer-closed)")
            again = await let_work(served)
            again.write({"msg": "closed", "status": 410, "error": "kicked"})
            self.assertEqual(await running.ended(), 77)
            self.assertIn("kicked", running.log)

    async def test_a_ticket_of_a_file_is_read_at_each_login(self) -> None:
        with tempfile.TemporaryDirectory(prefix="warren-ticket-") as folder:
            file = Path(folder, "ticket")
            file.write_text("one\n")
            # As `warren worker --ticket-file` starts it.
            async with (
                peer() as served,
                worker(
                    SOURCE,
                    *("--url", served.url),
                    waits=False,
                    WARREN_TICKET_FILE=str(file),
                    WARREN_TICKET="one",
                ),
            ):
                connection = await served.greet(frame_bytes_max=4096)
                login = await connection.read()
                self.assertEqual(login.get("ticket"), "one", login)
                file.write_text("two\n")
                refusal = {"status": 401, "error": "ticket-expired"}
                connection.write({"msg": "login", "id": login["id"]} | refusal)
                connection = await served.greet(frame_bytes_max=4096)
                self.assertEqual((await connection.answer("login"))["ticket"], "two")

    async def test_what_waited_too_long_is_extended_or_given_back(self) -> None:
        over, past_the_middle = task(2, limit_ms=0), task(3, limit_ms=4000)
        async with working(task(1, "nap"), over, past_the_middle) as (_, connection, running):
            await self.step(connection, "begin", 1)
            await self.step(connection, "done", 1)
            await self.step(connection, "release", 2)
            await self.step(connection, "begin", 3)
            await self.step(connection, "extend", 3)
            await self.step(connection, "done", 3)

    async def test_sigterm_gives_back_what_was_heard_of_and_not_begun(self) -> None:
        async with working(task(1, "ask", of="171.5")) as (_, connection, running):
            await self.step(connection, "begin", 1)
            get = await connection.read()
            running.signal(signal.SIGTERM)
            state = {"kind": "wolf", "version": 3, "owner": "ann", "hp": 7}
            answer = {"msg": "get", "id": get["id"], "status": 0}
            connection.write(task(2), task(3), answer | state)
            done = await self.step(connection, "done", 1)
            await connection.answer("work")
            for said in (done, *[await self.step(connection, "release", n) for n in (2, 3)]):
                connection.write({"msg": said["msg"], "id": said["id"], "status": 0})
            self.assertEqual((await connection.read())["msg"], "quit")
            self.assertEqual(await running.ended(), 0)

    async def test_sigterm_waits_for_the_answers(self) -> None:
        async with working(task(1)) as (_, connection, running):
            await self.step(connection, "begin", 1)
            done = await self.step(connection, "done", 1)
            stopped = asyncio.create_task(running.stop())
            work = await connection.answer("work")
            self.assertEqual((work["methods"], work["credits"]), ([], 0))
            # It had been on its way.
            connection.write(task(2))
            release = await self.step(connection, "release", 2)
            for said in (done, release):
                connection.write({"msg": said["msg"], "id": said["id"], "status": 0})
            self.assertEqual((await connection.read())["msg"], "quit")
            self.assertEqual(await stopped, 0)
            self.assertIn("done 1, released 1", running.log)
