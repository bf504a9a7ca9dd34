"""Workers in Python against the real server: each thing that a method may do has an outcome."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

from server import SOURCES, following, server
from workers import OPEN, worker

from warren_client import Client, WarrenError, connect

COMBAT = """
    import warren

    @warren.method("combat.attack", priority=2)
    def attack(ctx, msg):
        target = ctx.read(msg["target"])
        hp = target["hp"] - 7
        ctx.set(target, hp=hp)
        ctx.room(msg["room"]).send("combat.hit", target=target.id, hp=hp, user=ctx.user)
        return {"hp": hp}
"""

WOLVES = """
    import warren

    @warren.behaviour("wolf")
    def wolves(world, batch):
        pass
"""

# What methods do that they should not; `hit` says that the worker goes on.
BAD = """
    import os, signal, sys
    import warren

    once = dict(attempts_max=1)

    @warren.method("raise", **once)
    def fails(ctx, msg):
        ctx.set(msg["target"], hp=0)
        raise ValueError("no such spell \\x07")

    @warren.method("refuse")
    def refuse(ctx, msg):
        raise warren.Fail("too far away", retry=False)

    @warren.method("exit", **once)
    def leave(ctx, msg):
        sys.exit(3)

    @warren.method("loop", limit_ms=400, **once)
    def loop(ctx, msg):
        while True:
            try:
                while True:
                    pass
            except Exception:
                pass

    @warren.method("huge-reply")
    def huge_reply(ctx, msg):
        ctx.set(msg["target"], hp=0)
        return {"text": "x" * 70_000}

    @warren.method("huge-effect")
    def huge_effect(ctx, msg):
        ctx.set(msg["target"], text="x" * 70_000)

    @warren.method("many-effects")
    def many_effects(ctx, msg):
        ctx.set(msg["target"], hp=0)
        for number in range(5):
            ctx.create("fang", text="x" * 60_000)

    @warren.method("elsewhere")
    def elsewhere(ctx, msg):
        ctx.set(msg["target"], hp=0)
        ctx.set(msg["other"], hp=0)

    @warren.method("bad-name")
    def bad_name(ctx, msg):
        return {"no name": 1}

    @warren.method("nested")
    def nested(ctx, msg):
        return {"list": {"a": 1}}

    @warren.method("status")
    def status(ctx, msg):
        return {"status": 7}

    @warren.method("token")
    def token(ctx, msg):
        return {"token": 7}

    @warren.method("no-dict", **once)
    def no_dict(ctx, msg):
        return 7

    @warren.method("missing")
    def missing(ctx, msg):
        ctx.read("171.99")

    @warren.method("fork")
    def fork(ctx, msg):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return {"hp": 7}

    @warren.method("hit")
    def hit(ctx, msg):
        return {"pid": os.getpid(), "attempt": ctx.attempt}
"""

# By method, what stands in the log; what becomes of the task is that nobody tries it again.
OUTCOMES = {
    "raise": "ValueError: no such spell",
    "refuse": "too far away",
    "exit": "SystemExit: 3",
    "loop": "took longer than limit_ms (400)",
    "huge-reply": "frame-too-large (protocol.frame_bytes_max)",
    "huge-effect": "frame-too-large (protocol.frame_bytes_max)",
    "many-effects": "refused: effects-too-large",
    "elsewhere": "refused: other-partition",
    "bad-name": "bad-name",
    "nested": "field-invalid",
    "status": "refused: reserved-field",
    "token": "reserved-field",
    "no-dict": "TypeError: a method returns a dict or None, not int",
    "missing": "unknown-object",
}


async def wolf(client: Client, hp: int = 20) -> str:
    return (await client.call("create", kind="wolf", partition=171, hp=hp))["object"]


async def check(folder: Path, *arguments: str) -> tuple[int | None, str]:
    """The exit status of a self-check, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "warren.worker", "--check", *arguments),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    return process.returncode, told.decode()


