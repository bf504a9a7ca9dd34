"""Requests that wait for their replies."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .errors import WarrenError
from .message import Message

# A server remembers so many ids of a session's requests, and does not do one of them twice. So a
# request leaves only when the oldest without a reply is nearer than that.
IDS_REMEMBERED = 64


@dataclass(frozen=True)
class _Call:
    id: int
    frame: str
    reply: asyncio.Future[Message]


class Calls:
    """The calls of one client, in their order."""

    def __init__(self) -> None:
        # On their way on the connection of now, by id; ids only rise.
        self._sent: dict[int, _Call] = {}
        # Not sent on the connection of now.
        self._waiting: deque[_Call] = deque()
        self.id_next = 1

    def __len__(self) -> int:
        return len(self._sent) + len(self._waiting)

    async def wait(self, frame: str, timeout: float, flush: Callable[[], None]) -> Message:
        """Adds a call, whose frame has the id ``id_next``, and returns its reply."""
        call = _Call(self.id_next, frame, asyncio.get_running_loop().create_future())
        self.id_next += 1
        self._waiting.append(call)
        flush()
        try:
            return await asyncio.wait_for(call.reply, timeout)
        except asyncio.TimeoutError:
            raise WarrenError("call-timeout") from None
        finally:
            # Also when whoever waited was cancelled.
            self._take(call.id)
            flush()

    def flush(self, send: Callable[[str], None]) -> None:
        """Sends what may leave now."""
        while self._waiting:
            call = self._waiting[0]
            oldest = next(iter(self._sent), call.id)
            if call.id - oldest >= IDS_REMEMBERED:
                return
            self._waiting.popleft()
            self._sent[call.id] = call
            send(call.frame)

    def reconnected(self) -> None:
        """The connection is another: what had no reply is sent again."""
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()

    def answer(self, reply: Message) -> bool:
        """Settles the call that a reply belongs to. False when it belongs to none."""
        call = self._take(reply.get("id", 0))
        if call is None:
            return False
        if not call.reply.done():
            call.reply.set_result(reply)
        return True

    def _take(self, id: object) -> _Call | None:
        if isinstance(id, int) and id in self._sent:
            return self._sent.pop(id)
        # Its reply may be among what was missed.
        call = next((call for call in self._waiting if call.id == id), None)
        if call is not None:
            self._waiting.remove(call)
        return call

    def fail(self, error: WarrenError) -> None:
        """Fails every call."""
        calls = [*self._sent.values(), *self._waiting]
        self._sent.clear()
        self._waiting.clear()
        for call in calls:
            if not call.reply.done():
                call.reply.set_exception(error)
