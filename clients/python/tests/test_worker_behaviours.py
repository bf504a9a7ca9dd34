"""Behaviours of workers in Python against the real server: NPCs go where they say."""

from __future__ import annotations

import functools
import math
import tempfile
import textwrap
import unittest
from collections.abc import Callable, Sequence
from pathlib import Path

from server import SHARDS, server
from test_world import seen
from workers import OPEN, worker

from warren_client import Client, Entity, World, connect

WOLVES = """
    import warren

    @warren.behaviour("wolf")
    def wolves(world, batch):
        for at in range(len(batch)):
            batch.go_to(at, batch.nearest_member(at) or batch.home)
"""

# All of them go to one line, and stay there.
LINE = """
    import warren

    @warren.behaviour("line")
    def line(world, batch):
        for at in range(len(batch)):
            batch.positions[3 * at] = {x}
            batch.headings[at] = batch.states[at] % 360
            batch.velocities[3 * at + 1] = 0.5
"""


# They are put there once, by their states.
ONCE = """
    import warren

    @warren.behaviour("line")
    def line(world, batch):
        for at in range(len(batch)):
            if batch.states[at] != 1:
                batch.positions[3 * at] = 7
                batch.states[at] = 1
"""


async def forest(client: Client, npcs: Sequence[str]) -> World:
    """A world with these, that the client is in."""
    await client.call("create", kind="world", room="forest", npcs=list(npcs))
    return await client.join_world("forest", x=20.0, y=10.0)


def others(world: World) -> list[Entity]:
    return [entity for entity in world.entities.values() if entity.id != world.own_id]


async def all_are(world: World, count: int, condition: Callable[[Entity], bool]) -> None:
    """Waits until so many others are seen, and fulfil the condition."""

    def are() -> bool:
        return len(others(world)) == count and all(map(condition, others(world)))

    await seen(world, are)


def is_at(x: float, entity: Entity) -> bool:
    return entity.x == x


