"""Behaviours without a server: how a batch lies in memory, what they may write, and what of them is told."""

from __future__ import annotations

import math
import struct
import types
import unittest
from array import array
from typing import Any

import warren
from warren.behaviours import BUILT_IN, Batch, batch_bytes, behaviours_of, told
from warren.methods import methods_of
from warren.testing import World
from warren_client import WarrenError

NUMBERS = [7, 65_534, 300]
SECONDS = [0.1, 0.25, 1.0]
HEADINGS = [0.0, 90.0, 180.0]
POSITIONS = [float(axis) for axis in range(9)]
VELOCITIES = [axis / 4 for axis in range(9)]
STATES = [0, 2**63, 2**64 - 1]


def think(count: int = 3, **fields: Any) -> dict[str, Any]:
    """What the server says, of the first so many."""
    arrays = (SECONDS[:count], HEADINGS[:count], POSITIONS[: 3 * count], VELOCITIES[: 3 * count])
    said = {"msg": "think", "world": "171.5", "band": 1, "token": 9, "behaviour": "wolf"}
    said |= {"tick": 40, "speed": 2.5, "radius": 8.0, "home": struct.pack("<3f", 1, 2, 0)}
    said |= {"dims": 2, "count": count, "members": struct.pack("<6f", 5, 5, 0, -1, 0, 0)}
    batch = batch_bytes(NUMBERS[:count], *arrays, STATES[:count])
    return said | {"batch": batch} | fields


class BatchTest(unittest.TestCase):
    def test_the_arrays_are_where_the_server_has_put_them(self) -> None:
        # Byte by byte, as the protocol says it.
        packed = b"".join(
            (
                b"\x07\x00\xfe\xff\x2c\x01" + b"\0\0",
                struct.pack("<3f", *SECONDS),
                struct.pack("<3f", *HEADINGS),
                struct.pack("<9f", *POSITIONS),
                struct.pack("<9f", *VELOCITIES),
                b"\0" * 8 + b"\0" * 7 + b"\x80" + b"\xff" * 8,
            )
        )
        self.assertEqual(think()["batch"], packed)
        batch = Batch(think(batch=packed))
        self.assertEqual(len(batch), 3)
        self.assertEqual((batch.tick, batch.speed, batch.radius), (40, 2.5, 8.0))
        self.assertEqual((batch.home, batch.dims), ((1, 2, 0), 2))
        self.assertEqual(batch.numbers.tolist(), NUMBERS)
        for seconds, expected in zip(batch.seconds, SECONDS, strict=True):
            self.assertAlmostEqual(seconds, expected, places=6)
        self.assertEqual(batch.headings.tolist(), HEADINGS)
        self.assertEqual(batch.positions.tolist(), POSITIONS)
        self.assertEqual(batch.velocities.tolist(), VELOCITIES)
        self.assertEqual(batch.states.tolist(), STATES)
        self.assertEqual(batch.members.tolist(), [5, 5, 0, -1, 0, 0])
        self.assertEqual((batch.position(1), batch.velocity(2)), ((3, 4, 5), (1.5, 1.75, 2)))
        formats = {name: getattr(batch, name).format for name in ("numbers", "states")}
        self.assertEqual(formats, {"numbers": "H", "states": "Q"})
        for name in ("seconds", "headings", "positions", "velocities", "members"):
            self.assertEqual(getattr(batch, name).format, "f", name)

    def test_what_a_behaviour_writes_is_told_and_no_more(self) -> None:
        for count in (1, 2, 3):
            with self.subTest(count):
                batch = Batch(think(count))
                padding = b"\0" * (28 * count % 8)
                floats = [*HEADINGS[:count], *POSITIONS[: 3 * count], *VELOCITIES[: 3 * count]]
                told = struct.pack(f"<{7 * count}f", *floats)
                states = struct.pack(f"<{count}Q", *STATES[:count])
                self.assertEqual(batch.thought(), told + padding + states)
                self.assertEqual(len(batch.thought()) % 8, 0)
                last = count - 1
                batch.headings[0], batch.positions[3 * last + 1] = 45.0, -6.5
                batch.velocities[3 * last + 2], batch.states[last] = 0.75, 12
                floats[0], floats[count + 3 * last + 1] = 45.0, -6.5
                floats[4 * count + 3 * last + 2] = 0.75
                told = struct.pack(f"<{7 * count}f", *floats)
                self.assertEqual(batch.thought(), told + padding + states[:-8] + b"\x0c" + b"\0" * 7)

    def test_numbers_seconds_and_members_are_to_read(self) -> None:
        batch = Batch(think())
        for array in (batch.numbers, batch.seconds, batch.members):
            with self.assertRaises(TypeError):
                array[0] = 1
        self.assertEqual(Batch(think(members=b"")).members.tolist(), [])

    def test_views_share_what_they_show(self) -> None:
        batch = Batch(think())
        struct.pack_into("<f", batch.positions, 16, 99)
        self.assertEqual(batch.position(1), (3, 99, 5))
        # The largest that the server asks for.
        arrays = ([0.1] * 512, [0.0] * 512, [1.0] * 1536, [2.0] * 1536)
        packed = batch_bytes(range(512), *arrays, [3] * 512)
        self.assertEqual(len(packed), 512 * 42)
        largest = Batch(think(count=512, batch=packed))
        self.assertEqual(len(largest.thought()), 512 * 36)
        self.assertEqual((largest.numbers[511], largest.states[511]), (511, 3))

    def test_an_answer_is_read_as_the_server_reads_it(self) -> None:
        for count in (1, 2, 3):
            with self.subTest(count):
                batch = Batch(think(count))
                batch.headings[0], batch.states[count - 1] = 45.0, 12
                batch.positions[1] = -6.5
                after = told(think(count), batch.thought())
                for name in ("numbers", "seconds", "headings", "positions", "velocities", "states"):
                    self.assertEqual(getattr(after, name), getattr(batch, name), name)
                self.assertEqual((after.headings[0], after.position(0)), (45, (0, -6.5, 2)))

    def test_an_array_cannot_be_replaced(self) -> None:
        batch = Batch(think())
        for name in ("headings", "positions", "velocities", "states"):
            with self.assertRaisesRegex(AttributeError, f"as batch.{name}\\[:\\] = "):
                setattr(batch, name, [0.0] * 9)
        for name in ("seconds", "members", "speed", "tick"):
            with self.assertRaisesRegex(AttributeError, f"batch.{name} cannot be replaced$"):
                setattr(batch, name, 1)
        batch.positions[:] = memoryview(array("f", [2.0] * 9))
        self.assertEqual(batch.position(2), (2, 2, 2))

    def test_what_is_no_npc_and_no_place_is_told(self) -> None:
        batch = Batch(think())
        for at in (-1, 3):
            for asked in (batch.position, batch.velocity, batch.nearest_member):
                with self.assertRaisesRegex(IndexError, f"there is no NPC {at}: there are 3"):
                    asked(at)
        for place in ((1.0,), (1.0, 2.0, 3.0, 4.0)):
            with self.assertRaisesRegex(ValueError, "a place has two numbers, or three"):
                batch.go_to(0, place)
        self.assertEqual(repr(batch), "<warren.Batch of 3 NPCs for tick 40>")


