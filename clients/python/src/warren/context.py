"""What a method has of its task: what it reads, and what shall happen when it is done."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from warren_client.errors import WarrenError
from warren_client.message import Message, Value, encode

from . import record

# What belongs to the message that says an effect, and so is no own field.
_OF_EFFECTS = frozenset({"msg", "id", "ack", "task", "token", "do"})
# Of the 48 fields of a message: `id`, `task`, `token` and `do` are four.
_FIELDS_MAX = 44
_HEAD = '{"msg":"effect",'
# Room for the head of a message with the three, and its end.
_HEAD_BYTES = 160
# More effects than a task may have on any server.
EFFECTS_MAX = 4000

log = logging.getLogger("warren.methods")

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    # In Python 3.10 it has no parameter.
    _Adapter = logging.LoggerAdapter


class Object(Mapping[str, Any]):
    """An object as it was read: its fields by name, and what ``ctx.set`` has said since."""

    __slots__ = ("_fields", "id", "kind", "owner", "version")

    def __init__(
        self, id: str, kind: str, version: int, owner: str, fields: dict[str, Value]
    ) -> None:
        self.id = id
        self.kind = kind
        self.version = version
        self.owner = owner
        self._fields = fields

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.id} at version {self.version}: {self._fields}>"

    def change(self, fields: Mapping[str, Value]) -> None:
        """The fields become these, here alone: ``ctx.set`` is what changes the object."""
        for name, value in fields.items():
            if value is None or value == "" and name == "room":
                self._fields.pop(name, None)
            else:
                self._fields[name] = value


class Port(Protocol):
    """What a context needs of the worker, or of what stands for one in a test."""

    frame_bytes_max: float

    def get(self, object: str) -> Object:
        """Reads an object. Raises ``WarrenError``."""

    def extend(self, task: Message) -> None:
        """The lease begins anew. Raises ``WarrenError``."""


class Room:
    """A room, by its name: also one that is not there, where nobody hears."""

    __slots__ = ("_context", "name")

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self.name = name

    def send(self, event: str, /, **fields: Value) -> None:
        """The room's members hear ``emit`` with this event and these fields when the task is done."""
        self._context._effect("emit", {"to": self.name, "event": event}, fields)


@dataclass(frozen=True)
class _Change:
    """What becomes of an object."""

    at: int
    """Where in the effects that is said."""
    version: int | None
    """The version at which alone it happens."""
    fields: dict[str, Value] | None
    """None when it is deleted."""

    def said(self, id: str) -> dict[str, Value]:
        return {"object": id} if self.version is None else {"object": id, "version": self.version}


def _version_of(fields: dict[str, Value]) -> int | None:
    """Takes the version out of what is said of an object by its number."""
    if "version" not in fields:
        return None
    version = fields.pop("version")
    if type(version) is not int:
        raise WarrenError("field-invalid", 400)
    return version


