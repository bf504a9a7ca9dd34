"""A worker's answers to `think`, without a server: what behaviours do, and what the server says of it."""

from __future__ import annotations

import time
import unittest
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest import mock

from test_behaviours import think

from warren.behaviours import Batch, Behaviour, told
from warren.signals import TimeLimit
from warren.thinking import THINK_S, Thinking
from warren_client.message import decode

Function = Callable[[str, Batch], None]


def nothing(world: str, batch: Batch) -> None:
    pass


def loops(world: str, batch: Batch) -> None:
    while True:
        try:
            while True:
                batch.positions[0] += 1
        except Exception:
            pass


class ThinkingCase(unittest.TestCase):
    def setUp(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.called: list[str] = []
        self.limits: list[float] = []
        self.shortened: float | None = None
        self.now = 1000.0
        patch = mock.patch("warren.thinking.time.monotonic", lambda: self.now)
        patch.start()
        self.addCleanup(patch.stop)
        self.limit = TimeLimit()
        self.addCleanup(self.limit.end)

    def thinking(self, **functions: Function) -> Thinking:
        behaviours = [Behaviour(name, function) for name, function in functions.items()]
        return Thinking(behaviours, self.call, self.outcomes)

    def call(self, seconds: float, function: Any, *arguments: Any) -> None:
        self.limits.append(seconds)
        self.called.append(function.__name__)
        self.limit.begin(self.shortened or seconds)
        self.limit.call(function, *arguments)

    def thought(self, thinking: Thinking, name: str = "wolf", waited: float = 0.0) -> dict[str, Any]:
        """The answer; None in place of NPCs that could not be moved."""
        answer = decode(thinking.thought(think(behaviour=name), self.now - waited))
        self.assertEqual((answer["msg"], answer["world"], answer["token"]), ("thought", "171.5", 9))
        known = {"msg", "id", "world", "token"}
        own = {name: value for name, value in answer.items() if name not in known}
        self.assertIn(own, ({"failed": True}, {"batch": answer.get("batch")}))
        return answer

    def fails(self, thinking: Thinking, name: str = "wolf", waited: float = 0.0) -> None:
        self.assertIs(self.thought(thinking, name, waited).get("failed"), True)


class CallTest(ThinkingCase):
    def test_an_answer_says_where_they_are(self) -> None:
        def moves(world: str, batch: Batch) -> None:
            self.assertEqual(world, "171.5")
            batch.positions[0] = -1.0

        answer = self.thought(self.thinking(wolf=moves))
        self.assertEqual(told(think(), answer["batch"]).position(0), (-1, 1, 2))
        self.assertEqual(self.outcomes, {"thought": 1})
        # Part of the server's time is left for the answer's way.
        self.assertLessEqual(self.limits[0], 0.9 * THINK_S)

    def test_the_time_that_it_has_waited_is_the_behaviours(self) -> None:
        self.thought(self.thinking(wolf=nothing), waited=0.5)
        self.assertLessEqual(self.limits[0], 0.9 * THINK_S - 0.5)

    def test_a_behaviour_that_raises_has_failed_and_the_log_tells_it_once_a_second(self) -> None:
        def raises(world: str, batch: Batch) -> None:
            batch.positions[0] = batch.states[0] = 7
            raise SystemExit("no such spell")

        thinking = self.thinking(wolf=raises)
        with self.assertLogs("warren.worker", "ERROR") as logs:
            for _ in range(3):
                self.fails(thinking)
        self.assertEqual(self.outcomes, {"think-failed": 3})
        (line,) = logs.output
        self.assertIn("wolf: failed: those NPCs stand", line)
        self.assertIn("SystemExit: no such spell", line)
        self.now += 1
        with self.assertLogs("warren.worker", "ERROR"):
            self.fails(thinking)
        self.assertEqual(self.called, ["raises"] * 4)

    def test_what_cannot_be_said_or_read_has_failed(self) -> None:
        def writes(world: str, batch: Batch) -> None:
            batch.states[0] = -1

        thinking = self.thinking(wolf=writes)
        with self.assertLogs("warren.worker", "ERROR"):
            self.fails(thinking)
            # A question of another form, and one for what it has not.
            said = think(count=-1)
            self.assertIs(decode(thinking.thought(said, self.now))["failed"], True)
            self.fails(thinking, "dog")
        self.assertEqual(self.outcomes, {"think-failed": 3})

    def test_what_has_waited_too_long_is_answered_without_a_call(self) -> None:
        with self.assertLogs("warren.worker", "ERROR") as logs:
            self.fails(self.thinking(wolf=nothing), waited=0.91 * THINK_S)
        self.assertIn("waited here for too long", logs.output[0])
        self.assertEqual((self.outcomes, self.called), ({"think-late": 1}, []))


class RestTest(ThinkingCase):
    def setUp(self) -> None:
        super().setUp()
        self.shortened = 0.01

    def test_a_behaviour_that_loops_rests_and_the_others_do_not(self) -> None:
        thinking = self.thinking(loop=loops, wolf=nothing)
        with self.assertLogs("warren.worker", "ERROR") as logs:
            self.fails(thinking, "loop")
        self.assertIn("loop: took too long: its NPCs stand, and it is not called for 1 s", logs.output[0])
        self.fails(thinking, "loop")
        self.assertIn("batch", self.thought(thinking))
        self.now += 0.99
        self.fails(thinking, "loop")
        self.assertEqual(self.called, ["loops", "nothing"])
        self.assertEqual(self.outcomes, {"think-failed": 1, "think-resting": 2, "thought": 1})

    def test_it_rests_twice_as_long_each_time_and_never_longer_than_a_minute(self) -> None:
        thinking = self.thinking(wolf=loops)
        rests = []
        for rest in (1, 2, 4, 8, 16, 32, 60, 60):
            with self.assertLogs("warren.worker", "ERROR") as logs:
                self.fails(thinking)
            rests.append(logs.output[0].rpartition(" for ")[2])
            self.now += rest
        self.assertEqual(rests, [f"{rest} s" for rest in (1, 2, 4, 8, 16, 32, 60, 60)])
        # What has gone well for so long is forgiven.
        self.now += 61
        with self.assertLogs("warren.worker", "ERROR") as logs:
            self.fails(thinking)
        self.assertIn("not called for 1 s", logs.output[0])

    def test_who_has_lost_its_time_to_others_does_not_rest(self) -> None:
        thinking = self.thinking(wolf=loops)
        with self.assertLogs("warren.worker", "ERROR") as logs:
            self.fails(thinking, waited=0.6)
        self.assertIn("wolf: took too long behind others", logs.output[0])
        self.fails(thinking, waited=0.6)
        self.assertEqual(self.called, ["loops", "loops"])


class AnsweredTest(ThinkingCase):
    def answer(self, thinking: Thinking, id: int, **fields: Any) -> None:
        thinking.answered({"msg": "thought", "id": id, "status": 0} | fields)

    def refuse(self, thinking: Thinking, id: int, status: int, error: str) -> str:
        """What the log says of it."""
        with self.assertLogs("warren.worker", "WARNING") as logs:
            self.answer(thinking, id, status=status, error=error)
        return logs.output[0]

    def test_refusals_are_told_by_their_reason_once_a_second(self) -> None:
        thinking = self.thinking(wolf=nothing)
        ids = [self.thought(thinking)["id"] for _ in range(3)]
        with self.assertLogs("warren.worker", "WARNING") as logs:
            for id in ids[:2]:
                self.answer(thinking, id, status=409, error="lease-lost")
            self.answer(thinking, ids[2], status=400, error="field-invalid")
            # Of none that it knows.
            self.answer(thinking, 77, status=409, error="lease-lost")
        del self.outcomes["thought"]
        self.assertEqual(self.outcomes, {"lease-lost": 3, "field-invalid": 1})
        self.assertEqual(
            logs.output,
            [
                "WARNING:warren.worker:wolf: answered too late: those NPCs stand",
                "ERROR:warren.worker:wolf: where NPCs are now was refused: field-invalid",
                "WARNING:warren.worker:a behaviour: answered too late: those NPCs stand",
            ],
        )
        self.assertEqual(thinking.to_say(), [])

    def test_npcs_where_nobody_can_be_are_told_of(self) -> None:
        thinking = self.thinking(wolf=nothing)
        ids = [self.thought(thinking)["id"] for _ in range(3)]
        with self.assertNoLogs("warren.worker"):
            self.answer(thinking, ids[0])
        with self.assertLogs("warren.worker", "ERROR") as logs:
            self.answer(thinking, ids[1], invalid=3)
            self.answer(thinking, ids[2], invalid=2)
        (line,) = logs.output
        self.assertIn("wolf: 3 of its NPCs were where nobody can be", line)

    def test_what_has_no_room_is_said_again_while_it_counts(self) -> None:
        thinking = self.thinking(wolf=nothing)
        line = thinking.thought(think(), self.now)
        id = decode(line)["id"]
        self.assertEqual((thinking.to_say(), thinking.seconds_to_say()), ([], float("inf")))
        refusals = ((503, "busy"), (429, "message-rate"), (429, "byte-rate"))
        # Later each time.
        for (status, reason), seconds in zip(refusals, (0.05, 0.1, 0.2), strict=True):
            self.assertIn(reason, self.refuse(thinking, id, status, reason))
            self.assertAlmostEqual(thinking.seconds_to_say(), seconds)
            self.now += seconds - 0.01
            self.assertEqual(thinking.to_say(), [])
            self.now += 0.02
            self.assertEqual(thinking.to_say(), [line])
            self.assertEqual(thinking.to_say(), [])
        self.answer(thinking, id)
        self.assertEqual(thinking.seconds_to_say(), float("inf"))

    def test_what_counts_no_more_is_not_said_again_but_that_the_worker_is_there(self) -> None:
        thinking = self.thinking(wolf=nothing)
        thinking.works = ['{"msg":"work"}']
        ids = [self.thought(thinking, waited=0.5)["id"] for _ in range(2)]
        self.now += 0.46
        self.refuse(thinking, ids[0], 503, "busy")
        self.answer(thinking, ids[1], status=503, error="busy")
        self.now += 0.06
        self.assertEqual(thinking.to_say(), thinking.works)
        self.assertEqual((thinking.to_say(), thinking.seconds_to_say()), ([], float("inf")))
        # And that as often as it takes.
        for _ in range(2):
            thinking.worked({"msg": "work", "status": 429, "error": "message-rate"})
            self.assertEqual(thinking.to_say(), [])
            self.now += 0.06
            self.assertEqual(thinking.to_say(), thinking.works)
        thinking.worked({"msg": "work", "status": 0})
        self.assertEqual(thinking.seconds_to_say(), float("inf"))

    def test_answers_that_the_server_says_nothing_of_are_not_kept_for_ever(self) -> None:
        thinking = self.thinking(wolf=nothing)
        first = self.thought(thinking)["id"]
        for _ in range(1024):
            self.thought(thinking)
        self.assertIn("a behaviour: ", self.refuse(thinking, first, 503, "busy"))
        self.assertEqual(thinking.to_say(), [])
