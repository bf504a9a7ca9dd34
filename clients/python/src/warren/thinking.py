"""A worker's answers to ``think``: it calls behaviours, and nothing that they do ends the worker.

One that takes too long costs the others their time too, since calls are made one after the other: it is not
called for a while then, twice as long each time.
"""

from __future__ import annotations

import heapq
import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from warren_client.message import Message, encode

from .behaviours import Batch, Behaviour, Function
from .signals import OutOfTime

log = logging.getLogger("warren.worker")

# The server waits so long for an answer before it asks another worker.
THINK_S = 1.0
# Part of it after which the behaviour is told to end, so that the answer still comes in time.
_TIME_SHARE = 0.9
# Who was called with less than this part of that has not lost it by itself.
_OWN_SHARE = 0.5
# How long a behaviour that takes too long is not called: the first time, and the longest.
_REST_S = 1.0
_REST_S_MAX = 60.0
# A behaviour that fails does so at each tick: the log tells of it so often.
_COMPLAINT_S = 1.0
# What was refused for want of room is said again after so long, and then after twice as long each time.
_AGAIN_S = 0.05
_FOR_WANT_OF_ROOM = (429, 503)
# Answers that wait for the server's word on them. It asks less than this before it has them.
_TOLD_MAX = 1024


class Call(Protocol):
    """Calls a behaviour; raises ``OutOfTime`` when it takes longer than ``seconds``."""

    def __call__(self, seconds: float, function: Function, world: str, batch: Batch, /) -> None: ...


@dataclass(frozen=True)
class _Told:
    """An answer, and when its question came."""

    id: int
    name: str
    line: str
    arrived: float
    again_s: float = _AGAIN_S


@dataclass(frozen=True)
class _Rest:
    """How long a behaviour is not called, and until when."""

    seconds: float
    until: float


class Thinking:
    """See the module."""

    def __init__(
        self, behaviours: Sequence[Behaviour], call: Call, outcomes: Counter[str]
    ) -> None:
        self._behaviours = {each.name: each for each in behaviours}
        self._call = call
        self._outcomes = outcomes
        # When the log has last told of what.
        self._complaints: dict[tuple[str, str], float] = {}
        self._rests: dict[str, _Rest] = {}
        self._serial = 0
        # By its id.
        self._told: dict[int, _Told] = {}
        # What is said again, by when: a heap.
        self._again: list[tuple[float, int, _Told]] = []
        self.works: list[str] = []
        """What says that the worker has them."""
        self._works_at = math.inf

    @property
    def names(self) -> list[str]:
        return list(self._behaviours)

    def thought(self, said: Message, arrived: float) -> str:
        """The answer to a ``think`` that came at this time or later: NPCs that could not be moved stand."""
        moved = self._moved(said["behaviour"], said, arrived)
        answer: Message = {"world": said["world"], "token": said["token"]}
        if moved is None:
            answer["failed"] = True
        else:
            answer["batch"] = moved
        return self._tell(said["behaviour"], answer, arrived)

    def _tell(self, name: str, answer: Message, arrived: float) -> str:
        self._serial += 1
        line = encode("thought", {"id": self._serial} | answer)
        if len(self._told) >= _TOLD_MAX:
            del self._told[next(iter(self._told))]
        self._told[self._serial] = _Told(self._serial, name, line, arrived)
        return line

    def _moved(self, name: str, said: Message, arrived: float) -> bytes | None:
        """Where they are now. None: it could not be said."""
        now = time.monotonic()
        rest = self._rests.get(name)
        if rest is not None and now < rest.until:
            self._outcomes["think-resting"] += 1
            return None
        left = arrived + THINK_S * _TIME_SHARE - now
        if left <= 0:
            # The server may be about to ask another worker; but whoever says nothing is taken for stuck.
            self._outcomes["think-late"] += 1
            self._complain(name, "waited here for too long: those NPCs stand")
            return None
        try:
            batch = Batch(said)
            self._call(left, self._behaviours[name].function, said["world"], batch)
            moved = batch.thought()
            self._outcomes["thought"] += 1
            return moved
        except OutOfTime:
            self._ran_out(name, left)
        except BaseException:
            self._complain(name, "failed: those NPCs stand", exc_info=True)
        self._outcomes["think-failed"] += 1
        return None

    def _ran_out(self, name: str, had: float) -> None:
        """It took longer than the time that it had."""
        if had < THINK_S * _TIME_SHARE * _OWN_SHARE:
            self._complain(name, "took too long behind others: those NPCs stand")
            return
        now = time.monotonic()
        last = self._rests.get(name)
        if last is None or now - last.until > _REST_S_MAX:
            seconds = _REST_S
        else:
            seconds = min(2 * last.seconds, _REST_S_MAX)
        self._rests[name] = _Rest(seconds, now + seconds)
        log.error("%s: took too long: its NPCs stand, and it is not called for %.0f s", name, seconds)

    # What the server says of it.

    def answered(self, message: Message) -> None:
        """The server has answered a ``thought``."""
        told = self._told.pop(message.get("id", 0), None)
        name = "a behaviour" if told is None else told.name
        if message["status"] == 0:
            if count := message.get("invalid"):
                said = "of its NPCs were where nobody can be: they stand"
                self._complain(name, said, before=f"{count} ")
            return
        reason = message["error"]
        self._outcomes[reason] += 1
        if reason == "lease-lost":
            self._complain(name, "answered too late: those NPCs stand", logging.WARNING)
        elif told is not None and message["status"] in _FOR_WANT_OF_ROOM:
            self._complain(name, f"the server has no room for the answer: {reason}", logging.WARNING)
            heapq.heappush(self._again, (time.monotonic() + told.again_s, told.id, told))
        else:
            self._complain(name, f"where NPCs are now was refused: {reason}")

    def worked(self, message: Message) -> None:
        """The server has answered a ``work`` that was said again."""
        if message["status"] != 0:
            self._works_at = time.monotonic() + _AGAIN_S

    def to_say(self) -> list[str]:
        """What is to be said again now."""
        if not self._again and self._works_at == math.inf:
            return []
        now = time.monotonic()
        lines = []
        while self._again and self._again[0][0] <= now:
            told = heapq.heappop(self._again)[2]
            if now - told.arrived < THINK_S:
                self._told[told.id] = replace(told, again_s=2 * told.again_s)
                lines.append(told.line)
            else:
                # The server takes the worker for stuck: so it hears that it is not.
                self._works_at = min(self._works_at, now)
        if self._works_at <= now:
            self._works_at = math.inf
            lines += self.works
        return lines

    def seconds_to_say(self) -> float:
        """How long it is until there is something to say again."""
        first = self._again[0][0] if self._again else math.inf
        return max(0.0, min(first, self._works_at) - time.monotonic())

    def _complain(
        self,
        name: str,
        text: str,
        level: int = logging.ERROR,
        *,
        before: str = "",
        exc_info: bool = False,
    ) -> None:
        now = time.monotonic()
        if now - self._complaints.get((name, text), -_COMPLAINT_S) >= _COMPLAINT_S:
            self._complaints[name, text] = now
            log.log(level, "%s: %s%s", name, before, text, exc_info=exc_info)
