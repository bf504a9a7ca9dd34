"""Methods: functions that do tasks, and how their tasks are treated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from warren_client.message import Message, Value, check_name

from .marks import check_text, mark, marked

if TYPE_CHECKING:
    from .context import Context

Reply = Mapping[str, Value] | None
"""What a method returns: the fields of the answer."""

Function = Callable[["Context", Message], Reply]
"""What does a task: it is given the request's own fields."""

_Decorated = TypeVar("_Decorated", bound="Callable[[Context, Message], object]")

# The server's bounds: a week, and the lowest of its priorities.
_TIME_MS_MAX = 7 * 24 * 3_600_000
_PRIORITY_MAX = 7
_ATTEMPTS_MAX = 1000


class Fail(Exception):
    """Raised by a method: the attempt has failed, and what it would have changed does not happen.

    With ``retry`` the task comes again, after a second and then later each time; without, it is dead,
    and whoever asked hears ``task-failed``. The text is for the operator.
    """

    def __init__(self, text: str, retry: bool = True) -> None:
        super().__init__(text)
        self.retry = retry


@dataclass(frozen=True)
class Method:
    """A function, and the name that clients call it by."""

    name: str
    function: Function
    options: Mapping[str, int | bool] = field(default_factory=dict)
    """What ``work`` says of it: what is not here the server knows."""
    retries: bool = True
    """Whether a task comes again whose function raised something unexpected."""


def method(
    name: str,
    *,
    priority: int | None = None,
    limit_ms: int | None = None,
    deadline_ms: int | None = None,
    attempts_max: int | None = None,
    ordered: bool | None = None,
) -> Callable[[_Decorated], _Decorated]:
    """Makes a function do the tasks of this name.

    ``priority`` is 0 (first) to 7, and 4 when missing; ``limit_ms`` is how long an attempt may take
    (30,000); ``deadline_ms`` how long a task waits for a worker (60,000; 0: for ever);
    ``attempts_max`` how often it is tried (20). With ``ordered`` a user's tasks are done one after the
    other. Raises ``ValueError`` for what no server takes.
    """
    check_text(name, "method")
    said = {
        "priority": _bounded("priority", priority, 0, _PRIORITY_MAX),
        "limit_ms": _bounded("limit_ms", limit_ms, 1, _TIME_MS_MAX),
        "deadline_ms": _bounded("deadline_ms", deadline_ms, 0, _TIME_MS_MAX),
        "attempts_max": _bounded("attempts_max", attempts_max, 1, _ATTEMPTS_MAX),
        "ordered": ordered,
    }
    options = {option: value for option, value in said.items() if value is not None}
    check_name(name)

    def decorate(function: _Decorated) -> _Decorated:
        mark(function, "method", "(ctx, msg)", Method(name, function, options))  # type: ignore[arg-type]
        return function

    return decorate


def _bounded(name: str, value: int | None, least: int, most: int) -> int | None:
    if value is not None and not least <= value <= most:
        raise ValueError(f"{name} is {least} to {most}, not {value}")
    return value


def methods_of(module: ModuleType) -> list[Method]:
    """The methods that stand in a module."""
    return marked(module, "method", Method)
