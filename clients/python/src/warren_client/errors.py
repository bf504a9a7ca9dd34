"""Why a call failed or a client ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class WarrenError(Exception):
    """A refusal by the server, or a fault of which the client tells.

    ``reason`` is one word: one of the server's, listed in ``docs/protocol.md``, or

    - ``call-timeout``: no reply came in time. The server may have done it, or may yet do it.
    - ``session-lost``: the session ended before the reply came. The server may have done it.
    - ``connect-failed``: the server was not reached, or did not answer in time.
    - ``queue-full``: too many calls wait for their replies.
    - ``client-closed``: the client was closed.
    - ``no-world``: the room that was to be joined as a world has no space.
    - ``frame-too-large``: a frame of the world was longer than any that a client keeps, so it has
      left.
    - ``left``: the client has left the world.

    ``status`` is the server's code, HTTP's where one fits; 0 when the client itself tells of the
    fault. ``limit`` is the configuration key of the limit that was hit.
    """

    def __init__(self, reason: str, status: int = 0, limit: str | None = None) -> None:
        super().__init__(reason if limit is None else f"{reason} ({limit})")
        self.reason = reason
        self.status = status
        self.limit = limit


def caused(reason: str, cause: BaseException | str) -> WarrenError:
    """An error of the client's own, and what it came from."""
    error = WarrenError(reason)
    error.__cause__ = cause if isinstance(cause, BaseException) else ConnectionError(cause)
    return error


def error_of(message: Mapping[str, Any]) -> WarrenError:
    """What a message of the server's says."""
    return WarrenError(
        message.get("error", "malformed"), message.get("status", 0), message.get("limit")
    )
