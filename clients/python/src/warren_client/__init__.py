"""Client of Warren, a server for multiplayer worlds: calls, events, automatic resume."""

from .backoff import Backoff
from .client import Client, Connecting, State, Ticket, connect
from .errors import WarrenError
from .message import Message, Value
from .view import Entity, Frame
from .world import Refusal, World

__all__ = [
    "Backoff",
    "Client",
    "Connecting",
    "Entity",
    "Frame",
    "Message",
    "Refusal",
    "State",
    "Ticket",
    "Value",
    "WarrenError",
    "World",
    "connect",
]
