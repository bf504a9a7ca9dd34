from __future__ import annotations

import unittest

from warren_client import Backoff

BACKOFF = Backoff(base=0.25, cap=10.0)


class BackoffTest(unittest.TestCase):
    def test_the_bound_doubles_up_to_the_cap_and_all_of_it_is_used(self) -> None:
        for attempt, bound in enumerate([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]):
            self.assertEqual(BACKOFF.delay(attempt, 0.0), 0.0)
            self.assertEqual(BACKOFF.delay(attempt, 0.5), bound / 2)

    def test_a_client_that_was_away_for_months_waits_no_longer(self) -> None:
        self.assertEqual(BACKOFF.delay(100_000, 0.5), 5.0)
