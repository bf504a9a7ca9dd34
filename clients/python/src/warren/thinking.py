"""A worker's answers to ``think``: it calls behaviours, and nothing that they do ends the worker."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from warren_client.message import Message, encode

from .behaviours import Batch, Behaviour, Function, standing
from .signals import OutOfTime

log = logging.getLogger("warren.worker")

# The server waits so long for an answer before it asks another worker.
THINK_S = 1.0
# Part of it after which the behaviour is told to end, so that the answer still comes in time.
_TIME_SHARE = 0.9
# A behaviour that fails does so at each tick: the log tells of it so often.
_COMPLAINT_S = 1.0


class Call(Protocol):
    """Calls a behaviour; raises ``OutOfTime`` when it takes longer than ``seconds``."""

    def __call__(self, seconds: float, function: Function, world: str, batch: Batch, /) -> None: ...


class Thinking:
    """See the module."""

    def __init__(
        self, behaviours: Sequence[Behaviour], call: Call, outcomes: Counter[str]
    ) -> None:
        self._behaviours = {each.name: each for each in behaviours}
        self._call = call
        self._outcomes = outcomes
        # When the log has last told of each.
        self._complaints: dict[str, float] = {}

    @property
    def names(self) -> list[str]:
        return list(self._behaviours)

    def thought(self, said: Message, arrived: float) -> str:
        """The answer to a ``think`` that came at this time. NPCs that could not be moved stand."""
        name = said["behaviour"]
        left = arrived + THINK_S * _TIME_SHARE - time.monotonic()
        if left > 0:
            moved = self._moved(name, said, left)
        else:
            # Another worker is asked by now; but whoever says nothing is taken for stuck.
            self._outcomes["think-late"] += 1
            self._complain(f"{name}: waited here for too long: those NPCs stand")
            moved = standing(said)
        answer = {"world": said["world"], "token": said["token"], "batch": moved}
        return encode("thought", answer)

    def _moved(self, name: str, said: Message, seconds: float) -> bytes:
        try:
            batch = Batch(said)
            self._call(seconds, self._behaviours[name].function, said["world"], batch)
            moved = batch.thought()
            self._outcomes["thought"] += 1
            return moved
        except OutOfTime:
            self._complain(f"{name}: took too long: those NPCs stand")
        except BaseException:
            self._complain(f"{name}: failed: those NPCs stand", is_raised=True)
        self._outcomes["think-failed"] += 1
        return standing(said)

    def answered(self, message: Message) -> None:
        """The server has answered a ``thought``."""
        if message["status"] != 0:
            reason = message["error"]
            self._outcomes[reason] += 1
            self._complain(f"where NPCs are now was refused: {reason}")

    def _complain(self, text: str, *, is_raised: bool = False) -> None:
        now = time.monotonic()
        if now - self._complaints.get(text, -_COMPLAINT_S) >= _COMPLAINT_S:
            self._complaints[text] = now
            log.error("%s", text, exc_info=is_raised)