class WalkTest(unittest.TestCase):
    def walk(self, place: tuple[float, ...], **options: Any) -> Batch:
        def walks(world: str, batch: Batch) -> None:
            for at in range(len(batch)):
                batch.go_to(at, place)

        return World().think(walks, **{"positions": [(0, 0)]} | options)

    def test_it_walks_as_fast_as_it_may_and_stops_there(self) -> None:
        far = self.walk((30, 40), speed=5, seconds=0.5)
        self.assertEqual((far.position(0), far.velocity(0)), ((1.5, 2, 0), (3, 4, 0)))
        self.assertAlmostEqual(far.headings[0], 53.1301, places=3)
        there = self.walk((-3, 4), speed=5, velocities=[(1, 1)])
        self.assertEqual((there.position(0), there.velocity(0)), ((-3, 4, 0), (0, 0, 0)))
        self.assertAlmostEqual(there.headings[0], 126.8699, places=3)

    def test_who_is_there_or_may_not_walk_stands(self) -> None:
        for place, speed in (((0, 0), 5.0), ((9, 9), 0.0)):
            stands = self.walk(place, speed=speed, headings=[7], velocities=[(1, 1)])
            self.assertEqual((stands.position(0), stands.velocity(0)), ((0, 0, 0), (0, 0, 0)))
            self.assertEqual(stands.headings[0], 7)

    def test_heights_are_walked_to_where_they_are_named(self) -> None:
        level = self.walk((9, 0), positions=[(0, 0, 5)], dims=3)
        self.assertEqual(level.position(0), (1, 0, 5))
        up = self.walk((0, 0, 9), positions=[(0, 0, 5)], dims=3)
        self.assertEqual((up.position(0), up.velocity(0)), ((0, 0, 6), (0, 0, 1)))

    def test_each_of_a_batch_goes_by_itself(self) -> None:
        batch = self.walk((0, 10), positions=[(0, 0), (4, 10), (0, 20)], numbers=[3, 5, 9])
        places = [batch.position(at) for at in range(3)]
        self.assertEqual(places, [(0, 1, 0), (3, 10, 0), (0, 19, 0)])
        self.assertEqual(batch.numbers.tolist(), [3, 5, 9])

    def test_the_nearest_member_is_each_ones_own(self) -> None:
        found: list[tuple[float, ...] | None] = []

        def looks(world: str, batch: Batch) -> None:
            self.assertEqual(world, "171.0")
            found.extend(batch.nearest_member(at) for at in range(len(batch)))

        places, members = [(0, 0), (9, 0)], [(8, 1), (0, 3), (-4, 0)]
        World().think(looks, positions=places, members=members)
        self.assertEqual(found, [(0, 3, 0), (8, 1, 0)])
        found.clear()
        World().think(looks, positions=places)
        self.assertEqual(found, [None, None])


