"""Client of Warren, a server for multiplayer worlds: calls, events, automatic resume."""

from .backoff import Backoff
from .client import Client, Connecting, State, Ticket, connect
from .errors import WarrenError
from .message import Message, Value

__all__ = [
    "Backoff",
    "Client",
    "Connecting",
    "Message",
    "State",
    "Ticket",
    "Value",
    "WarrenError",
    "connect",
]
