"""Modules of the ConnServer, unchanged but for Python 3: ``message = "name"`` and
``def process(server, socket, msg)``.

What they call becomes the answer, or an effect of the task:

=========================  ===========================================================================
``socket.send(msg)``       the answer, once. A ``status`` other than 0 fails the task, and whoever asked
                           hears ``task-failed``
``socket.uid()``           who asked
``server.room(name)``      the room, also one that is not there
``server.name()``          ``"warren"``
``room.broadcast(msg)``    ``emit`` with ``msg`` as its ``event``; ``from`` is heard as ``user``, and
                           ``to`` and ``status`` are left out
``return False``           fails the task; so does what is raised. It is not tried again
=========================  ===========================================================================

All others raise ``Unsupported``: joining and leaving is the client's, and there is no word to everyone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NoReturn

from warren_client.message import Message, Value

from .context import Context
from .methods import Fail, Method, Reply

# What the server says itself.
_LEFT_OUT = frozenset({"msg", "to", "room", "status", "seq", "event"})


class Unsupported(Exception):
    """What the ConnServer could do, and a worker cannot."""

    def __init__(self, call: str) -> None:
        super().__init__(f"{call} is not supported: see warren.connserver")
        self.call = call


class Socket:
    """Whoever asked."""

    def __init__(self, context: Context, method: str) -> None:
        self._context = context
        self._method = method
        self.answer: dict[str, Value] | None = None

    def uid(self) -> str:
        return self._context.user

    def send(self, msg: Mapping[str, Any]) -> Socket:
        if str(msg.get("msg", self._method)) != self._method:
            raise Unsupported(f"socket.send of {msg.get('msg')!r}, which is no answer,")
        if self.answer is not None:
            raise Unsupported("a second socket.send")
        status = str(msg.get("status", "0"))
        if status != "0":
            raise Fail(f"status {status}", retry=False)
        self.answer = {name: _text(msg[name]) for name in msg if name not in ("msg", "status")}
        return self


class Room:
    """A room, by its name."""

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._name = name

    def broadcast(self, msg: Mapping[str, Any]) -> Room:
        event = str(msg.get("msg", ""))
        fields = {
            "user" if name == "from" else name: _text(msg[name])
            for name in msg
            if name not in _LEFT_OUT
        }
        self._context.room(self._name).send(event, **fields)
        return self

    def add(self, socket: Socket) -> NoReturn:
        raise Unsupported("room.add")

    def remove(self, socket: Socket) -> NoReturn:
        raise Unsupported("room.remove")

    def isMember(self, socket: Socket) -> NoReturn:  # noqa: N802
        raise Unsupported("room.isMember")

    def isEmpty(self) -> NoReturn:  # noqa: N802
        raise Unsupported("room.isEmpty")

    def finalize(self) -> NoReturn:
        raise Unsupported("room.finalize")


class Server:
    """The server, as one task sees it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def name(self) -> str:
        return "warren"

    def room(self, name: str) -> Room:
        return Room(self._context, name)

    def broadcast(self, msg: Mapping[str, Any]) -> NoReturn:
        raise Unsupported("server.broadcast")

    def im(self, msg: Mapping[str, Any]) -> NoReturn:
        raise Unsupported("server.im")

    def addRoom(self, name: str) -> NoReturn:  # noqa: N802
        raise Unsupported("server.addRoom")

    def removeRoom(self, name: str) -> NoReturn:  # noqa: N802
        raise Unsupported("server.removeRoom")


def methods_of(module: ModuleType) -> list[Method]:
    """The module's method, if it is a ConnServer module."""
    message, process = getattr(module, "message", None), getattr(module, "process", None)
    if not isinstance(message, str) or not callable(process):
        return []
    return [Method(message, functools.partial(_process, message, process), retries=False)]


def _process(message: str, process: Any, context: Context, own: Message) -> Reply:
    socket = Socket(context, message)
    msg = {name: _text(value) for name, value in own.items()} | {"msg": message}
    if process(Server(context), socket, msg) is False:
        raise Fail("process returned False", retry=False)
    return socket.answer


def _text(value: object) -> str:
    """As text protocols write it: all values of a ConnServer's message are text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return "|".join(value)
    return str(value)
