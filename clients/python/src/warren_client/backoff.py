"""When to try again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Bounds of the time between two attempts to connect, in seconds.

    Before the second attempt it is at most ``base``; the bound doubles with each, up to ``cap``.
    """

    base: float = 0.25
    cap: float = 10.0

    def delay(self, attempt: int, random: float) -> float:
        """The time to wait before an attempt, counted from 0, with full jitter.

        It is anything between nothing and the bound, so that clients which lost their server
        together do not come back together. ``random`` is in [0, 1).
        """
        # Beyond this no bound is reached any more, and a float would overflow.
        return random * min(self.cap, self.base * 2.0 ** min(attempt, 64))
