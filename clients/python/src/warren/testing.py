"""Calls methods and behaviours without a server: for tests of game code.

::

    from warren.testing import World
    import game

    def test_an_attack_takes_seven():
        world = World()
        wolf = world.create("wolf", hp=20)
        outcome = world.call(game.attack, target=wolf, room="arena")
        assert outcome.reply == {"hp": 13}
        assert world[wolf]["hp"] == 13
        assert outcome.events("arena") == [("combat.hit", {"target": wolf, "hp": 13})]

    def test_a_wolf_goes_to_a_member():
        wolves = World().think(game.wolves, positions=[(0, 0)], members=[(10, 0)], speed=2)
        assert wolves.position(0) == (2, 0, 0)

It checks names, values and sizes as a worker does. What only the server knows, such as who may read an
object or what is full, it does not.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from warren_client.errors import WarrenError
from warren_client.message import Message, Value, decode

from .behaviours import Batch, batch_bytes, told
from .context import Context, Object
from .methods import Method
from .session import answer_fields

__all__ = ["Outcome", "World"]

_Value = TypeVar("_Value")

# Fields of effects that are none of the object's or the event's own.
_SAID = frozenset({"msg", "do", "object", "version", "kind", "to", "event", "owner"})


@dataclass(frozen=True)
class Outcome:
    """What a call came to."""

    reply: dict[str, Value]
    """The fields of the answer."""
    sent: list[tuple[str, str, dict[str, Value]]] = field(default_factory=list)
    """What rooms hear: room, event, fields."""
    created: list[str] = field(default_factory=list)
    """The numbers of objects that were made."""
    scheduled: list[tuple[str, dict[str, Value]]] = field(default_factory=list)
    """What is asked for later: method, and fields with ``delay_ms`` or ``at_ms``."""

    def events(self, room: str) -> list[tuple[str, dict[str, Value]]]:
        """What one room hears."""
        return [(event, fields) for name, event, fields in self.sent if name == room]


class World:
    """Objects of one partition, and what methods do with them."""

    frame_bytes_max: float = 64 * 1024

    def __init__(self, partition: int = 171) -> None:
        self._partition = partition
        self._objects: dict[str, Object] = {}
        self._last = 0

    def create(self, kind: str, /, owner: str = "", **fields: Value) -> str:
        """Makes an object, and tells its number."""
        self._last += 1
        id = f"{self._partition}.{self._last}"
        self._objects[id] = Object(id, kind, 1, owner, fields)
        return id

    def __getitem__(self, id: str) -> Object:
        """The object as it is now. ``KeyError`` when it is not there."""
        return self._objects[id]

    def __contains__(self, id: object) -> bool:
        return id in self._objects

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._objects))

    def call(
        self,
        function: Method | Callable[..., Any],
        /,
        *,
        user: str = "ann",
        attempt: int = 1,
        **fields: Value,
    ) -> Outcome:
        """Does a task: what the method says happens, all of it or, when it raises, nothing.

        ``function`` is a method, or what was made of a ConnServer module.
        """
        called = function.function if isinstance(function, Method) else function
        method = getattr(function, "name", getattr(function, "__name__", "method"))
        task: Message = {"task": f"{self._partition}.0", "token": 1, "method": method}
        task |= {"user": user, "attempt": attempt, "limit_ms": 30_000}
        # The target is read as all other objects are.
        context = Context(task, self)
        answer = called(context, dict(fields))
        reply = decode('{"msg":"done"' + answer_fields(answer) + "}")
        del reply["msg"]
        effects = [decode('{"msg":"effect",' + effect) for effect in context.effects]
        for effect in effects:
            self._check(effect)
        outcome = Outcome(reply)
        for effect in effects:
            self._carry_out(effect, user, outcome)
        return outcome

    def think(
        self,
        function: Callable[[str, Batch], Any],
        /,
        *,
        positions: Sequence[Sequence[float]],
        velocities: Sequence[Sequence[float]] = (),
        headings: Sequence[float] = (),
        states: Sequence[int] = (),
        numbers: Sequence[int] = (),
        seconds: float = 1.0,
        speed: float = 1.0,
        home: Sequence[float] = (0.0, 0.0),
        radius: float = 100.0,
        dims: int = 2,
        tick: int = 1,
        members: Sequence[Sequence[float]] = (),
    ) -> Batch:
        """Has a behaviour move NPCs who stand there, and tells what the server would be told of them.

        Vectors have two numbers, or three. What is left out is 0; ``numbers`` are 0, 1, 2 … ``seconds`` is
        the time since they were last moved: a server's tick is 0.1. Raises ``ValueError`` for arrays that are
        not as long as ``positions``, and where an NPC's numbers are not finite afterwards.
        """
        count = len(positions)
        batch = batch_bytes(
            _each(count, "numbers", numbers, range(count)),
            [seconds] * count,
            _each(count, "headings", headings, [0.0] * count),
            [axis for place in positions for axis in _vector(place)],
            [
                axis
                for way in _each(count, "velocities", velocities, [(0.0, 0.0)] * count)
                for axis in _vector(way)
            ],
            _each(count, "states", states, [0] * count),
        )
        around = [axis for place in members for axis in _vector(place)]
        said: Message = {"tick": tick, "speed": speed, "radius": radius, "dims": dims}
        said |= {"home": struct.pack("<3f", *_vector(home)), "count": count, "batch": batch}
        said |= {"members": struct.pack(f"<{len(around)}f", *around)}
        called = Batch(said)
        function(f"{self._partition}.0", called)
        moved = told(said, called.thought())
        for at in range(count):
            numbers_of = (moved.headings[at], *moved.position(at), *moved.velocity(at))
            if not all(map(math.isfinite, numbers_of)):
                raise ValueError(f"NPC {at}: heading, position and velocity {numbers_of}: not finite")
        return moved

    # What a context needs.

    def get(self, object: str) -> Object:
        found = self._objects.get(object)
        if found is None:
            raise WarrenError("unknown-object", 404)
        return Object(object, found.kind, found.version, found.owner, dict(found))

    def extend(self, task: Message) -> None:
        pass

    # What becomes of effects.

    def _check(self, effect: Message) -> None:
        if effect["do"] in ("set", "delete"):
            if effect["object"].partition(".")[0] != str(self._partition):
                raise WarrenError("other-partition", 400)
            found = self.get(effect["object"])
            if effect.get("version", found.version) != found.version:
                raise WarrenError("version-conflict", 409)

    def _carry_out(self, effect: Message, user: str, outcome: Outcome) -> None:
        do, id = effect["do"], effect.get("object", "")
        own = {name: value for name, value in effect.items() if name not in _SAID}
        if do == "create":
            outcome.created.append(self.create(effect["kind"], owner=effect.get("owner", user), **own))
        elif do == "emit":
            outcome.sent.append((effect["to"], effect["event"], own))
        elif do == "new-event":
            outcome.scheduled.append((effect["event"], own))
        elif do == "delete":
            del self._objects[id]
        else:
            found = self._objects[id]
            owner = effect.get("owner", found.owner)
            changed = Object(id, found.kind, found.version + 1, owner, dict(found))
            changed.change(own)
            self._objects[id] = changed


def _each(
    count: int, name: str, values: Sequence[_Value], missing: Sequence[_Value]
) -> Sequence[_Value]:
    """One for each NPC: these, or what stands for them when there are none."""
    # An array of numpy has no truth value.
    if len(values) == 0:
        return missing
    if len(values) != count:
        raise ValueError(f"{name} are {len(values)}, and positions {count}")
    return values


def _vector(axes: Sequence[float]) -> tuple[float, float, float]:
    if not 2 <= len(axes) <= 3:
        raise ValueError(f"a place or a way has two numbers, or three: {axes}")
    x, y, z = *axes, *(0.0 for _ in range(3 - len(axes)))
    return x, y, z
