"""What a member of a world knows of it, by its frames: see ``docs/protocol.md``, "Worlds"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .message import Message

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


class View:
    """The entities around a member."""

    def __init__(self) -> None:
        self.entities: dict[int, Entity] = {}

    def apply(self, message: Message) -> Frame:
        """Applies a ``frame``. Raises ``ValueError`` when it is none."""
        tick, sections = message.get("tick"), message.get("cells")
        if not isinstance(tick, int) or not isinstance(sections, list):
            raise ValueError("the message is no frame")
        centre = _cell(str(message.get("cell")).split(":"))
        is_whole = message.get("whole") is True
        before = frozenset(self.entities)
        told: set[int] = set()
        self._forget(
            each
            for each in list(self.entities.values())
            if is_whole or not _touches(each.cell, centre)
        )
        for section in sections:
            head, *parts = section.split(" ")
            cell = _cell(head.removeprefix("*").split(":"))
            if head.startswith("*"):
                self._forget(each for each in list(self.entities.values()) if each.cell == cell)
            for part in parts:
                number, *rest = part.removeprefix("-").split(":")
                now: Cell | None = cell
                if part.startswith("-"):
                    now = _cell(rest[: len(centre)]) if rest else None
                    rest = rest[len(centre) :]
                if now is None or not _touches(now, centre):
                    self.entities.pop(int(number), None)
                else:
                    told.add(int(number))
                    self.entities[int(number)] = _entity(int(number), now, rest, tick)
        known = frozenset(self.entities)
        return Frame(tick, centre, is_whole, known & told, before - known)

    def _forget(self, entities: Iterable[Entity]) -> None:
        for entity in entities:
            del self.entities[entity.id]


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
