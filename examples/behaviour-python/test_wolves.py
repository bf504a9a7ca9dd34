"""What wolves do, without a server: python3 -m unittest"""

import math
import unittest

import wolves
from warren.testing import World


class WolvesTest(unittest.TestCase):
    def test_a_wolf_goes_for_the_nearest_member(self):
        members = [(20, 0), (0, 3)]
        after = World().think(wolves.hunt, positions=[(0, 0)], members=members, speed=2)
        self.assertEqual(after.position(0), (0, 2, 0))
        after = World().think(wolves.hunt, positions=[(0, 2)], members=members, speed=2)
        self.assertEqual(after.position(0), (0, 3, 0))
        self.assertEqual(after.velocity(0), (0, 0, 0))

    def test_a_wolf_follows_nobody_out_of_its_circle_or_sight(self):
        for radius, member in ((10, (11, 0)), (1000, (0, wolves.SIGHT + 1))):
            with self.subTest(member):
                options = {"radius": radius, "members": [member]}
                after = World().think(wolves.hunt, positions=[(0, 0)], **options)
                self.assertEqual(after.position(0), (1, 0, 0), "it walks to where it goes around")

    def test_with_nobody_there_it_goes_around(self):
        place, state = (0.0, 0.0, 0.0), 0
        for _ in range(100):
            after = World().think(wolves.hunt, positions=[place], states=[state], radius=10)
            place, state = after.position(0), after.states[0]
            self.assertLess(math.hypot(*place), 10 * wolves.ROUND + 0.001)
        self.assertGreater(math.hypot(*place), 4.9)


if __name__ == "__main__":
    unittest.main()
