"""Who hears of what, by name."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

Listener = Callable[[Any], object]


class Listeners:
    """The listeners of a client, or of a world."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    def add(self, name: str, listener: Listener) -> Callable[[], None]:
        """Adds a listener. Returns what takes it away."""
        if inspect.iscoroutinefunction(listener):
            raise TypeError("a listener is a plain function: one that has to wait starts a task")
        listeners = self._listeners.setdefault(name, [])
        listeners.append(listener)

        def off() -> None:
            if listener in listeners:
                listeners.remove(listener)

        return off

    def emit(self, name: str, event: object) -> None:
        """Calls those who hear of that name, in the order in which they came."""
        for listener in list(self._listeners.get(name, ())):
            try:
                listener(event)
            except Exception as fault:
                # Not the client's to handle: it goes where other faults of the application go.
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"a listener of {name!r} failed", "exception": fault}
                )
