"""A session with a server, which outlives its connections."""

from __future__ import annotations

import asyncio
import inspect
import random
import ssl
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, overload

from . import methods
from .backoff import Backoff
from .calls import Calls
from .errors import WarrenError, caused, error_of
from .listeners import Listeners
from .message import Message, Value, decode, encode
from .session import Session
from .transport import Transport, opener
from .world import World

_PROTOCOL_VERSION = 1
_CLIENT_NAME = "warren-client-python/0.1.0"
_HEARTBEAT = 10.0
# How long `close` waits for the server's answer.
_CLOSE_TIMEOUT = 2.0

# Methods whose messages no server counts: they belong to a connection.
_UNCOUNTED = frozenset({"hello", "login", "resume", "ping", "pong", "error", "closed", "frame"})
# A connection that is closed for one of these is not opened again.
_FINAL = frozenset({"displaced", "taken-over", "kicked", "banned", "quit"})
# A session of which a server says this is gone.
_SESSION_GONE = frozenset({"session-unknown", "resume-too-old"})

Ticket = str | Callable[[], str | Awaitable[str]]
"""A ticket, or what fetches one: it is asked again at each login, since tickets expire."""


@dataclass(frozen=True)
class State:
    """What a client is doing."""

    state: Literal["connecting", "connected", "reconnecting", "closed"]
    resumed: bool = False
    """Connected: it is the session of before."""
    replayed: int = 0
    """Connected: so many missed messages follow."""
    delay: float = 0.0
    """Reconnecting: seconds until the next attempt."""
    error: WarrenError | None = None
    """Reconnecting or closed: why."""


@dataclass(frozen=True)
class Options:
    """How to connect, and with which bounds. Times are in seconds."""

    user: str | None = None
    ticket: Ticket | None = None
    tls: ssl.SSLContext | None = None
    call_timeout: float = 30.0
    connect_timeout: float = 10.0
    calls_max: int = 1_000
    backoff: Backoff = Backoff()


class _Lost(Exception):
    """The connection is of no more use."""

    def __init__(self, error: WarrenError, is_final: bool = False) -> None:
        super().__init__(error.reason)
        self.error = error
        self.is_final = is_final


class Connecting:
    """A client that connects: to be awaited, or entered with ``async with``."""

    def __init__(self, url: str, options: Options) -> None:
        self._url = url
        self._options = options
        self._client: Client | None = None

    async def _connect(self) -> Client:
        client = Client(self._url, self._options)
        await client._open()
        return client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._connect().__await__()

    async def __aenter__(self) -> Client:
        self._client = await self._connect()
        return self._client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._client is not None
        await self._client.close()


def connect(
    url: str,
    *,
    user: str | None = None,
    ticket: Ticket | None = None,
    tls: ssl.SSLContext | None = None,
    call_timeout: float = 30.0,
    connect_timeout: float = 10.0,
    calls_max: int = 1_000,
    backoff: Backoff = Backoff(),  # noqa: B008
) -> Connecting:
    """Connects and logs in: ``client = await connect(…)``, or ``async with connect(…) as client``.

    From then on the client resumes its session whenever its connection breaks. The URL begins with
    ``tcp``, ``tls``, ``ws`` or ``wss``; the latter two need the extra ``websocket``. ``user`` may be
    missing where a ticket says it. Raises ``WarrenError`` when the server is not reached, or refuses.

    ``call_timeout`` is the longest time for a reply, lost connections included, in seconds;
    ``connect_timeout`` that to connect and log in or resume. At most ``calls_max`` calls wait for
    their replies: one more fails with ``queue-full``.
    """
    options = Options(user, ticket, tls, call_timeout, connect_timeout, calls_max, backoff)
    return Connecting(url, options)


