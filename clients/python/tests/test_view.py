"""What a member of a world knows by its frames."""

from __future__ import annotations

import unittest
from collections import defaultdict
from typing import Any

from vectors import vectors

from warren_client import WarrenError
from warren_client.message import decode
from warren_client.view import Frame, View


class ViewTest(unittest.TestCase):
    def test_vectors_are_applied(self) -> None:
        views: dict[str, View] = defaultdict(View)
        frames = [
            vector
            for vector in vectors("world.json")
            if vector["protocol"] == "json" and "view" in vector
        ]
        self.assertGreaterEqual(len(frames), 9)
        for vector in frames:
            with self.subTest(vector["name"]):
                message = decode(vector["wire"])
                view = views[message["room"]]
                before = set(view.entities)
                frame = view.apply(message)
                assert frame is not None
                known = {
                    str(each.id): [
                        list(each.cell),
                        [each.x, each.y, each.z, each.vx, each.vy, each.vz, each.heading],
                    ]
                    for each in view.entities.values()
                }
                expected = {
                    entity: [cell, _in_space([float(number) for number in state])]
                    for entity, (cell, state) in vector["view"].items()
                }
                self.assertEqual(known, expected)
                self.assertEqual(frame.tick, message["tick"])
                self.assertEqual(frame.is_whole, message.get("whole", False))
                self.assertEqual(frame.gone, before - set(view.entities))
                told = {each.id for each in view.entities.values() if each.tick == frame.tick}
                self.assertEqual(frame.updated, told)

    def test_what_is_no_frame_is_refused_and_none_of_it_applied(self) -> None:
        cells = ["*0:0 1:2:3:0:0:90"]
        whole = {"msg": "frame", "tick": 1, "cell": "0:0", "whole": True, "cells": cells}
        view = View()
        view.apply(whole)
        before = dict(view.entities)
        right = "0:1 2:2:70:0:0:90"
        wrongs: list[dict[str, Any]] = [
            {"tick": None},
            {"cell": ""},
            {"cell": "0:x"},
            {"cell": "0"},
            {"cells": None},
            {"cells": [right, ""]},
            {"cells": [right, 5]},
            {"cells": [right, "0 3:2:3"]},
            {"cells": [right, "*0:0 1:2:3"]},
            {"cells": [right, "*0:0 1.5:2:3:0:0:90"]},
            {"cells": [right, "*0:0 1::3:0:0:90"]},
            {"cells": [right, "*0:0 -1:0:0:2"]},
            {"cells": [right, "*0:0 -1:0"]},
            {"cell": "0:0:0", "whole": False, "cells": []},
        ]
        for wrong in wrongs:
            with self.subTest(wrong):
                with self.assertRaises(ValueError):
                    view.apply(whole | wrong)
                self.assertEqual(view.entities, before)

    def test_a_frame_in_several_messages_is_applied_with_the_last_of_them(self) -> None:
        view = View()

        def apply(tick: int, *cells: str, **more: bool) -> Frame | None:
            return view.apply({"msg": "frame", "tick": tick, "cell": "0:0", "cells": [*cells]} | more)

        apply(1, "*0:0 1:2:3:0:0:90 2:2:3:0:0:90 3:1:1:0:0:0", whole=True)
        before = dict(view.entities)
        first = "*0:0 1:2:3:0:0:90"
        self.assertIsNone(apply(2, first, whole=True, more=True))
        self.assertIsNone(apply(2, "0:0 2:2:3:0:0:90", more=True))
        self.assertEqual(view.entities, before)
        both = Frame(2, (0, 0), True, frozenset({1, 2, 4}), frozenset({3}))
        self.assertEqual(apply(2, "0:1 4:2:70:0:0:90"), both)
        # One that is cut off is void.
        apply(3, "0:0 -1", more=True)
        anew = Frame(4, (0, 0), True, frozenset({1}), frozenset({2, 4}))
        self.assertEqual(apply(4, first, whole=True), anew)

    def test_what_is_kept_of_a_frame_in_several_messages_has_a_bound(self) -> None:
        view = View()

        def apply(cells: list[Any], *, more: bool = True) -> Frame | None:
            frame = {"msg": "frame", "cell": "0:0", "tick": 1, "more": more}
            return view.apply(frame | {"cells": cells})

        half = "x" * (8 * 1024 * 1024 - 1)
        apply([half])
        apply([half])
        with self.assertRaisesRegex(WarrenError, "^frame-too-large$"):
            apply([""])
        # The last message counts too, and what was kept is gone with the frame.
        apply([half, half])
        with self.assertRaisesRegex(WarrenError, "^frame-too-large$"):
            apply([""], more=False)
        frame = apply(["0:0 1:2:3:0:0:90"], more=False)
        assert frame is not None
        self.assertEqual(frame.updated, {1})
        # Sections without a character are not kept for nothing.
        for _ in range(16):
            apply([""] * (1024 * 1024))
        with self.assertRaisesRegex(WarrenError, "^frame-too-large$"):
            apply([""])
        with self.assertRaises(ValueError):
            apply([5])

    def test_frames_that_are_brought_as_one_say_what_both_say(self) -> None:
        first = Frame(1, (0, 0), True, frozenset({1, 2}), frozenset({3, 4}))
        later = Frame(2, (1, 0), False, frozenset({3}), frozenset({2}))
        both = Frame(2, (1, 0), True, frozenset({1, 3}), frozenset({2, 4}))
        self.assertEqual(first.then(later), both)


def _in_space(state: list[float]) -> list[float]:
    if len(state) == 7:
        return state
    x, y, vx, vy, heading = state
    return [x, y, 0.0, vx, vy, 0.0, heading]