class WorkerTest(unittest.IsolatedAsyncioTestCase):
    async def refused(self, client: Client, method: str, **fields: str) -> str:
        with self.assertRaises(WarrenError) as caught:
            await client.call(method, **fields)
        return caught.exception.reason

    async def test_a_method_reads_changes_tells_and_answers(self) -> None:
        async with (
            server(OPEN) as running,
            worker(COMBAT, of=running) as working,
            connect(running.url, user="ann") as ann,
        ):
            await ann.call("join", room="arena")
            target = await wolf(ann)
            for hp in (13, 6):
                heard = following(ann, "emit")
                answer = await ann.call("combat.attack", target=target, room="arena")
                self.assertEqual(answer["hp"], hp)
                emitted = await heard
                self.assertEqual((emitted["event"], emitted["hp"]), ("combat.hit", hp))
                self.assertEqual((emitted["target"], emitted["user"]), (target, "ann"))
            self.assertEqual((await ann.call("get", object=target))["version"], 3)
            self.assertEqual(await working.stop(), 0)
            self.assertIn("stopped: done 2", working.log)

    async def test_whatever_a_method_does_the_worker_goes_on(self) -> None:
        async with (
            server(OPEN) as running,
            worker(BAD, of=running) as working,
            connect(running.url, user="ann") as ann,
        ):
            target = await wolf(ann)
            other = (await ann.call("create", kind="wolf", partition=172))["object"]
            pid = (await ann.call("hit"))["pid"]
            for method, told in OUTCOMES.items():
                with self.subTest(method):
                    reason = await self.refused(ann, method, target=target, other=other)
                    self.assertEqual(reason, "task-failed")
                    await working.logged(told)
            self.assertEqual((await ann.call("fork"))["hp"], 7)
            self.assertEqual((await ann.call("hit"))["pid"], pid)
            # Nothing of what failed has happened.
            state = dict(await ann.call("get", object=target))
            self.assertEqual((state["hp"], state["version"]), (20, 1))
            await running.until("warren_tasks_dead", len(OUTCOMES))
            self.assertEqual(await working.stop(), 0)
            self.assertNotIn("lease-lost", working.log)

    async def test_a_process_that_ends_costs_the_attempt_and_no_other_task(self) -> None:
        source = """
            import os, warren

            @warren.method("crash")
            def crash(ctx, msg):
                if ctx.attempt == 1:
                    os._exit(9)
                return {"attempt": ctx.attempt}

            @warren.method("hit")
            def hit(ctx, msg):
                return {"attempt": ctx.attempt}
        """
        async with server(OPEN) as running, connect(running.url, user="ann") as ann:
            async with worker(source, of=running) as first:
                crash = asyncio.create_task(ann.call("crash", target="171.1"))
                self.assertEqual(await first.ended(), 9)
            hit = asyncio.create_task(ann.call("hit", target="172.1"))
            async with worker(source, of=running):
                self.assertEqual((await crash)["attempt"], 2)
                self.assertEqual((await hit)["attempt"], 1)

    async def test_a_child_that_stays_does_not_keep_the_tasks_of_its_parent(self) -> None:
        source = """
            import os, time, warren

            @warren.method("fork")
            def fork(ctx, msg):
                if ctx.attempt == 1:
                    if os.fork():
                        os._exit(9)
                    while not os.path.exists(msg["go"]):
                        time.sleep(0.01)
                return {"attempt": ctx.attempt}
        """
        async with server(OPEN) as running, connect(running.url, user="ann") as ann:
            with tempfile.TemporaryDirectory() as folder:
                go = Path(folder) / "go"
                try:
                    async with worker(source, of=running) as first:
                        call = asyncio.create_task(ann.call("fork", target="171.1", go=str(go)))
                        await running.until("warren_task_leases_lost_total", 1)
                        async with worker(source, of=running):
                            self.assertEqual((await call)["attempt"], 2)
                        go.touch()
                        self.assertEqual(await first.ended(), 9)
                finally:
                    go.touch()

    async def test_what_a_method_says_after_its_time_changes_nothing(self) -> None:
        source = """
            import os, signal, time, warren

            @warren.method("slow", limit_ms=300)
            def slow(ctx, msg):
                target = ctx.read(msg["target"])
                ctx.set(target, hp=target["hp"] - 1)
                if ctx.attempt == 1:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    while not os.path.exists("go"):
                        time.sleep(0.01)
                return {"attempt": ctx.attempt}
        """
        async with (
            server(OPEN) as running,
            worker(source, of=running) as working,
            connect(running.url, user="ann") as ann,
        ):
            target = await wolf(ann)
            call = asyncio.create_task(ann.call("slow", target=target))
            await running.until("warren_task_leases_lost_total", 1)
            (working.folder / "go").touch()
            self.assertEqual((await call)["attempt"], 2)
            await working.logged("lease-lost")
            self.assertEqual(dict(await ann.call("get", object=target))["hp"], 19)

    async def test_a_method_that_extends_may_take_longer(self) -> None:
        source = """
            import time, warren

            @warren.method("slow", limit_ms=1000, attempts_max=1)
            def slow(ctx, msg):
                until = time.monotonic() + 1.5
                while time.monotonic() < until:
                    ctx.extend()
                    time.sleep(0.05)
        """
        async with (
            server(OPEN) as running,
            worker(source, of=running) as working,
            connect(running.url, user="ann") as ann,
        ):
            await ann.call("slow", target="171.1")
            self.assertEqual(await working.stop(), 0)
            self.assertIn("stopped: done 1", working.log)

    async def test_a_change_that_came_between_is_not_lost(self) -> None:
        source = """
            import os, time, warren

            @warren.method("heal")
            def heal(ctx, msg):
                target, friend = ctx.read(msg["target"]), ctx.read(msg["friend"])
                open("read", "w").close()
                while not os.path.exists("go"):
                    time.sleep(0.01)
                ctx.set(target, hp=target["hp"] + friend["hp"])
                ctx.set(target, healed=True)
                return {"hp": target["hp"]}
        """
        async with (
            server(OPEN) as running,
            worker(source, of=running) as working,
            connect(running.url, user="ann") as ann,
        ):
            target, friend = await wolf(ann, 1), await wolf(ann, 10)
            call = asyncio.create_task(ann.call("heal", target=target, friend=friend))

            await working.made("read")
            await ann.call("set", object=target, hp=5)
            (working.folder / "go").touch()
            self.assertEqual((await call)["hp"], 15)
            await working.logged("version-conflict")
            state = dict(await ann.call("get", object=target))
            self.assertEqual((state["hp"], state["version"]), (15, 3))
            self.assertEqual(state["healed"], True)

    async def test_sigterm_ends_what_was_begun_and_gives_back_the_rest(self) -> None:
        source = """
            import os, time, warren

            @warren.method("slow")
            def slow(ctx, msg):
                open("begun", "w").close()
                while not os.path.exists("go"):
                    time.sleep(0.01)
                return {"attempt": ctx.attempt, "pid": os.getpid()}
        """
        async with server(OPEN) as running, connect(running.url, user="ann") as ann:
            async with worker(source, of=running) as first:
                calls = [
                    asyncio.create_task(ann.call("slow", target=f"171.{number}"))
                    for number in range(3)
                ]
                await running.until("warren_tasks_leased", 3)
                await first.made("begun")
                first.signal(signal.SIGTERM)
                (first.folder / "go").touch()
                self.assertEqual(await first.ended(), 0)
                self.assertIn("stopped: done 1, released 2", first.log)
            async with worker(source, of=running) as second:
                (second.folder / "go").touch()
                answers = await asyncio.gather(*calls)
            self.assertEqual([answer["attempt"] for answer in answers], [1, 1, 1])
            self.assertEqual(len({answer["pid"] for answer in answers}), 2)

    async def test_sigterm_may_come_again_and_a_second_sigint_ends_it_at_once(self) -> None:
        source = """
            import os, signal, warren

            @warren.method("slow")
            def slow(ctx, msg):
                for _ in range(2):
                    os.kill(os.getpid(), getattr(signal, msg["signal"]))
        """
        async with server(OPEN) as running, connect(running.url, user="ann") as ann:
            async with worker(source, of=running) as first:
                await ann.call("slow", signal="SIGTERM")
                self.assertEqual(await first.ended(), 0)
                self.assertIn("stopped: done 1", first.log)
            async with worker(source, of=running) as second:
                call = asyncio.create_task(ann.call("slow", signal="SIGINT"))
                self.assertEqual(await second.ended(), -signal.SIGINT)
                call.cancel()

    async def test_it_works_again_when_the_server_is_there_again(self) -> None:
        async with server(OPEN) as first, worker(BAD, of=first) as working:
            await first.stop()
            await working.logged("no connection")
            async with server(OPEN, first.game) as second:
                await working.logged("working for")
                async with connect(second.url, user="ann") as ann:
                    self.assertEqual((await ann.call("hit"))["attempt"], 1)
            await working.logged("no connection")
            # Also while there is no server.
            self.assertEqual(await working.stop(), 0)

    async def test_a_refusal_that_stays_ends_it(self) -> None:
        async with server() as running, worker(BAD, of=running, waits=False) as working:
            self.assertEqual(await working.ended(), 77)
            self.assertIn("from who has not the role worker: forbidden", working.log)
        async with server(OPEN) as running:
            async with worker(BAD, "--user", "smith", of=running) as first:
                async with worker(BAD, "--user", "smith", of=running) as second:
                    self.assertEqual(await first.ended(), 77)
                    self.assertIn("displaced", first.log)
                    self.assertEqual(await second.stop(), 0)
            built_in = BAD.replace('"hit"', '"chat"')
            async with worker(built_in, of=running, waits=False) as working:
                self.assertEqual(await working.ended(), 77)
                self.assertRegex(working.log, "refuses the work of .*chat.*: field-invalid")

    async def test_a_module_that_does_not_load_is_told_before_it_gets_a_task(self) -> None:
        for source, told in {
            "import nowhere": "No module named 'nowhere'",
            "x = 1": "there is no @warren.method in it",
            "raise SystemExit(0)": "SystemExit",
            COMBAT + COMBAT.replace("def attack", "def other"): "two methods combat.attack",
            WOLVES + WOLVES.replace("def wolves", "def other"): "two behaviours wolf",
            WOLVES.replace("wolf", "wolf:1"): "bad-name",
            WOLVES.replace("wolf", "seek"): "seek is a behaviour of the server's own",
            WOLVES.replace("world, batch", "batch"): "wolf: a behaviour is called with (world, batch)",
            COMBAT.replace("ctx, msg", ""): "a method is called with (ctx, msg)",
            COMBAT + "\n    def self_check():\n        assert False, 'no map'": "no map",
            COMBAT + "\n    __version__ = 'seven of nine'": "is no version",
            COMBAT.replace("priority=2", "priority=8"): "priority is 0 to 7, not 8",
            COMBAT.replace("combat.attack", "combat attack"): "bad-name",
            COMBAT.replace("def attack", "async def attack"): "plain function",
        }.items():
            with self.subTest(told):
                async with worker(source, "--check", waits=False) as working:
                    self.assertEqual(await working.ended(), 65)
                    self.assertIn(told, working.log)
        async with worker(COMBAT, "--check", waits=False) as working:
            self.assertEqual(await working.ended(), 0)
            (working.folder / "other.py").write_text(textwrap.dedent(COMBAT))
            for arguments, told in {
                ("game.py", "other.py"): "combat.attack is in game and in other",
                ("game", "other"): "combat.attack is in game and in other",
                ("nowhere.py",): "there is no file nowhere.py",
            }.items():
                with self.subTest(arguments):
                    code, log = await check(working.folder, *arguments)
                    self.assertEqual(code, 65)
                    self.assertIn(told, log)
            (working.folder / "game.py").write_text(f"__version__ = '7'{textwrap.dedent(COMBAT + WOLVES)}")
            code, told = await check(working.folder, "game")
            self.assertEqual(code, 0)
            self.assertEqual(told, "combat.attack game@7 priority=2\nwolf game@7 behaviour\n")
            (working.folder / "other.py").write_text(textwrap.dedent(WOLVES))
            code, log = await check(working.folder, "game.py", "other.py")
            self.assertEqual(code, 65)
            self.assertIn("wolf is in game and in other", log)
