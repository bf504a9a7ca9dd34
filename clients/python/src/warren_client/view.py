"""What a member of a world knows of it, by its frames: see ``docs/protocol.md``, "Worlds"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import WarrenError
from .message import Message

_FRAME_CHARACTERS_MAX = 16 * 1024 * 1024
"""So many characters of a frame that comes in several messages are kept: 256 for each entity that a
world can have. See ``docs/protocol.md``.
"""

Cell = tuple[int, ...]
"""The coordinates of a cell: as many as the world has dimensions."""


@dataclass(frozen=True, slots=True)
class Entity:
    """Something with a position in a world, as the member was last told of it."""

    id: int
    """Its number in this world. Given again some time after it has gone."""
    x: float
    """In the world's units; ``z`` is 0 in a flat world."""
    y: float
    z: float
    vx: float
    """In units per second. The server moves nothing by it."""
    vy: float
    vz: float
    heading: float
    """In degrees, from 0."""
    cell: Cell
    """The cell in which it is."""
    tick: int
    """The tick by which it was told."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a frame has changed."""

    tick: int
    """The number of the tick. Numbers are skipped where nothing has changed."""
    centre: Cell
    """The cell around which the member is told of everything."""
    is_whole: bool
    """It told everything anew: the first one is so, and whichever follows on a gap."""
    updated: frozenset[int]
    """The entities that were told: those that are new or have changed, and at times others."""
    gone: frozenset[int]
    """The entities that were known and are not any more: out of view, or gone from the world."""

    def then(self, later: Frame) -> Frame:
        """Both as if they were one."""
        return Frame(
            later.tick,
            later.centre,
            self.is_whole or later.is_whole,
            (self.updated - later.gone) | later.updated,
            (self.gone - later.updated) | later.gone,
        )


@dataclass(frozen=True, slots=True)
class _Section:
    cell: Cell
    is_key: bool
    """It says all that is in its cell."""
    told: Sequence[tuple[int, Entity | None]]
    """Its entities as they are now; none for one that is gone from the world."""


class View:
    """The entities around a member."""

    def __init__(self) -> None:
        self.entities: dict[int, Entity] = {}
        # Whether a frame that more belongs to is whole, what has come of it, and the characters of that.
        self._begun: tuple[bool, list[Any], int] | None = None

    def apply(self, message: Message) -> Frame | None:
        """Applies a ``frame``: all of it or, when it raises, nothing. One that comes in several
        messages is applied with the last of them: the others bring nothing. Raises ``ValueError``
        when it is none, ``WarrenError`` with ``frame-too-large`` when more comes of it than is kept.
        """
        is_whole = message.get("whole") is True
        # A whole one says all there is: what had begun before it was cut off.
        begun, self._begun = None if is_whole else self._begun, None
        tick, cells = message.get("tick"), message.get("cells")
        if not isinstance(tick, int) or not isinstance(cells, list):
            raise ValueError("the message is no frame")
        has_more = message.get("more") is True
        if begun is not None or has_more:
            is_whole, kept, characters = begun or (is_whole, [], 0)
            characters += _length(cells)
            if characters > _FRAME_CHARACTERS_MAX:
                raise WarrenError("frame-too-large")
            kept.extend(cells)
            if has_more:
                self._begun = is_whole, kept, characters
                return None
            cells = kept
        centre = _cell(str(message.get("cell")).split(":"))
        if len(centre) not in (2, 3):
            raise ValueError("a frame has no centre")
        sections = [_section(text, len(centre), tick) for text in cells]
        before = frozenset(self.entities)
        told = self._tell(centre, is_whole, sections)
        known = frozenset(self.entities)
        return Frame(tick, centre, is_whole, known & told, before - known)

    def _tell(self, centre: Cell, is_whole: bool, sections: Iterable[_Section]) -> set[int]:
        """Brings the entities that were told."""
        told: set[int] = set()
        self._forget(lambda each: is_whole or not _touches(each.cell, centre))
        for section in sections:
            if section.is_key:
                self._forget(lambda each: each.cell == section.cell)  # noqa: B023
            for number, entity in section.told:
                if entity is None or not _touches(entity.cell, centre):
                    self.entities.pop(number, None)
                else:
                    told.add(number)
                    self.entities[number] = entity
        return told

    def _forget(self, is_meant: Callable[[Entity], bool]) -> None:
        for entity in [each for each in self.entities.values() if is_meant(each)]:
            del self.entities[entity.id]


def _length(sections: Sequence[object]) -> int:
    """Characters of sections. Each counts as one more, so that nothing is kept for nothing."""
    return sum(len(_text_of(section)) + 1 for section in sections)


def _text_of(section: object) -> str:
    if not isinstance(section, str):
        raise ValueError("a frame's section is no text")
    return section


def _section(text: object, dims: int, tick: int) -> _Section:
    head, *parts = _text_of(text).split(" ")
    cell = _cell(head.removeprefix("*").split(":"))
    if len(cell) != dims:
        raise ValueError("a frame's section has no cell")
    told: list[tuple[int, Entity | None]] = []
    for part in parts:
        number, *rest = part.removeprefix("-").split(":")
        if not part.startswith("-"):
            told.append((int(number), _entity(int(number), cell, rest, tick)))
        elif rest:
            now = _cell(rest[:dims])
            told.append((int(number), _entity(int(number), now, rest[dims:], tick)))
        else:
            told.append((int(number), None))
    return _Section(cell, head.startswith("*"), told)


def _cell(coordinates: Sequence[str]) -> Cell:
    return tuple(int(coordinate) for coordinate in coordinates)


def _touches(cell: Cell, centre: Cell) -> bool:
    return all(abs(at - middle) <= 1 for at, middle in zip(cell, centre, strict=True))


def _entity(entity: int, cell: Cell, state: Sequence[str], tick: int) -> Entity:
    """``state``: position, velocity and heading, in as many dimensions as the cell."""
    numbers = [float(number) for number in state]
    if len(cell) == 2:
        x, y, vx, vy, heading = numbers
        return Entity(entity, x, y, 0.0, vx, vy, 0.0, heading, cell, tick)
    x, y, z, vx, vy, vz, heading = numbers
    return Entity(entity, x, y, z, vx, vy, vz, heading, cell, tick)
