"""A worker's session with a server: one connection, from the login to its end.

Nothing is waited for while there are tasks: what is said of one leaves together with the ``begin`` of
the next, and what the server answers is looked at when it comes. Refusals are told by their ``id``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from warren_client.errors import WarrenError, error_of
from warren_client.message import Message, Value, decode, encode

from .behaviours import Behaviour
from .connection import Connection, Lost
from .context import EFFECTS_MAX, Context, Object, fits
from .methods import Fail, Method
from .signals import OutOfTime, Stop, TimeLimit
from .thinking import Thinking

log = logging.getLogger("warren.worker")

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

PROTOCOL_VERSION = 1
CREDITS = 16
# Names of methods, and of behaviours, that one `work` may have.
_NAMES_PER_WORK = 64
# Longest wait for the answer to what is asked and waited for.
_ANSWER_S = 10.0
# What a server that is heard of less often than this part of its heartbeats is gone by.
_HEARTBEATS_MISSED = 2.5
# Part of an attempt's time after which the method is told to end, so that it can still be said why.
_TIME_SHARE = 0.9
# Between two tasks, or calls of behaviours, the worker looks for NPCs that have come, but not more often.
_LOOK_S = 0.001
# A refusal for want of room is answered after so long.
_PAUSE_S = 0.05
_RELEASE_MS = 1000
_ERROR_TEXT_MAX = 300
# How the most of what is heard begins and ends as the server writes it: not all of it has to be read.
_TASK = b'{"msg":"task",'
_DONE = b'{"msg":"done","id":'
_NOTED = (b'{"msg":"begin",', b'{"msg":"effect",')
_OK = b',"status":0}'
_DONE_HEAD = '{"msg":"done",'
# What a task is told with beside the request's own fields.
_TOLD = frozenset(
    {
        *("msg", "task", "token", "method", "user", "attempt", "limit_ms"),
        *("target_version", "target_record"),
    }
)
# What belongs to the message that says `done`, and so is no field of an answer.
_OF_DONE = frozenset({"msg", "id", "ack", "task", "token", "effects"})
_ANSWER_FIELDS_MAX = 44
# An id is a number of the attempt, and which step of it: the last, `begin`, `extend`, effects.
_STEP_BITS = 12
_LAST, _BEGIN, _EXTEND, _EFFECT = range(4)
assert _EFFECT + EFFECTS_MAX <= 1 << _STEP_BITS
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True)
class Login:
    """Who the worker is."""

    user: str | None = None
    ticket: str | None = None


class Refused(Exception):
    """The server does not let the worker in, or not work."""

    def __init__(self, said: str, error: WarrenError) -> None:
        super().__init__(f"{said}: {error.reason}")
        self.reason = error.reason


class WorkRefused(WarrenError):
    """The server does not let the worker do these."""

    def __init__(self, names: Sequence[str], error: WarrenError) -> None:
        super().__init__(error.reason, error.status, error.limit)
        self.names = names


class Lease:
    """A task that the worker has begun, until the server has taken its end."""

    __slots__ = ("about", "name", "refusal")

    def __init__(self, task: Message) -> None:
        self.about = f'"task":"{task["task"]}","token":{task["token"]}'
        self.name = f"{task['method']} {task['task']} of {task['user']}"
        # Why an effect was refused.
        self.refusal: WarrenError | None = None


class Session:
    """See the module."""

    def __init__(
        self,
        connection: Connection,
        methods: Sequence[Method],
        behaviours: Sequence[Behaviour],
        stop: Stop,
    ) -> None:
        self._connection = connection
        self._methods = {each.name: each for each in methods}
        self._stop = stop
        self._limit = TimeLimit()
        self._process = os.getpid()
        self.frame_bytes_max: float = 64 * 1024
        self._silence = 30.0
        # What has come and was not begun, with its time.
        self._tasks: deque[tuple[Message, float]] = deque()
        self._leases: dict[int, Lease] = {}
        self._serial = 0
        self._out: list[str] = []
        self._asked = 0
        self._answers: dict[int, Message] = {}
        self._is_leaving = False
        self.outcomes: Counter[str] = Counter()
        """How often what came of a task, or of NPCs that were to be moved."""
        self._thinking = Thinking(behaviours, self._call, self.outcomes)
        # NPCs that are to be moved, with the time since when they may have waited here.
        self._thinks: deque[tuple[Message, float]] = deque()
        # When it was last seen what has come.
        self._looked = time.monotonic()

    def begin(
        self,
        login: Login,
        credits: int,
        plugins: Mapping[str, str],
        behaviours: Mapping[str, Sequence[str]],
    ) -> None:
        """Logs in, and says what it does. ``plugins``: by method, which name and version does it;
        ``behaviours``: by name and version, which it has.

        Raises ``WarrenError`` and ``Lost``.
        """
        hello = self._ask("hello", protocol=PROTOCOL_VERSION)
        self.frame_bytes_max = hello["frame_bytes_max"]
        if hello["heartbeat_ms"]:
            self._silence = hello["heartbeat_ms"] / 1000 * _HEARTBEATS_MISSED
        who = {"user": login.user, "ticket": login.ticket}
        self._ask("login", **{name: value for name, value in who.items() if value})
        for names, options in self._groups(plugins):
            self._work(names, {"methods": names, "credits": credits, **options})
        for plugin, every in behaviours.items():
            for names in _parts(every):
                fields: dict[str, Value] = {"behaviours": names, "plugin": plugin}
                self._thinking.works.append(encode("work", fields))
                self._work(names, fields)

    def _work(self, names: Sequence[str], fields: Mapping[str, Value]) -> None:
        try:
            self._ask("work", **fields)
        except WarrenError as error:
            raise WorkRefused(names, error) from error

    def _groups(
        self, plugins: Mapping[str, str]
    ) -> list[tuple[list[str], dict[str, Value]]]:
        """The methods that are alike, so that one ``work`` tells of them."""
        groups: dict[str, tuple[list[str], dict[str, Value]]] = {}
        for name, method in self._methods.items():
            options: dict[str, Value] = dict(method.options)
            if name in plugins:
                options["plugin"] = plugins[name]
            names, _ = groups.setdefault(json.dumps(options), ([], options))
            names.append(name)
        return [(part, options) for names, options in groups.values() for part in _parts(names)]

    def serve(self) -> None:
        """Does tasks, and moves NPCs, until the process is told to end. Raises ``Lost``."""
        while not self._stop.is_asked:
            if self._tasks and self._thinking.names:
                # NPCs wait for no task but the one that is being done.
                self._look()
            self._think()
            if self._stop.is_asked:
                break
            self._out += self._thinking.to_say()
            if self._tasks:
                self._run(*self._tasks.popleft())
                continue
            if self._thinks:
                continue
            self._flush()
            self._limit.end()
            self._hear(min(self._silence, self._thinking.seconds_to_say()))
        self._leave()

    def last_reason(self, lines: Sequence[bytes]) -> str | None:
        """Why the server has closed the connection, if it has said so in these lines."""
        for line in lines:
            message = decode(line.decode())
            if message["msg"] == "closed":
                return str(message["error"])
        return None

    def _leave(self) -> None:
        """Takes no more, gives back what was not begun, and waits for the answers to the rest.

        NPCs go on until the end: nobody else is asked for them before.
        """
        self._is_leaving = True
        self._ask("work", methods=[], credits=0)
        while self._tasks:
            self._release(self._tasks.popleft()[0])
        self._think()
        self._flush()
        until = time.monotonic() + _ANSWER_S
        while self._leases and (left := until - time.monotonic()) > 0:
            if not self._thinks:
                self._hear(left)
            self._think()
            self._flush()
        if self._leases:
            log.warning("%d tasks without an answer to their end", len(self._leases))
        self._out.append('{"msg":"quit"}')
        self._flush()

    # What is said.

    def _say(self, msg: str, serial: int, step: int, rest: str) -> None:
        self._out.append(f'{{"msg":"{msg}","id":{serial << _STEP_BITS | step},{rest}}}')

    def _flush(self) -> None:
        if self._out:
            self._out.append("")
            data = "\n".join(self._out).encode()
            self._out.clear()
            self._connection.send(data)

    def _ask(self, method: str, **fields: Value) -> Message:
        """Asks, and waits for the answer; tasks that come meanwhile are kept. Raises ``WarrenError``."""
        self._asked -= 1
        asked = self._asked
        self._out.append(encode(method, {"id": asked, **fields}))
        self._flush()
        until = time.monotonic() + _ANSWER_S
        while asked not in self._answers:
            if (left := until - time.monotonic()) <= 0:
                raise Lost("timeout")
            self._hear(left)
        answer = self._answers.pop(asked)
        if answer.get("status") != 0:
            raise error_of(answer)
        return answer

    # What is heard.

    def _look(self) -> None:
        """Hears what has come, if it has not just done that."""
        if time.monotonic() - self._looked >= _LOOK_S:
            self._hear(0.0)

    def _hear(self, timeout: float) -> None:
        lines = self._connection.receive(timeout)
        now = time.monotonic()
        # What was there already may have come as soon as it was last looked for.
        since = now if self._connection.has_waited else self._looked
        self._looked = now
        if not lines:
            is_woken = self._stop.drain()
            if not is_woken and timeout >= self._silence:
                raise Lost("timeout")
        for line in lines:
            if line.startswith(_TASK):
                self._told(decode(line.decode()), now)
            elif line.startswith(_DONE) and line.endswith(_OK):
                serial = int(line[len(_DONE) : -len(_OK)]) >> _STEP_BITS
                del self._leases[serial]
            elif not (line.startswith(_NOTED) and line.endswith(_OK)):
                self._heard(decode(line.decode()), now, since)

    def _told(self, task: Message, now: float) -> None:
        if self._is_leaving:
            self._release(task)
        else:
            self._tasks.append((task, now))

    def _heard(self, message: Message, now: float, since: float) -> None:
        msg, number = message["msg"], message.get("id")
        if msg == "task":
            self._told(message, now)
            return
        if msg == "think":
            self._thinks.append((message, since))
            return
        if msg == "thought":
            self._thinking.answered(message)
            return
        if msg == "closed":
            raise Lost(message["error"])
        if not isinstance(number, int):
            if msg == "error":
                log.error("the server did not understand the worker: %s", message["error"])
            elif msg == "work":
                self._thinking.worked(message)
            return
        if number < 0:
            self._answers[number] = message
            return
        serial, step = number >> _STEP_BITS, number & (1 << _STEP_BITS) - 1
        lease = self._leases.get(serial)
        if lease is None:
            return
        if step != _LAST:
            if message["status"] != 0 and lease.refusal is None:
                lease.refusal = error_of(message)
        elif message["status"] == 0:
            del self._leases[serial]
        else:
            self._end_refused(serial, lease, error_of(message))

    def _end_refused(self, serial: int, lease: Lease, error: WarrenError) -> None:
        """The server did not take the end of a task: what becomes of it."""
        if error.reason == "effects-missing" and lease.refusal is not None:
            error = lease.refusal
        if error.reason in ("lease-lost", "version-conflict"):
            # Another attempt is on its way, of the server's accord.
            del self._leases[serial]
            self.outcomes[error.reason] += 1
            log.warning("%s: %s: nothing has changed", lease.name, error.reason)
        elif has_no_room(error):
            log.warning("%s: refused: %s", lease.name, error)
            self._fail(serial, lease, f"refused: {error}", True)
        elif may_retry(error):
            self.outcomes[error.reason] += 1
            self._stop.wait(_PAUSE_S)
            self._say("release", serial, _LAST, f'{lease.about},"delay_ms":{_RELEASE_MS}')
        else:
            log.error("%s: refused: %s", lease.name, error)
            self._fail(serial, lease, f"refused: {error}", False)

    # What is done.

    def _call(
        self,
        seconds: float,
        function: Callable[_Parameters, _Result],
        *arguments: _Parameters.args,
        **named: _Parameters.kwargs,
    ) -> _Result:
        """Calls what a game has written. Raises ``OutOfTime`` when it takes longer than it may."""
        self._limit.begin(seconds)
        try:
            return self._limit.call(function, *arguments, **named)
        finally:
            if os.getpid() != self._process:
                # It has forked: the worker is the other process.
                os._exit(0)

    def _think(self) -> None:
        """Moves the NPCs that have come until now. More come when this is told, and tasks have their turn."""
        if self._thinks:
            self._release_expired()
        for _ in range(len(self._thinks)):
            # Whatever the behaviour does to this process: what was done before is known.
            self._flush()
            self._out.append(self._thinking.thought(*self._thinks.popleft()))
            self._flush()
            self._look()

    def _run(self, task: Message, arrived: float) -> None:
        """One attempt: nothing that it does ends the worker but what ends the process."""
        limit, now = task["limit_ms"] / 1000, time.monotonic()
        if now - arrived >= limit:
            # It is another's; but whoever says nothing of it is taken for stuck.
            self._release(task)
            return
        self._serial += 1
        serial, lease = self._serial, Lease(task)
        self._leases[serial] = lease
        self._say("begin", serial, _BEGIN, lease.about)
        if now - arrived >= limit / 2:
            # It has waited here for others.
            self._say("extend", serial, _EXTEND, lease.about)
            arrived = now
        # Whatever the method does to this process: that it has begun is known.
        self._flush()
        context = Context(task, self)
        try:
            method = self._methods[task["method"]]
            own = {name: value for name, value in task.items() if name not in _TOLD}
            seconds = arrived + limit * _TIME_SHARE - now
            answer = self._call(seconds, method.function, context, own)
            self._done(serial, lease, context, answer)
            self.outcomes["done"] += 1
        except Lost:
            raise
        except OutOfTime:
            log.error("%s: took longer than limit_ms (%s)", lease.name, task["limit_ms"])
            self._fail(serial, lease, f"took longer than limit_ms ({task['limit_ms']})", True)
        except Fail as fail:
            log.info("%s: failed: %s", lease.name, fail)
            self._fail(serial, lease, str(fail), fail.retry)
        except BaseException as error:
            log.exception("%s: failed", lease.name)
            retries = may_retry(error) and method.retries
            self._fail(serial, lease, f"{type(error).__name__}: {error}", retries)

    def _done(
        self, serial: int, lease: Lease, context: Context, answer: Mapping[str, Value] | None
    ) -> None:
        fields = answer_fields(answer)
        if not fits(fields, self.frame_bytes_max):
            raise WarrenError("frame-too-large", 413, "protocol.frame_bytes_max")
        about, effects = lease.about, context.effects
        for step, effect in enumerate(effects, _EFFECT):
            self._say("effect", serial, step, f"{about},{effect[:-1]}")
        count = f',"effects":{len(effects)}' if effects else ""
        self._say("done", serial, _LAST, f"{about}{count}{fields}")

    def _fail(self, serial: int, lease: Lease, text: str, retry: bool) -> None:
        self.outcomes["failed"] += 1
        text = text[:_ERROR_TEXT_MAX].encode("utf-8", "replace").decode()
        said = json.dumps(_CONTROL.sub("?", text), ensure_ascii=False)
        again = "true" if retry else "false"
        self._say("fail", serial, _LAST, f'{lease.about},"error_text":{said},"retry":{again}')

    def _release(self, task: Message) -> None:
        self._serial += 1
        self._leases[self._serial] = lease = Lease(task)
        self.outcomes["released"] += 1
        self._say("release", self._serial, _LAST, lease.about)

    def _release_expired(self) -> None:
        """Gives back all tasks whose time is over: whoever says nothing of them is taken for stuck."""
        now = time.monotonic()
        for _ in range(len(self._tasks)):
            task, arrived = self._tasks.popleft()
            if now - arrived >= task["limit_ms"] / 1000:
                self._release(task)
            else:
                self._tasks.append((task, arrived))

    # What methods ask for while they run.

    def get(self, object: str) -> Object:
        return self._limit.without(self._get, object)

    def _get(self, object: str) -> Object:
        answer = self._ask("get", object=object)
        known = {"msg", "id", "status", "kind", "version", "owner"}
        fields = {name: value for name, value in answer.items() if name not in known}
        return Object(object, answer["kind"], answer["version"], answer["owner"], fields)

    def extend(self, task: Message) -> None:
        self._limit.without(self._extend, task)

    def _extend(self, task: Message) -> None:
        self._ask("extend", task=task["task"], token=task["token"])
        self._limit.begin(task["limit_ms"] / 1000 * _TIME_SHARE)


def _parts(names: Sequence[str]) -> list[list[str]]:
    """As many as one ``work`` may have, and the next."""
    starts = range(0, len(names), _NAMES_PER_WORK)
    return [list(names[at : at + _NAMES_PER_WORK]) for at in starts]


def answer_fields(answer: Mapping[str, Value] | None) -> str:
    """The rest of ``done``, with a comma before it. Raises ``WarrenError`` for what is no answer."""
    if answer is None:
        return ""
    if not isinstance(answer, Mapping):
        raise TypeError(f"a method returns a dict or None, not {type(answer).__name__}")
    for name in answer:
        if name in _OF_DONE:
            raise WarrenError("reserved-field", 400)
    if len(answer) > _ANSWER_FIELDS_MAX:
        raise WarrenError("too-many-fields", 400)
    own = encode("done", answer)[len(_DONE_HEAD) : -1]
    return f",{own}" if own else ""


def has_no_room(error: WarrenError) -> bool:
    """Whether what the task makes has no room: that may stay so for long, while the server is well otherwise.
    Another attempt is later each time, and there is a last one."""
    return error.status == 507 or error.reason == "queue-full"


def may_retry(error: BaseException) -> bool:
    """Whether another attempt may go better: not where the same refusal would come again."""
    if isinstance(error, WarrenError):
        return error.status in (409, 429) or error.status >= 500
    return True
