"""Behaviours: functions that move NPCs, many at a time, with arrays that numpy can use and nobody needs."""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar

from warren_client.message import Message, check_name

from .marks import check_text, mark, marked

Function = Callable[[str, "Batch"], None]
"""What moves NPCs: it is given the object id of their world, and the NPCs."""

_Decorated = TypeVar("_Decorated", bound=Callable[[str, "Batch"], object])
_Number = TypeVar("_Number", int, float)

# Behaviours that the server has itself: it takes none of these names.
BUILT_IN = frozenset({"wander", "patrol", "seek", "flee", "flock"})

# A batch is as the server sends it: arrays, one after the other, that begin where their values may. Bytes of
# one NPC in each, and what is before the first array of 64 bits is a multiple of this.
_ALIGNMENT = 8
_NUMBER, _FLOAT, _VECTOR, _STATE = 2, 4, 12, 8
# Its heading, position and velocity.
_MOVED = _FLOAT + 2 * _VECTOR
_WRITTEN = ("headings", "positions", "velocities", "states")


def _padding(length: int) -> int:
    return -length % _ALIGNMENT


def _three(array: memoryview[float], at: int) -> tuple[float, float, float]:
    """The vector of an array at this index."""
    if not 0 <= 3 * at < len(array):
        raise IndexError(f"there is no NPC {at}: there are {len(array) // 3}")
    x, y, z = array[3 * at : 3 * at + 3]
    return x, y, z


def _to_read(view: memoryview[_Number]) -> memoryview[_Number]:
    return view.toreadonly()  # type: ignore[return-value]


class Batch:
    """NPCs of one world that have a behaviour. What stands at one index of the arrays is one NPC's.

    Of vectors the arrays have three numbers for each NPC, one after the other:
    ``numpy.frombuffer(batch.positions, dtype="f4").reshape(-1, 3)`` shares them and copies nothing. They are
    written into, and never replaced.
    """

    __slots__ = (
        *("_data", "_is_whole", "_members", "dims", "headings", "home", "members", "numbers", "positions"),
        *("radius", "seconds", "speed", "states", "tick", "velocities"),
    )

    def __init__(self, said: Message) -> None:
        """``said``: the server's ``think``."""
        self.tick: int = said["tick"]
        """Of the world, for which they are moved."""
        self.speed: float = said["speed"]
        """Units in a second."""
        self.radius: float = said["radius"]
        """They live in a circle (in 3D: a ball) of this radius"""
        self.home: tuple[float, float, float] = struct.unpack("<3f", said["home"])
        """around this place."""
        self.dims: int = said["dims"]
        """2 or 3."""
        # Floats behind numbers of 16 bits and what pads them, states of 64 bits at the end.
        count: int = said["count"]
        self._data = memoryview(bytearray(said["batch"]))
        at = count * _NUMBER
        self.numbers: memoryview[int] = _to_read(self._data[:at].cast("H"))
        """Which they are among the world's entities. To read."""
        at += _padding(at)
        floats = self._data[at : at + count * (_FLOAT + _MOVED)].cast("f")
        self.seconds: memoryview[float] = _to_read(floats[:count])
        """Since each was last moved: 1 at most. To read."""
        self.headings: memoryview[float] = floats[count : 2 * count]
        """Degrees."""
        self.positions: memoryview[float] = floats[2 * count : 5 * count]
        """Where they are. In 2D what is third is 0."""
        self.velocities: memoryview[float] = floats[5 * count :]
        """Units in a second, for whoever draws them between two frames."""
        self.states: memoryview[int] = self._data[-count * _STATE :].cast("Q")
        """64 bits of each, the behaviour's own; random when the NPC comes to be."""
        members = array("f")
        members.frombytes(said["members"])
        self.members: memoryview[float] = _to_read(memoryview(members))
        """Where members are who are within ``radius`` and one cell of ``home``: 64 at most. To read."""
        # Of `members`, when they are first asked for.
        self._members: list[tuple[float, float, float]] = []
        self._is_whole = True

    def __setattr__(self, name: str, value: object) -> None:
        # Another array in the place of one is none that the server is told of.
        if hasattr(self, "_is_whole"):
            how = "" if name not in _WRITTEN else f": write into it, as batch.{name}[:] = …"
            raise AttributeError(f"batch.{name} cannot be replaced{how}")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"<warren.Batch of {len(self)} NPCs for tick {self.tick}>"

    def __len__(self) -> int:
        return len(self.numbers)

    def position(self, at: int) -> tuple[float, float, float]:
        """Where that NPC is."""
        return _three(self.positions, at)

    def velocity(self, at: int) -> tuple[float, float, float]:
        """How that NPC goes."""
        return _three(self.velocities, at)

    def nearest_member(self, at: int) -> tuple[float, float, float] | None:
        """Where the one of ``members`` is who is nearest to that NPC. None: there are none."""
        if not self.members:
            return None
        if not self._members:
            axes = iter(self.members)
            self._members.extend(zip(axes, axes, axes, strict=True))
        here = self.position(at)
        return min(self._members, key=lambda place: math.dist(here, place))

    def go_to(self, at: int, place: Sequence[float]) -> None:
        """That NPC goes to this place as fast as it may, looks there, and stops when it is there.

        Of a place with two numbers the third is the NPC's own.
        """
        here = self.position(at)
        if not 2 <= len(place) <= 3:
            raise ValueError(f"a place has two numbers, or three: {place}")
        x, y, z = *place, *here[len(place) :]
        distance = math.dist(here, (x, y, z))
        if distance == 0 or self.speed <= 0:
            self.stand(at)
            return
        way = x - here[0], y - here[1], z - here[2]
        self.headings[at] = math.degrees(math.atan2(way[1], way[0]))
        if distance > self.speed * self.seconds[at]:
            for axis in range(3):
                self.velocities[3 * at + axis] = way[axis] * self.speed / distance
            self.go_on(at)
        else:
            for axis, value in enumerate((x, y, z)):
                self.positions[3 * at + axis] = value
            self.stand(at)

    def go_on(self, at: int) -> None:
        """That NPC goes on by its velocity."""
        seconds = self.seconds[at]
        for axis in range(3 * at, 3 * at + 3):
            self.positions[axis] += self.velocities[axis] * seconds

    def stand(self, at: int) -> None:
        """That NPC stands where it is."""
        for axis in range(3 * at, 3 * at + 3):
            self.velocities[axis] = 0.0

    def thought(self) -> bytes:
        """What the server is told of them: headings, positions, velocities, states."""
        count = len(self)
        states_at = len(self._data) - count * _STATE
        moved = self._data[states_at - count * _MOVED : states_at]
        return b"".join((moved, bytes(_padding(len(moved))), self._data[states_at:]))


