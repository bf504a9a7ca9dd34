"""What is in `examples` and `templates` does what it says, with a server and without."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import unittest
from collections.abc import AsyncIterator
from pathlib import Path

from server import BINARIES, PATIENCE, SHARDS, SOURCES, Server, following, server
from test_world import seen

from warren_client import WarrenError, connect

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"


def unittests(folder: Path) -> str:
    """Runs a project's own tests, as its README says."""
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-m", "unittest"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def new(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BINARIES / "warren"), "new", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


@contextlib.asynccontextmanager
async def serving(project: Path, workers: int = 1) -> AsyncIterator[Server]:
    """A server with a project's configuration, whose workers work."""
    config = (project / "warren.toml").read_text()
    # Each test has a data folder of its own.
    async with server(config.replace('data = "data"', ""), project=project) as running:
        await running.until("warren_task_workers", SHARDS * workers)
        yield running


class ExamplesTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_wolf_is_fought_to_its_death(self) -> None:
        folder = EXAMPLES / "combat-python"
        self.assertIn("Ran 4 tests", await asyncio.to_thread(unittests, folder))
        async with (
            serving(folder, workers=2) as running,
            connect(running.url, user="ann") as ann,
            connect(running.url, user="bob") as bob,
        ):
            for client in (ann, bob):
                await client.call("join", room="arena")
            came = following(bob, "changed")
            await ann.call("combat.spawn", room="arena")
            wolf = (await came)["object"]
            heard: list[tuple[str, object]] = []
            bob.on("emit", lambda emit: heard.append((emit["event"], emit.get("hp"))))
            death = following(bob, "emit", lambda emit: emit["event"] == "combat.death")
            for hp in (13, 6, 0):
                self.assertEqual((await ann.call("combat.attack", target=wolf))["hp"], hp)
            self.assertEqual((await death)["by"], "ann")
            hits = [("combat.hit", hp) for hp in (13, 6, 0)]
            self.assertEqual(heard, [*hits, ("combat.death", None)])
            with self.assertRaises(WarrenError) as caught:
                await ann.call("get", object=wolf)
            self.assertEqual(caught.exception.reason, "unknown-object")

    async def test_wolves_hunt_a_member(self) -> None:
        folder = EXAMPLES / "behaviour-python"
        self.assertIn("Ran 3 tests", await asyncio.to_thread(unittests, folder))
        async with (
            serving(folder) as running,
            connect(running.url, user="ann") as ann,
        ):
            npcs = ["hunt:20:5:0:0:50"]
            await ann.call("create", kind="world", room="forest", npcs=npcs)
            world = await ann.join_world("forest", x=5.0, y=5.0)

            def is_caught() -> bool:
                wolves = [each for each in world.entities.values() if each.id != world.own_id]
                return any((wolf.x, wolf.y) == (5, 5) for wolf in wolves)

            await seen(world, is_caught)

    async def test_a_module_of_the_connserver_waves(self) -> None:
        async with (
            serving(EXAMPLES / "connserver-module") as running,
            connect(running.url, user="ann") as ann,
        ):
            await ann.call("join", room="plaza")
            heard = following(ann, "emit")
            answer = await ann.call("wave", to="plaza")
            self.assertEqual((answer["status"], answer["to"]), (0, "plaza"))
            waved = await heard
            self.assertEqual((waved["event"], waved["user"]), ("waved", "ann"))

    async def test_what_new_makes_is_tested_and_works(self) -> None:
        with tempfile.TemporaryDirectory(prefix="warren-new-") as name:
            folder = Path(name) / "game"
            made = await asyncio.to_thread(new, "python", str(folder))
            self.assertEqual(made.returncode, 0, made.stderr)
            self.assertIn("game.py", made.stdout)
            self.assertIn("Ran 2 tests", await asyncio.to_thread(unittests, folder))
            # Nothing of what is there is written over.
            again = await asyncio.to_thread(new, "python", str(folder))
            self.assertEqual(again.returncode, 71)
            self.assertIn("it is not empty", again.stderr)
            async with (
                serving(folder) as running,
                connect(running.url, user="ann") as ann,
            ):
                await ann.call("join", room="arena")
                heard = following(ann, "emit")
                wolf = (await ann.call("create", kind="wolf", hp=20))["object"]
                self.assertEqual(wolf, "12626.2", "as the README says")
                answer = await ann.call("combat.attack", target=wolf, room="arena")
                self.assertEqual(answer["hp"], 13)
                self.assertEqual((await heard)["event"], "combat.hit")
