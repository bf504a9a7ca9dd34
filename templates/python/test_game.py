"""What the methods do, without a server: python3 -m unittest"""

import unittest

import game
from warren.testing import World


class GameTest(unittest.TestCase):
    def test_an_attack_takes_hit_points_and_the_room_hears_of_it(self):
        world = World()
        wolf = world.create("wolf", hp=20)
        outcome = world.call(game.attack, user="ann", target=wolf, room="arena")
        self.assertEqual(outcome.reply, {"hp": 13})
        self.assertEqual(world[wolf]["hp"], 13)
        heard = ("combat.hit", {"target": wolf, "hp": 13, "by": "ann"})
        self.assertEqual(outcome.events("arena"), [heard])

    def test_nobody_has_less_than_no_hit_points(self):
        world = World()
        wolf = world.create("wolf", hp=3)
        outcome = world.call(game.attack, target=wolf, room="arena")
        self.assertEqual(outcome.reply, {"hp": 0})


if __name__ == "__main__":
    unittest.main()