def told(said: Message, thought: bytes) -> Batch:
    """What was asked for, as it is after this answer."""
    count: int = said["count"]
    whole: bytes = said["batch"]
    moved = thought[: count * _MOVED] + thought[len(thought) - count * _STATE :]
    return Batch(said | {"batch": whole[: len(whole) - len(moved)] + moved})


def batch_bytes(
    numbers: Sequence[int],
    seconds: Sequence[float],
    headings: Sequence[float],
    positions: Sequence[float],
    velocities: Sequence[float],
    states: Sequence[int],
) -> bytes:
    """Arrays as the server sends them."""
    first = struct.pack(f"<{len(numbers)}H", *numbers)
    floats = [*seconds, *headings, *positions, *velocities]
    rest = struct.pack(f"<{len(floats)}f{len(states)}Q", *floats, *states)
    return first + bytes(_padding(len(first))) + rest


@dataclass(frozen=True)
class Behaviour:
    """A function, and the name by which worlds name it in ``npcs``."""

    name: str
    function: Function


def behaviour(name: str) -> Callable[[_Decorated], _Decorated]:
    """Makes a function move the NPCs of this behaviour: ``def wolves(world, batch)``.

    It is called for some of one world and one entry of ``npcs``, and for each at most once in a tick.
    ``world`` is the world's object id, ``batch`` a ``Batch``: what the function writes there is where they
    are from then on. Raises ``ValueError`` for the name of a behaviour that the server has itself.
    """
    check_text(name, "behaviour")
    check_name(name)
    if name in BUILT_IN:
        raise ValueError(f"{name} is a behaviour of the server's own: take another name")
    if sys.byteorder != "little":
        raise RuntimeError("behaviours need a little-endian machine: the server's arrays are so")

    def decorate(function: _Decorated) -> _Decorated:
        mark(function, "behaviour", "(world, batch)", Behaviour(name, function))  # type: ignore[arg-type]
        return function

    return decorate


def behaviours_of(module: ModuleType) -> list[Behaviour]:
    """The behaviours that stand in a module."""
    return marked(module, "behaviour", Behaviour)
