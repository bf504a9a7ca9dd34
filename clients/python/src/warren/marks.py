"""What decorators say of functions, and where it is found again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Protocol, TypeVar


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_Kind = TypeVar("_Kind", bound=_Named)

_MARK = "__warren__"


def check_text(name: object, what: str) -> None:
    """What a decorator is given is a name."""
    if not isinstance(name, str):
        raise TypeError(f'@warren.{what} is called with a name: @warren.{what}("wolf")')


def mark(function: Callable[..., object], what: str, arguments: str, made: _Named) -> None:
    """A module that has this function has ``made``. ``what`` that is, and its two arguments."""
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{made.name}: a {what} is a plain function, not an async one")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise TypeError(f"{made.name}: a {what} is called with {arguments}: {error}") from None
    except ValueError:
        # What is not of Python does not tell.
        pass
    setattr(function, _MARK, [*getattr(function, _MARK, []), made])


def marked(module: ModuleType, what: str, kind: type[_Kind]) -> list[_Kind]:
    """All of a kind that the functions of a module have. Raises ``ValueError`` when two have one name."""
    found: dict[str, _Kind] = {}
    for value in vars(module).values():
        for each in getattr(value, _MARK, ()) if callable(value) else ():
            if isinstance(each, kind) and found.setdefault(each.name, each) is not each:
                raise ValueError(f"{module.__name__}: there are two {what}s {each.name}")
    return list(found.values())