class WorkerBehavioursTest(unittest.IsolatedAsyncioTestCase):
    async def test_wolves_go_to_the_member_wherever_it_is(self) -> None:
        async with (
            server(OPEN) as running,
            worker(WOLVES, of=running) as working,
            connect(running.url, user="ann") as ann,
        ):
            world = await forest(ann, ["wolf:3:300:0:0:40"])

            await all_are(world, 3, lambda wolf: (wolf.x, wolf.y) == (20, 10))
            self.assertTrue(all((wolf.vx, wolf.vy) == (0, 0) for wolf in others(world)))
            asked = await ann.call("who", room="forest", entity=others(world)[0].id)
            self.assertEqual(dict(asked)["behaviour"], "wolf")
            world.move(-5.0, 10.0)
            await all_are(world, 3, lambda wolf: (wolf.x, wolf.y) == (-5, 10))
            # They have come from the east, and look west.
            self.assertEqual({wolf.heading for wolf in others(world)}, {180.0})
            await running.until("warren_npc_thinks_asked_total", 2)
            self.assertEqual(await working.stop(), 0)
            self.assertNotIn("think-failed", working.log)

    async def test_birds_go_up_to_a_member(self) -> None:
        async with (
            server(OPEN) as running,
            worker(WOLVES, of=running),
            connect(running.url, user="ann") as ann,
        ):
            npcs = ["wolf:3:300:0:0:30:20"]
            await ann.call("create", kind="world", room="sky", dims=3, npcs=npcs)
            world = await ann.join_world("sky", x=5.0, y=5.0, z=50.0)
            await all_are(world, 3, lambda bird: (bird.x, bird.y, bird.z) == (5, 5, 50))

    async def test_all_of_a_pack_that_one_call_is_too_small_for_are_moved(self) -> None:
        async with (
            server(OPEN) as running,
            worker(LINE.format(x=7), of=running),
            connect(running.url, user="ann") as ann,
        ):
            world = await forest(ann, ["line:1100:1:0:0:20", "line:3:1:0:0:20"])
            await all_are(world, 1103, lambda each: (each.x, each.vy) == (7, 0.5))
            # Each by its own state.
            self.assertGreater(len({each.heading for each in others(world)}), 100)

    async def test_the_next_worker_moves_those_of_one_that_is_gone(self) -> None:
        async with (
            server(OPEN) as running,
            connect(running.url, user="ann") as ann,
        ):
            async with worker(LINE.format(x=7), of=running) as first:
                world = await forest(ann, ["line:5:1:0:0:20"])
                await all_are(world, 5, lambda each: each.x == 7)
                self.assertEqual(await first.stop(), 0)
            # Nobody moves them, and they stand.
            await all_are(world, 5, lambda each: (each.x, each.vy) == (7, 0))
            async with worker(LINE.format(x=-7), of=running):
                await all_are(world, 5, lambda each: each.x == -7)

    async def test_those_of_a_worker_that_says_nothing_are_moved_by_another(self) -> None:
        stuck = """
            import os, signal, time, warren

            @warren.behaviour("line")
            def line(world, batch):
                # As code of a library that does not return to Python.
                signal.setitimer(signal.ITIMER_REAL, 0)
                while not os.path.exists("go"):
                    time.sleep(0.01)
                batch.positions[0] = -3
        """
        async with (
            server(OPEN) as running,
            connect(running.url, user="ann") as ann,
            worker(stuck, of=running) as first,
        ):
            world = await forest(ann, ["line:5:1:0:0:5"])
            await running.until("warren_npc_thinks_lost_total", 1)
            async with worker(ONCE, of=running, waits=False) as second:
                await all_are(world, 5, lambda each: each.x == 7)
                # What the first says at last changes nothing, and the second writes it no more.
                (first.folder / "go").touch()
                await first.logged("line: answered too late")
                self.assertEqual(await first.stop(), 0)
                asked = await running.metric("warren_npc_thinks_asked_total")
                await running.until("warren_npc_thinks_asked_total", int(asked) + 2)
                self.assertEqual({each.x for each in others(world)}, {7})
                self.assertEqual(await second.stop(), 0)

    async def test_a_behaviour_that_fails_moves_nobody_and_the_worker_goes_on(self) -> None:
        source = """
            import math, warren

            @warren.behaviour("bad")
            def bad(world, batch):
                batch.positions[0] = 9
                raise ValueError("no such spell")

            @warren.behaviour("nowhere")
            def nowhere(world, batch):
                batch.positions[0] = math.nan

            @warren.behaviour("good")
            def good(world, batch):
                batch.positions[0] = 9

            @warren.method("hit")
            def hit(ctx, msg):
                return {"hp": 7}
        """
        async with (
            server(OPEN) as running,
            worker(source, of=running) as working,
            connect(running.url, user="ann") as ann,
        ):
            npcs = [f"{name}:1:1:0:0:1" for name in ("bad", "nowhere", "good")]
            world = await forest(ann, npcs)
            await working.logged("bad: failed")
            await working.logged("nowhere: 1 of its NPCs were where nobody can be")
            await running.until("warren_npc_moves_invalid_total", 1)
            await running.until("warren_npc_thinks_failed_total", 1)
            await seen(world, lambda: any(each.x == 9 for each in others(world)))
            self.assertEqual((await ann.call("hit"))["hp"], 7)
            near = [math.hypot(each.x, each.y) for each in others(world) if each.x != 9]
            self.assertEqual(len(near), 2)
            self.assertLessEqual(max(near), 1.001)

    async def test_a_name_is_known_while_a_worker_has_it(self) -> None:
        async with server(OPEN) as running, connect(running.url, user="ann") as ann:
            with self.assertRaisesRegex(Exception, "unknown-behaviour"):
                await forest(ann, ["wolf:1:1:0:0:1"])
            async with worker(WOLVES, of=running):
                world = await forest(ann, ["wolf:1:300:0:0:1"])
                await all_are(world, 1, lambda wolf: wolf.x == 20)

    async def test_one_that_loops_costs_the_others_of_its_worker_little(self) -> None:
        source = """
            import warren

            @warren.behaviour("loop")
            def loop(world, batch):
                while True:
                    pass

            @warren.behaviour("count")
            def count(world, batch):
                batch.positions[0] = 1 + batch.tick % 16

            @warren.method("hit")
            def hit(ctx, msg):
                pass
        """
        async with (
            server(OPEN) as running,
            worker(source, of=running) as working,
            connect(running.url, user="ann") as ann,
        ):
            world = await forest(ann, ["loop:1:1:0:0:1", "count:1:1:0:0:1"])
            await working.logged("loop: took too long: its NPCs stand, and it is not called for 1 s")
            await working.logged("loop: took too long: its NPCs stand, and it is not called for 2 s")
            # Until it is called again.
            places: set[float] = set()

            def goes() -> bool:
                places.update(each.x for each in others(world) if each.x >= 1 and each.x % 1 == 0)
                return len(places) >= 8

            await seen(world, goes)
            for _ in range(20):
                await ann.call("hit")
            self.assertEqual(await working.stop(), 0)

    async def test_npcs_change_to_a_new_version_without_a_stop(self) -> None:
        with tempfile.TemporaryDirectory(prefix="warren-npcs-") as name:
            folder = Path(name)
            (folder / "token").write_text("t" * 32)
            (folder / "token").chmod(0o600)
            file = folder / "npcs.py"
            file.write_text(textwrap.dedent(LINE.format(x=7)))
            config = f"[admin]\ntoken_file = '{folder / 'token'}'\n"
            config += f"[workers.npcs]\nfile = '{file}'\n"
            async with (
                server(config, project=folder) as running,
                connect(running.url, user="ann") as ann,
            ):
                await running.until("warren_task_workers", SHARDS)
                world = await forest(ann, ["line:5:1:0:0:20"])
                await all_are(world, 5, lambda each: each.x == 7)
                for x in (-7.0, 9.0):
                    file.write_text(textwrap.dedent(LINE.format(x=x)))
                    order = ("workers", "reload", "npcs")
                    told = await running.ctl("--token-file", folder / "token", *order)
                    self.assertEqual(told, "the workers npcs work anew\n")
                    await all_are(world, 5, functools.partial(is_at, x))
                for counter in ("updates_unmoved", "thinks_failed"):
                    self.assertEqual(await running.metric(f"warren_npc_{counter}_total"), 0)
