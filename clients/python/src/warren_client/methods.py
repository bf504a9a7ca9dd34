"""Replies and messages that every server has, with their types: see ``docs/protocol.md``.

Objects and events have own fields beside those that are named here: a key that no type names is
read with ``message.get("name")``, or by way of ``dict(message)``.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Acknowledgement = Literal["applied", "durable", "replicated"]
"""How far a change has come when its reply is sent."""


class Reply(TypedDict):
    """What every reply has."""

    msg: str
    id: int
    status: int


class TimeReply(Reply):
    time_ms: int


class CreateReply(Reply):
    object: str
    version: int


class _ObjectState(Reply):
    kind: str
    version: int
    owner: str


class ObjectReply(_ObjectState, total=False):
    room: str


class SetReply(Reply):
    version: int


class _Found(Reply):
    objects: list[str]


class FindReply(_Found, total=False):
    after: str


class _Joined(Reply):
    room: str
    members: int


class JoinReply(_Joined, total=False):
    """What is behind ``members``: of a world. See ``Client.join_world``."""

    world: str
    entity: int
    cell: float
    dims: int
    tick_hz: float
    x: float
    y: float
    z: float


class _Users(Reply):
    users: list[str]


class WhoReply(_Users, total=False):
    """``entities``: of a world, in the order of the users, as text."""

    entities: list[str]
    after: str


class _Rooms(Reply):
    rooms: list[str]


class RoomsReply(_Rooms, total=False):
    after: str


class SayReply(Reply, total=False):
    seq: int


# `from` is a word of the language, so these are written as calls.
_Chat = TypedDict("_Chat", {"msg": str, "from": str, "text": str})
_Emit = TypedDict("_Emit", {"msg": str, "from": str, "event": str})


class ChatMessage(_Chat, total=False):
    """Said in a ``room``, with its number there; or ``to`` this user alone."""

    room: str
    to: str
    seq: int


class EmitMessage(_Emit, total=False):
    """As ``chat``, with an event's own fields."""

    room: str
    to: str
    seq: int


class UserMessage(TypedDict):
    """``joined`` and ``left``."""

    msg: str
    room: str
    user: str
    seq: int


class MembersMessage(TypedDict):
    """How many are in a room that is too large to tell of each."""

    msg: str
    room: str
    count: int
    seq: int


class _Changed(TypedDict):
    msg: str
    object: str
    version: int


class ChangedMessage(_Changed, total=False):
    """An object that is watched, or in a room of this user's, has changed."""

    room: str
    seq: int


class _Deleted(TypedDict):
    msg: str
    object: str


class DeletedMessage(_Deleted, total=False):
    room: str
    seq: int
