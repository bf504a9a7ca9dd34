"""What ends a worker, and what ends a method that takes too long."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import ParamSpec, TypeVar

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# A method that catches what tells it to end is told again.
_AGAIN_S = 1.0


class Stop:
    """Whether the process was told to end: by SIGTERM or SIGINT. A second SIGINT ends it at once.

    SIGTERM comes more than once where several tell it: a service manager, and the server.
    """

    def __init__(self) -> None:
        self.is_asked = False
        # What is written to it by signals, or by `ask`, ends a wait.
        self.descriptor, self._write = os.pipe()
        for descriptor in (self.descriptor, self._write):
            os.set_blocking(descriptor, False)

    def listen(self) -> None:
        """From now on signals ask. Only in the main thread."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heard)

    def _heard(self, number: int, _: FrameType | None) -> None:
        self.is_asked = True
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)

    def ask(self) -> None:
        """As a signal does, from any thread."""
        self.is_asked = True
        os.write(self._write, b"\0")

    def drain(self) -> bool:
        """Lets the next wait last. Whether something was there to end it."""
        try:
            return bool(os.read(self.descriptor, 65_536))
        except BlockingIOError:
            return False

    def wait(self, seconds: float) -> None:
        """Waits so long, or until it is asked."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        if not self.is_asked:
            poll.poll(seconds * 1000)
        self.drain()


class OutOfTime(BaseException):
    """The time of the attempt is over. No ``except Exception`` of a method's catches it."""


class TimeLimit:
    """Ends a call that takes too long: where Python is at work, and in the main thread only."""

    def __init__(self) -> None:
        self._is_in_method = False
        self._is_armed = False
        self._is_there = threading.current_thread() is threading.main_thread()
        if self._is_there:
            signal.signal(signal.SIGALRM, self._rings)

    def _rings(self, number: int, frame: FrameType | None) -> None:
        if self._is_in_method:
            raise OutOfTime

    def begin(self, seconds: float) -> None:
        """The time begins, or begins anew."""
        if self._is_there:
            self._is_armed = True
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), _AGAIN_S)

    def call(
        self,
        function: Callable[_Parameters, _Result],
        *arguments: _Parameters.args,
        **named: _Parameters.kwargs,
    ) -> _Result:
        """Calls a method. Raises ``OutOfTime`` when the time is over."""
        try:
            self._is_in_method = True
            return function(*arguments, **named)
        finally:
            self._is_in_method = False

    def without(
        self,
        function: Callable[_Parameters, _Result],
        *arguments: _Parameters.args,
        **named: _Parameters.kwargs,
    ) -> _Result:
        """Calls what a method needs of the worker, which is not to be broken off in the middle."""
        self._is_in_method = False
        try:
            return function(*arguments, **named)
        finally:
            self._is_in_method = True

    def end(self) -> None:
        """Nothing is timed any more."""
        if self._is_armed:
            self._is_armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