class WorldTest(unittest.TestCase):
    """What `warren.testing` does with behaviours beside calling them."""

    def test_arrays_of_unlike_length_are_refused(self) -> None:
        for name in ("velocities", "headings", "states", "numbers"):
            values: list[Any] = [(1, 1)] if name == "velocities" else [1]
            with self.assertRaisesRegex(ValueError, f"{name} are 1, and positions 2"):
                options: dict[str, Any] = {name: values}
                World().think(lambda *_: None, positions=[(0, 0)] * 2, **options)
        for places in ([(1.0,)], [(1.0, 2.0, 3.0, 4.0)]):
            with self.assertRaisesRegex(ValueError, "two numbers, or three"):
                World().think(lambda *_: None, positions=places)

    def test_arrays_without_a_truth_value_are_arrays(self) -> None:
        class Ways(list[tuple[float, float]]):
            def __bool__(self) -> bool:
                raise ValueError("the truth value of an array is ambiguous")

        after = World().think(lambda *_: None, positions=[(0, 0)], velocities=Ways([(1, 2)]))
        self.assertEqual(after.velocity(0), (1, 2, 0))

    def test_what_is_not_finite_is_told(self) -> None:
        def writes(world: str, batch: Batch) -> None:
            getattr(batch, name)[at] = math.inf

        for name, at in (("headings", 1), ("positions", 4), ("velocities", 5)):
            with self.assertRaisesRegex(ValueError, "NPC 1: .*inf.*not finite"):
                World().think(writes, positions=[(0, 0)] * 2)

    def test_what_is_told_is_what_the_server_is_told(self) -> None:
        kept: list[Batch] = []
        moved = World().think(lambda world, batch: kept.append(batch), positions=[(0, 0)])
        kept[0].positions[0] = 9.0
        self.assertEqual(moved.position(0), (0, 0, 0))


class BehaviourTest(unittest.TestCase):
    def test_a_function_is_found_by_its_names_and_is_itself_still(self) -> None:
        module = types.ModuleType("game")

        @warren.behaviour("wolf")
        @warren.behaviour("dog")
        @warren.method("howl")
        def wolves(world: Any, batch: Any) -> None:
            pass

        module.wolves = wolves  # type: ignore[attr-defined]
        self.assertEqual([each.name for each in behaviours_of(module)], ["dog", "wolf"])
        self.assertEqual([each.name for each in methods_of(module)], ["howl"])
        self.assertIsNone(wolves("171.1", None))

        @warren.behaviour("dog")
        def dogs(world: Any, batch: Any) -> None:
            pass

        module.dogs = dogs  # type: ignore[attr-defined]
        with self.assertRaisesRegex(ValueError, "game: there are two behaviours dog"):
            behaviours_of(module)

    def test_what_no_world_can_name_is_none(self) -> None:
        with self.assertRaises(WarrenError):
            warren.behaviour("wolf:7")
        for name in BUILT_IN:
            with self.assertRaisesRegex(ValueError, f"{name} is a behaviour of the server's own"):
                warren.behaviour(name)
        for decorator in (warren.behaviour, warren.method):
            with self.assertRaisesRegex(TypeError, r'is called with a name: @warren\.\w+\("wolf"\)'):
                decorator(lambda world, batch: None)  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "wolf: a behaviour is a plain function"):

            @warren.behaviour("wolf")
            async def wolves(world: Any, batch: Any) -> None:
                pass

    def test_what_cannot_be_called_as_one_is_none(self) -> None:
        unlike: list[Any] = [lambda: None, lambda world: None, lambda a, b, c: None, lambda *, a: None]
        for function in unlike:
            with self.assertRaisesRegex(TypeError, r"wolf: a behaviour is called with \(world, batch\)"):
                warren.behaviour("wolf")(function)
            with self.assertRaisesRegex(TypeError, r"hit: a method is called with \(ctx, msg\)"):
                warren.method("hit")(function)
        alike: list[Any] = [lambda *_: None, lambda world, batch, speed=2: None, type("Wolf", (dict,), {})]
        for function in alike:
            self.assertIs(warren.behaviour("wolf")(function), function)