class Client:
    """See ``connect``."""

    def __init__(self, url: str, options: Options) -> None:
        self._url = url
        self._options = options
        self._listeners = Listeners()
        self._calls = Calls()
        self._state = State("connecting")
        self._transport: Transport | None = None
        # While a connection is not served yet: what opens it and logs in.
        self._reaching: asyncio.Task[Transport] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = False
        # Set: do not wait for the next attempt.
        self._hurry = asyncio.Event()
        # Attempts to connect since a session was last served.
        self._attempts = 0
        self._session: Session | None = None
        # Counted messages of the session, over all its connections.
        self._received = 0
        # Missed messages that are still to come; what has no reply is sent again behind them.
        self._replaying = 0
        self._heartbeat = _HEARTBEAT
        self._frame_bytes_max: float = float("inf")
        self._own_object = ""
        # Why the last session is gone, until there is a new one.
        self._lost: WarrenError | None = None
        self._is_closing = False
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    async def _open(self) -> None:
        opener(self._url, self._options.tls).close()
        self._task = asyncio.create_task(self._run())
        try:
            await asyncio.shield(self._opened)
        except asyncio.CancelledError:
            self._is_closing = True
            self._task.cancel()
            raise

    @property
    def state(self) -> State:
        """What the client is doing; the event ``state`` tells of each change."""
        return self._state

    @property
    def own_object(self) -> str:
        """The id of the user's own object."""
        return self._own_object

    # fmt: off
    @overload
    async def call(self, method: Literal["ping", "time"], /) -> methods.TimeReply: ...
    @overload
    async def call(self, method: Literal["create"], /, *, kind: str, **fields: Value) -> methods.CreateReply: ...
    @overload
    async def call(self, method: Literal["get", "watch"], /, *, object: str) -> methods.ObjectReply: ...
    @overload
    async def call(self, method: Literal["set"], /, *, object: str, **fields: Value) -> methods.SetReply: ...
    @overload
    async def call(self, method: Literal["delete"], /, *, object: str, ack: methods.Acknowledgement = ...) -> methods.Reply: ...
    @overload
    async def call(self, method: Literal["unwatch"], /, *, object: str) -> methods.Reply: ...
    @overload
    async def call(self, method: Literal["find"], /, *, kind: str, **fields: Value) -> methods.FindReply: ...
    @overload
    async def call(self, method: Literal["join"], /, *, room: str, **at: float) -> methods.JoinReply: ...
    @overload
    async def call(self, method: Literal["leave"], /, *, room: str) -> methods.Reply: ...
    @overload
    async def call(self, method: Literal["who"], /, *, room: str, entity: int = ..., count: int = ..., after: str = ...) -> methods.WhoReply: ...
    @overload
    async def call(self, method: Literal["rooms"], /, *, count: int = ..., after: str = ...) -> methods.RoomsReply: ...
    @overload
    async def call(self, method: Literal["chat"], /, *, to: str, text: str) -> methods.SayReply: ...
    @overload
    async def call(self, method: Literal["emit"], /, *, to: str, event: str, **fields: Value) -> methods.SayReply: ...
    @overload
    async def call(self, method: str, /, **fields: Value) -> Mapping[str, Any]: ...
    # fmt: on

    async def call(self, method: str, /, **fields: Value) -> Any:
        """Calls a method and returns its reply.

        While the connection is lost the call waits; one that had no reply when it was lost is sent
        again, and not done twice. Raises ``WarrenError`` with the server's reason, or one of the
        client's.
        """
        if self._state.error is not None and self._state.state == "closed":
            raise self._state.error
        if len(self._calls) >= self._options.calls_max:
            raise WarrenError("queue-full")
        if "id" in fields:
            raise WarrenError("reserved-field")
        frame = self._encode(method, {**fields, "id": self._calls.id_next})
        reply = await self._calls.wait(frame, self._options.call_timeout, self._flush)
        if reply["status"] != 0:
            raise error_of(reply)
        return reply

    def send(self, method: str, /, **fields: Value) -> bool:
        """Sends what has no reply, such as a ``move``, on the connection of now.

        False when there is none: then it is not sent. Raises ``WarrenError`` with the server's
        reason, when it would refuse the message.
        """
        frame = self._encode(method, fields)
        if self._state.state != "connected" or self._transport is None:
            return False
        self._transport.send(frame)
        return True

    def _encode(self, method: str, fields: Mapping[str, Value]) -> str:
        frame = encode(method, fields)
        # Its end is counted too.
        if len(frame.encode()) >= self._frame_bytes_max:
            raise WarrenError("frame-too-large")
        return frame

    async def join_world(self, room: str, **at: float) -> World:
        """Joins a world, at ``x``, ``y`` and ``z``, or at its spawn point where they are missing.

        In a world with a ``speed_max`` all come in at the spawn point. A world is a room with positions, made by ``create`` with ``kind="world"``. Raises
        ``WarrenError`` with the server's reason, or one of the client's.
        """
        world = World(self, room)
        await world._join(at)
        return world

    # fmt: off
    @overload
    def on(self, name: Literal["state"], listener: Callable[[State], object]) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["lost"], listener: Callable[[WarrenError], object]) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["chat"], listener: Callable[[methods.ChatMessage], object]) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["emit"], listener: Callable[[methods.EmitMessage], object]) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["joined", "left"], listener: Callable[[methods.UserMessage], object]) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["members"], listener: Callable[[methods.MembersMessage], object]) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["changed"], listener: Callable[[methods.ChangedMessage], object]) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["deleted"], listener: Callable[[methods.DeletedMessage], object]) -> Callable[[], None]: ...
    @overload
    def on(self, name: str, listener: Callable[[Any], object]) -> Callable[[], None]: ...
    # fmt: on

    def on(self, name: str, listener: Callable[[Any], object]) -> Callable[[], None]:
        """Hears messages of a method, or the client's own ``state`` and ``lost``.

        ``state`` brings a ``State``. ``lost`` brings a ``WarrenError``: the session was gone, and
        there is a new one, no longer in any room, watching nothing, and what was said meanwhile is
        lost. Join again.

        Listeners are plain functions, called in the order of the messages, before the calls that
        wait for a reply go on; one that has to wait starts a task. Returns what ends it.
        """
        return self._listeners.add(name, listener)

    def reconnect(self) -> None:
        """Drops the connection and resumes at once: for when the network is known to be another."""
        if self._is_closing or self._state.state not in ("connected", "reconnecting"):
            return
        self._hurry.set()
        if self._reaching is not None:
            self._reaching.cancel()
        if self._transport is not None:
            self._transport.close()

    async def close(self) -> None:
        """Ends the session and the client. Returns when both are at their end."""
        if self._task is None or self._state.state == "closed":
            return
        self._is_closing = True
        if self._state.state == "connected" and self._transport is not None:
            self._transport.send(encode("quit", {}))
            await asyncio.wait([self._task], timeout=_CLOSE_TIMEOUT)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._end(WarrenError("client-closed"))

    async def _run(self) -> None:
        try:
            # Up to Python 3.11 `wait_for` may pass over that the task is cancelled.
            while not self._is_closing:
                self._hurry.clear()
                self._attempts += 1
                lost = await self._connection()
                self._calls.reconnected()
                self._replaying = 0
                if self._is_closing:
                    break
                if self._is_final(lost) or not self._opened.done():
                    self._end(lost.error)
                    return
                delay = self._options.backoff.delay(self._attempts, random.random())
                self._set_state(State("reconnecting", error=lost.error, delay=delay))
                try:
                    await asyncio.wait_for(self._hurry.wait(), delay)
                    self._attempts = 0
                except asyncio.TimeoutError:
                    pass
            self._end(WarrenError("client-closed"))
        except asyncio.CancelledError:
            self._end(WarrenError("client-closed"))
            raise
        except BaseException as fault:
            # A fault of the client itself: nobody may wait for it in vain.
            self._end(caused("connect-failed", fault))
            raise

    def _is_final(self, lost: _Lost) -> bool:
        # A resume of its own that it had given up may have taken the session over.
        is_own = lost.error.reason == "taken-over" and not (
            self._session is None or self._session.is_settled
        )
        return lost.is_final or (lost.error.reason in _FINAL and not is_own)

    async def _connection(self) -> _Lost:
        """One connection, from its opening to its end."""
        # From its opening to its serving there is one bound, whatever it is that takes so long.
        reaching = self._reaching = asyncio.create_task(self._reach())
        try:
            await asyncio.wait([reaching], timeout=self._options.connect_timeout)
            reaching.cancel()
            await asyncio.wait([reaching])
            if reaching.cancelled():
                return _Lost(caused("connect-failed", "it was not served in time"))
            transport = reaching.result()
            while True:
                await self._take(transport)
        except _Lost as lost:
            return lost
        except (OSError, ValueError) as fault:
            return _Lost(caused("connect-failed", fault))
        finally:
            reaching.cancel()
            if self._timer is not None:
                self._timer.cancel()
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    async def _reach(self) -> Transport:
        """Opens a connection. Returns when a session is served on it."""
        self._transport = transport = await opener(self._url, self._options.tls)
        await self._greet(transport)
        while self._state.state != "connected":
            if await self._take(transport):
                await self._login(transport)
        return transport

    async def _take(self, transport: Transport) -> bool:
        """Takes the next message. True when there has to be a login."""
        frame = await transport.receive()
        if frame is None:
            raise _Lost(caused("connect-failed", "the connection is closed"))
        self._heard = True
        return self._message(decode(frame), transport)

    async def _greet(self, transport: Transport) -> None:
        transport.send(encode("hello", {"protocol": _PROTOCOL_VERSION, "client": _CLIENT_NAME}))
        if self._session is None:
            await self._login(transport)
            return
        self._resume(transport, self._session, self._session.show())

    def _resume(self, transport: Transport, session: Session, token: str) -> None:
        fields: dict[str, Value] = {
            "session": session.id,
            "token": token,
            "received": self._received,
        }
        transport.send(encode("resume", fields))

    async def _login(self, transport: Transport) -> None:
        ticket = self._options.ticket
        fields: dict[str, Value] = {}
        if self._options.user is not None:
            fields["user"] = self._options.user
        if callable(ticket):
            try:
                fetched = ticket()
                ticket = await fetched if inspect.isawaitable(fetched) else fetched
            except Exception as fault:
                # Whatever it is: the next attempt asks again.
                raise _Lost(caused("connect-failed", fault)) from fault
        if ticket is not None:
            fields["ticket"] = ticket
        try:
            transport.send(encode("login", fields))
        except WarrenError as error:
            raise _Lost(error, is_final=True) from None

    def _message(self, message: Message, transport: Transport) -> bool:
        """Takes a message. True when there has to be a login."""
        method = message["msg"]
        if method == "closed":
            raise _Lost(error_of(message))
        if method not in _UNCOUNTED:
            self._received += 1
            if self._replaying > 0:
                self._replaying -= 1
        # Its replies are told on the connection that asked, and on no other.
        if method == "ping" and message.get("status") == 0 and self._session is not None:
            self._session.settle()
        if "status" not in message:
            self._listeners.emit(method, message)
        elif self._calls.answer(message):
            pass
        elif method == "hello":
            self._greeted(message)
        elif method == "login":
            self._logged_in(message, transport)
        elif method == "resume" and self._session is not None:
            return self._resumed(message, self._session, transport)
        elif method == "move":
            # It is answered only when it is refused, and no call waits for that.
            self._listeners.emit(method, message)
        self._flush()
        return False

    def _greeted(self, reply: Message) -> None:
        if reply["status"] != 0:
            raise _Lost(error_of(reply), is_final=True)
        self._heartbeat = reply.get("heartbeat_ms", _HEARTBEAT * 1_000) / 1_000
        self._frame_bytes_max = reply.get("frame_bytes_max", self._frame_bytes_max)

    def _logged_in(self, reply: Message, transport: Transport) -> None:
        if reply["status"] != 0:
            raise _refused(reply)
        self._session = Session(reply["session"], reply["token"])
        self._own_object = reply["object"]
        self._received = 0
        self._serve(transport, State("connected"))
        lost, self._lost = self._lost, None
        if lost is not None:
            self._listeners.emit("lost", lost)
        if not self._opened.done():
            self._opened.set_result(None)

    def _resumed(self, reply: Message, session: Session, transport: Transport) -> bool:
        if reply["status"] != 0:
            error = error_of(reply)
            if error.reason not in _SESSION_GONE:
                raise _refused(reply)
            other = session.show_other() if error.reason == "session-unknown" else None
            if other is not None:
                self._resume(transport, session, other)
                return False
            self._session = None
            self._lost = error
            self._calls.fail(caused("session-lost", error))
            return True
        session.resumed(reply["token"])
        self._replaying = reply.get("replayed", 0)
        self._serve(transport, State("connected", resumed=True, replayed=self._replaying))
        return False

    def _serve(self, transport: Transport, state: State) -> None:
        self._attempts = 0
        self._watch(transport)
        self._set_state(state)
        self._flush()

    def _watch(self, transport: Transport) -> None:
        """From now on the server is asked in every heartbeat whether it is there.

        It is gone when nothing at all came in one. The question also tells it how many messages the
        session has had, so it learns what it need not keep any longer.
        """

        def beat() -> None:
            if not self._heard:
                transport.close()
                return
            self._heard = False
            transport.send(encode("ping", {"received": self._received}))
            self._timer = loop.call_later(self._heartbeat, beat)

        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(self._heartbeat, beat)

    def _flush(self) -> None:
        transport = self._transport
        if self._state.state == "connected" and self._replaying == 0 and transport is not None:
            self._calls.flush(transport.send)

    def _set_state(self, state: State) -> None:
        self._state = state
        self._listeners.emit("state", state)

    def _end(self, error: WarrenError) -> None:
        if self._state.state == "closed":
            return
        self._set_state(State("closed", error=error))
        self._calls.fail(error)
        if not self._opened.done():
            self._opened.set_exception(error)


def _refused(reply: Message) -> _Lost:
    """A login or resume was refused: later it may not be, or it always will."""
    error = error_of(reply)
    may_change = error.status in (408, 429) or error.status >= 500
    return _Lost(error, is_final=not may_change)
