"""Behaviours without a server: how a batch lies in memory, what they may write, and what of them is told."""

from __future__ import annotations

import struct
import time
import types
import unittest
from collections import Counter
from typing import Any

import warren
from warren.behaviours import Batch, Behaviour, batch_bytes, behaviours_of, standing
from warren.methods import methods_of
from warren.signals import TimeLimit
from warren.testing import World
from warren.thinking import THINK_S, Thinking
from warren_client import WarrenError
from warren_client.message import decode

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

    def test_those_who_could_not_be_moved_stand_where_they_were(self) -> None:
        told = struct.pack("<12f", *HEADINGS, *POSITIONS) + b"\0" * 36 + b"\0" * 4
        self.assertEqual(standing(think()), told + struct.pack("<3Q", *STATES))


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
        with self.assertRaisesRegex(TypeError, "wolf: a behaviour is a plain function"):

            @warren.behaviour("wolf")
            async def wolves(world: Any, batch: Any) -> None:
                pass


class ThinkingTest(unittest.TestCase):
    def setUp(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.limits: list[float] = []
        limit = TimeLimit()
        self.addCleanup(limit.end)

        def call(seconds: float, function: Any, *arguments: Any) -> None:
            self.limits.append(seconds)
            limit.begin(self.shortened or seconds)
            limit.call(function, *arguments)

        self.shortened: float | None = None
        self.call = call

    def thought(self, function: Any, *, waited: float = 0.0, times: int = 1) -> dict[str, Any]:
        thinking = Thinking([Behaviour("wolf", function)], self.call, self.outcomes)
        for _ in range(times):
            answer = decode(thinking.thought(think(), time.monotonic() - waited))
        self.assertEqual((answer["msg"], answer["world"], answer["token"]), ("thought", "171.5", 9))
        return answer

    def test_an_answer_says_where_they_are(self) -> None:
        def moves(world: str, batch: Batch) -> None:
            self.assertEqual(world, "171.5")
            batch.positions[0] = -1.0

        batch = self.thought(moves)["batch"]
        self.assertEqual(struct.unpack_from("<f", batch, 12), (-1,))
        self.assertEqual(self.outcomes, {"thought": 1})
        self.assertLessEqual(self.limits[0], THINK_S)

    def test_those_of_a_behaviour_that_raises_stand_and_the_log_tells_it_once(self) -> None:
        def fails(world: str, batch: Batch) -> None:
            batch.positions[0] = batch.states[0] = 7
            raise SystemExit("no such spell")

        with self.assertLogs("warren.worker", "ERROR") as logs:
            answer = self.thought(fails, times=3)
        self.assertEqual(answer["batch"], standing(think()))
        self.assertEqual(self.outcomes, {"think-failed": 3})
        (told,) = logs.output
        self.assertIn("wolf: failed: those NPCs stand", told)
        self.assertIn("SystemExit: no such spell", told)

    def test_a_value_that_is_none_fails_it(self) -> None:
        def writes(world: str, batch: Batch) -> None:
            batch.states[0] = -1

        with self.assertLogs("warren.worker", "ERROR"):
            self.assertEqual(self.thought(writes)["batch"], standing(think()))

    def test_a_behaviour_that_loops_is_ended(self) -> None:
        def loops(world: str, batch: Batch) -> None:
            while True:
                try:
                    while True:
                        batch.positions[0] += 1
                except Exception:
                    pass

        self.shortened = 0.01
        with self.assertLogs("warren.worker", "ERROR") as logs:
            answer = self.thought(loops)
        self.assertEqual(answer["batch"], standing(think()))
        self.assertEqual(self.outcomes, {"think-failed": 1})
        self.assertIn("wolf: took too long", logs.output[0])

    def test_what_has_waited_too_long_is_answered_without_a_call(self) -> None:
        def never(world: str, batch: Batch) -> None:
            self.fail("it was called")

        with self.assertLogs("warren.worker", "ERROR"):
            answer = self.thought(never, waited=THINK_S)
        self.assertEqual(answer["batch"], standing(think()))
        self.assertEqual(self.outcomes, {"think-late": 1})

    def test_the_time_that_it_has_waited_is_the_behaviours(self) -> None:
        self.thought(lambda world, batch: None, waited=0.5)
        self.assertLessEqual(self.limits[0], THINK_S - 0.5)

    def test_refusals_are_counted_by_their_reason(self) -> None:
        thinking = Thinking([], self.call, self.outcomes)
        with self.assertLogs("warren.worker", "ERROR") as logs:
            for _ in range(2):
                thinking.answered({"msg": "thought", "status": 409, "error": "lease-lost"})
            thinking.answered({"msg": "thought", "status": 0})
        self.assertEqual(self.outcomes, {"lease-lost": 2})
        self.assertEqual(len(logs.output), 1)
