"""What the methods do, without a server: python3 -m unittest"""

import unittest

import game
import warren
from warren.testing import World


class GameTest(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.wolf = self.world.create("wolf", room="arena", hp=20)

    def hit(self, hp):
        return ("combat.hit", {"target": self.wolf, "hp": hp, "by": "ann"})

    def test_a_wolf_is_hit_until_it_is_dead(self):
        for hp in (13, 6):
            outcome = self.world.call(game.attack, target=self.wolf)
            self.assertEqual(outcome.reply, {"hp": hp})
            self.assertEqual(outcome.events("arena"), [self.hit(hp)])
        outcome = self.world.call(game.attack, target=self.wolf)
        death = ("combat.death", {"target": self.wolf, "by": "ann"})
        self.assertEqual(outcome.events("arena"), [self.hit(0), death])
        self.assertNotIn(self.wolf, self.world)

    def test_healing_ends_at_what_a_wolf_has(self):
        self.world.call(game.attack, target=self.wolf)
        for hp in (18, 20, 20):
            self.assertEqual(self.world.call(game.heal, target=self.wolf).reply, {"hp": hp})

    def test_a_spawned_wolf_is_in_the_room(self):
        made = self.world.call(game.spawn, room="arena").created
        self.assertEqual(dict(self.world[made[0]]), {"room": "arena", "hp": 20})

    def test_nothing_but_wolves_is_fought(self):
        tree = self.world.create("tree", hp=20)
        with self.assertRaises(warren.Fail):
            self.world.call(game.attack, target=tree)


if __name__ == "__main__":
    unittest.main()
