"""A world that a client is in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

from .errors import WarrenError, caused, error_of
from .listeners import Listeners
from .message import Message, Value
from .view import Entity, Frame, View

if TYPE_CHECKING:
    from .client import Client, State


@dataclass(frozen=True)
class Refusal:
    """A move that the server has not taken."""

    error: WarrenError
    at: tuple[float, float, float] | None
    """For ``too-fast``: where the entity is instead."""


class World:
    """See ``Client.join_world``.

    ``async for frame in world`` brings each frame when it has been applied; those that come while the
    loop is busy are brought as one. It ends when the client has left, and raises a ``WarrenError``
    when the world has ended for another reason.
    """

    def __init__(self, client: Client, room: str) -> None:
        """Use ``Client.join_world``."""
        self.room = room
        """Its name as a room: to chat, and to ask ``who`` is there."""
        self.object = ""
        """The object's id."""
        self.own_id = -1
        """The number of this client's own entity."""
        self.entrance = (0.0, 0.0, 0.0)
        """Where this client came in."""
        self.cell = 0.0
        """Width of a cell: the client is told of everything within 7/8 of it."""
        self.dims = 2
        self.tick_hz = 0.0
        """Ticks in a second, as it is now."""
        self.tick = -1
        """The tick of the last frame; -1 before the first."""
        self._client = client
        self._view = View()
        self._listeners = Listeners()
        # The last one, until it is refused: it is said again on the next connection.
        self._motion: dict[str, Value] | None = None
        self._ended: WarrenError | None = None
        self._offs = [
            client.on("frame", self._frame),
            client.on("move", self._move_refused),
            client.on("tick-rate", self._tick_rate_changed),
            client.on("lost", lambda cause: self._end(caused("session-lost", cause))),
            client.on("state", self._state_changed),
        ]

    async def _join(self, at: Mapping[str, float]) -> None:
        # It hears before it asks: frames may come in one piece with the reply.
        try:
            reply: Mapping[str, Any] = await self._client.call("join", room=self.room, **at)
            if "world" not in reply:
                await self._client.call("leave", room=self.room)
                raise WarrenError("no-world")
            if self._ended is not None:
                raise self._ended
        except BaseException:
            self._forsake()
            raise
        self.object, self.own_id = reply["world"], reply["entity"]
        self.entrance = (reply["x"], reply["y"], reply.get("z", 0.0))
        self.cell, self.dims, self.tick_hz = reply["cell"], reply["dims"], reply["tick_hz"]

    @property
    def entities(self) -> Mapping[int, Entity]:
        """What is around, by its number: this client's own entity too."""
        return MappingProxyType(self._view.entities)

    @property
    def own(self) -> Entity | None:
        """This client's own entity, as others see it."""
        return self._view.entities.get(self.own_id)

    def move(
        self,
        x: float,
        y: float,
        z: float = 0.0,
        *,
        vx: float = 0.0,
        vy: float = 0.0,
        vz: float = 0.0,
        heading: float = 0.0,
    ) -> None:
        """Says how this client's entity moves: where it is, in units, how fast, in units per second,
        and where it looks, in degrees.

        The last word before a tick counts. While the connection is lost, the last word is kept and
        said on the next one. Raises the ``WarrenError`` of a world that has ended.
        """
        if self._ended is not None:
            raise self._ended
        place = {"x": x, "y": y, "z": z}
        velocity = {"vx": vx, "vy": vy, "vz": vz}
        self._motion = {**place, **velocity, "heading": heading}
        self._say(self._motion)

    # fmt: off
    @overload
    def on(self, name: Literal["frame"], listener: Callable[[Frame], object]) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["refused"], listener: Callable[[Refusal], object]) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["tick_rate"], listener: Callable[[float], object]) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["end"], listener: Callable[[WarrenError], object]) -> Callable[[], None]: ...
    # fmt: on

    def on(self, name: str, listener: Callable[[Any], object]) -> Callable[[], None]:
        """Hears what the world tells; returns what ends it.

        ``frame``: ``entities`` is as it is now. ``refused``: the server has not taken a move.
        ``tick_rate``: the world ticks so often in a second now. ``end``: the client is in this world
        no more, and why; after ``session-lost``, join anew; after ``frame-too-large`` that would end
        the same way.
        """
        return self._listeners.add(name, listener)

    async def __aiter__(self) -> AsyncIterator[Frame]:
        waiting: Frame | None = None
        woken = asyncio.Event()

        def hear(frame: Frame) -> None:
            nonlocal waiting
            waiting = frame if waiting is None else waiting.then(frame)
            woken.set()

        offs = [self.on("frame", hear), self.on("end", lambda _: woken.set())]
        try:
            # What was told before the end is brought before it.
            while waiting is not None or self._ended is None:
                if waiting is None:
                    await woken.wait()
                    woken.clear()
                if waiting is not None:
                    frame, waiting = waiting, None
                    yield frame
        finally:
            for off in offs:
                off()
        if self._ended is not None and self._ended.reason != "left":
            raise self._ended

    async def leave(self) -> None:
        """Leaves the world."""
        if self._ended is None:
            await self._client.call("leave", room=self.room)
            self._end(WarrenError("left"))

    def _say(self, motion: dict[str, Value]) -> None:
        # The server answers only what it refuses; where it does not say the world, it says the `id`.
        self._client.send("move", room=self.room, id=self.room, **motion)

    def _frame(self, message: Message) -> None:
        if message.get("room") == self.room:
            try:
                frame = self._view.apply(message)
            except WarrenError as error:
                # What is around is not known any more, and whatever else came would be as long.
                self._client.send("leave", room=self.room)
                self._end(error)
                return
            if frame is not None:
                self.tick = frame.tick
                self._listeners.emit("frame", frame)

    def _move_refused(self, message: Message) -> None:
        if message.get("room", message.get("id")) != self.room:
            return
        self._motion = None
        at = None
        if "x" in message:
            at = (message["x"], message["y"], message.get("z", 0.0))
        self._listeners.emit("refused", Refusal(error_of(message), at))

    def _tick_rate_changed(self, message: Message) -> None:
        if message.get("room") == self.room:
            self.tick_hz = message["tick_hz"]
            self._listeners.emit("tick_rate", self.tick_hz)

    def _state_changed(self, state: State) -> None:
        if state.state == "closed" and state.error is not None:
            self._end(state.error)
        elif state.state == "connected" and state.resumed and self._motion is not None:
            self._say(self._motion)

    def _end(self, error: WarrenError) -> None:
        self._forsake()
        self._ended = error
        self._listeners.emit("end", error)

    def _forsake(self) -> None:
        for off in self._offs:
            off()