class Context:
    """A task that a method does.

    Nothing of what it says happens before the method has returned, and then all of it does, with the
    answer, or nothing. Objects that are changed, made or deleted are those of the task's partition,
    which is that of its ``target``, and otherwise of its user.
    """

    __slots__ = ("_changed", "_log", "_port", "_read", "_task", "effects")

    def __init__(self, task: Message, port: Port) -> None:
        self._task = task
        self._port = port
        self._read: dict[str, Object] = {}
        # By object, what becomes of it. The server takes one change of an object in one task.
        self._changed: dict[str, _Change] = {}
        self._log: logging.LoggerAdapter[logging.Logger] | None = None
        self.effects: list[str] = []
        """What shall happen: ``effect`` messages in JSON, without what is before ``do``."""

    @property
    def user(self) -> str:
        """Whoever asked."""
        return str(self._task["user"])

    @property
    def attempt(self) -> int:
        """1 at first."""
        return int(self._task["attempt"])

    @property
    def task(self) -> str:
        """The task's object id, the same in all attempts."""
        return str(self._task["task"])

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """Writes lines that say which task they are about."""
        if self._log is None:
            self._log = _TaskLog(log, self._task)
        return self._log

    def read(self, id: str) -> Object:
        """The object as it is now, and always the same one within a task.

        The task's target is there without a request. Others are asked for, which needs the role
        ``user``. Raises ``WarrenError``: ``unknown-object`` when it is not there.
        """
        known = self._read.get(id)
        if known is None:
            is_target = id == self._task.get("target", self._task.get("object"))
            known = self._target(id) if is_target else self._port.get(id)
            self._read[id] = known
        return known

    def _target(self, id: str) -> Object:
        if "target_record" not in self._task:
            raise WarrenError("unknown-object", 404)
        kind, fields = record.decode(self._task["target_record"])
        owner = str(fields.pop("owner", None) or "")
        return Object(id, kind, self._task["target_version"], owner, fields)

    def set(self, object: Object | str, /, **fields: Value) -> None:
        """The object's fields become these; None removes one. ``room`` and ``owner`` are fields too.

        Of an object that was read this holds only while it is at that version: when somebody has
        changed it meanwhile the task is tried again. By its number alone it is changed as it is, or
        with ``version`` only at that one. What was said of the version holds for all of the object.
        """
        if isinstance(object, str):
            id, version = object, _version_of(fields)
        elif "version" in fields:
            raise WarrenError("reserved-field", 400)
        else:
            id, version = object.id, object.version
        change = self._change(id, version)
        if change.fields is None:
            raise WarrenError("unknown-object", 404)
        change = replace(change, fields=change.fields | fields)
        self._effect("set", change.said(id), change.fields or {}, change.at)
        self._changed[id] = change
        if not isinstance(object, str):
            object.change(fields)

    def _change(self, id: str, version: int | None) -> _Change:
        """What becomes of an object of which something more is said, at this version."""
        change = self._changed.get(id)
        if change is None:
            return _Change(len(self.effects), version, {})
        if version is None or change.version == version:
            return change
        if change.version is not None:
            raise WarrenError("version-conflict", 409)
        return replace(change, version=version)

    def create(self, kind: str, /, **fields: Value) -> None:
        """An object is made in the task's partition, in a ``room`` if that is named.

        It belongs to whoever asked, and they may change it, or to the ``owner`` that is named: with an empty
        one to the server, and no player changes it.
        """
        self._effect("create", {"kind": kind}, fields)

    def delete(self, object: Object | str, /) -> None:
        """The object is deleted, one that was read only at that version. What was to become of it before
        does not.
        """
        if isinstance(object, str):
            id, version = object, None
        else:
            id, version = object.id, object.version
        change = replace(self._change(id, version), fields=None)
        self._effect("delete", change.said(id), {}, change.at)
        self._changed[id] = change

    def room(self, name: str) -> Room:
        """A room, anywhere, to say something in."""
        return Room(self, name)

    def schedule(
        self,
        event: str,
        /,
        *,
        delay_ms: int | None = None,
        at_ms: int | None = None,
        **fields: Value,
    ) -> None:
        """The method of that name is asked for later: so long after this task is done, or at this time in
        milliseconds since 1970. It is the user's, with these fields; with a ``target`` in that object's
        partition, otherwise in the task's own. Under a ``key`` that is known there, also this task's own, none
        is made: it is there already.

        In the task's own partition it is there if and only if the task is done. Another partition is asked
        when that has happened, once: it may refuse, when it is full.
        """
        if (delay_ms is None) == (at_ms is None):
            raise WarrenError("field-invalid", 400)
        when = {"at_ms": at_ms} if delay_ms is None else {"delay_ms": delay_ms}
        if "time" in fields:
            raise WarrenError("reserved-field", 400)
        self._effect("new-event", {"event": event, **when}, fields)

    def extend(self) -> None:
        """The time of the attempt begins anew: for what takes longer than ``limit_ms``.

        Raises ``WarrenError`` with ``lease-lost`` when it is over: then another worker has the task.
        """
        self._port.extend(self._task)

    def _effect(
        self,
        do: str,
        said: Mapping[str, Value],
        fields: Mapping[str, Value],
        at: int | None = None,
    ) -> None:
        """Checks what it can before anything is sent, so that what is wrong is told where it is said."""
        for name in fields:
            if name in _OF_EFFECTS or name in said:
                raise WarrenError("reserved-field", 400)
        if len(said) + len(fields) > _FIELDS_MAX:
            raise WarrenError("too-many-fields", 400)
        text = encode("effect", {"do": do, **said, **fields})[len(_HEAD) :]
        if not fits(text, self._port.frame_bytes_max):
            raise WarrenError("frame-too-large", 413, "protocol.frame_bytes_max")
        at = len(self.effects) if at is None else at
        if at == EFFECTS_MAX:
            raise WarrenError("effects-too-large", 413)
        self.effects[at : at + 1] = [text]


def fits(text: str, frame_bytes_max: float) -> bool:
    """Whether the rest of a message does, with `msg`, `id`, `task` and `token` before it."""
    room = frame_bytes_max - _HEAD_BYTES
    # A character has four bytes at most.
    return len(text) * 4 <= room or len(text.encode()) <= room


class _TaskLog(_Adapter):
    """Says before each line which task it is about."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        task = self.extra or {}
        return f"{task['method']} {task['task']} of {task['user']}: {msg}", kwargs
