"""``python3 -m warren.worker game.py``: does tasks of a server, and moves NPCs, until it is told to end.

SIGTERM and SIGINT: what was begun is finished, the rest is given back. Exit status: 0 when it was told
to end, 65 when a module does not load, 77 when the server does not let it in or not work, 2 for a wrong
command line.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import logging
import os
import random
import ssl
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from warren_client.backoff import Backoff
from warren_client.errors import WarrenError

from .connection import Connection, Lost
from .loading import LoadError, Plugin, load_all
from .session import CREDITS, Login, Refused, Session, WorkRefused
from .signals import Stop

log = logging.getLogger("warren.worker")

EXIT_MODULE = 65
EXIT_REFUSED = 77
_URL = "tcp://127.0.0.1:7171"
_CREDITS_MAX = 1024
_CONNECT_S = 10.0
# Trying again is of no use: an operator has to do something.
_FINAL = frozenset(
    {
        *("displaced", "taken-over", "kicked", "banned", "version-unsupported", "tls-required"),
        *("ticket-missing", "ticket-invalid", "ticket-audience", "forbidden", "name-taken"),
        *("bad-name", "field-invalid", "unknown-method", "unknown-protocol"),
    }
)


class Worker:
    """Works for a server, whatever happens to the connection."""

    def __init__(self, plugins: Sequence[Plugin], options: argparse.Namespace, stop: Stop) -> None:
        self._methods = [method for plugin in plugins for method in plugin.methods]
        self._behaviours = [each for plugin in plugins for each in plugin.behaviours]
        self._plugins = {
            method.name: plugin.label for plugin in plugins for method in plugin.methods
        }
        self._named = {
            plugin.label: [each.name for each in plugin.behaviours] for plugin in plugins
        }
        parts = [f"{each.name} ({plugin.label})" for plugin in plugins for each in plugin.parts]
        self._parts = ", ".join(sorted(parts))
        self._options = options
        self._stop = stop
        self._backoff = Backoff()
        self._outcomes: Counter[str] = Counter()

    def run(self) -> int:
        """The exit status."""
        attempt = 0
        while not self._stop.is_asked:
            try:
                with contextlib.closing(self._connect()) as connection:
                    session = Session(connection, self._methods, self._behaviours, self._stop)
                    self._begin(session)
                    attempt = 0
                    self._serve(session, connection)
                break
            except Refused as refused:
                log.error("%s", refused)
                return EXIT_REFUSED
            except Lost as lost:
                if lost.reason in _FINAL:
                    log.error("the server has closed the connection: %s", lost.reason)
                    return EXIT_REFUSED
                delay = self._backoff.delay(attempt, random.random())
                attempt += 1
                if not self._stop.is_asked:
                    log.warning("no connection (%s): again in %.1f s", lost.reason, delay)
                    self._stop.wait(delay)
        told = ", ".join(f"{name} {count}" for name, count in sorted(self._outcomes.items()))
        log.info("stopped: %s", told or "no task came")
        return 0

    def _connect(self) -> Connection:
        tls = ssl.create_default_context(cafile=self._options.cafile)
        connection = Connection(self._options.url, self._stop.descriptor, _CONNECT_S, tls)
        # A method that forks leaves the connection to the worker.
        _of_this_process.append(connection)
        return connection

    def _begin(self, session: Session) -> None:
        ticket = self._ticket()
        # A ticket says who comes; another name than its own would be refused.
        user = self._options.user or (None if ticket else f"worker-{os.getpid()}")
        try:
            login = Login(user, ticket)
            session.begin(login, self._options.credits, self._plugins, self._named)
        except WarrenError as error:
            is_final = error.reason in _FINAL
            # A file may have another ticket the next time.
            if is_final or error.reason == "ticket-expired" and not self._options.ticket_file:
                raise Refused(f"the server refuses {_refused(error)}", error) from error
            raise Lost(error.reason) from error
        log.info("working for %s: %s", self._options.url, self._parts)

    def _serve(self, session: Session, connection: Connection) -> None:
        try:
            session.serve()
        except Lost as lost:
            raise Lost(session.last_reason(connection.last_words()) or lost.reason) from lost
        except WarrenError as error:
            raise Lost(error.reason) from error
        finally:
            self._outcomes += session.outcomes
            _of_this_process.clear()

    def _ticket(self) -> str | None:
        file = self._options.ticket_file
        if file is None:
            return os.environ.get("WARREN_TICKET") or None
        try:
            return Path(file).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise Lost(f"the ticket cannot be read: {error}") from error


def _refused(error: WarrenError) -> str:
    """What of the worker it is that the server refuses."""
    if not isinstance(error, WorkRefused):
        return "the worker"
    names = ", ".join(error.names)
    # Nobody has that role in the mode `open`.
    role = " from who has not the role worker" if error.reason == "forbidden" else ""
    return f"the work of {names}{role}"


# Connections that a process which a method forks closes on its side.
_of_this_process: list[Connection] = []


def _leave_to_parent() -> None:
    for connection in _of_this_process:
        connection.close()


def check(plugins: Sequence[Plugin]) -> None:
    """Tells of the methods and behaviours."""
    for plugin in plugins:
        for method in plugin.methods:
            options = "".join(f" {name}={value}" for name, value in method.options.items())
            print(f"{method.name} {plugin.label}{options}", flush=True)
        for behaviour in plugin.behaviours:
            print(f"{behaviour.name} {plugin.label} behaviour", flush=True)


def arguments_of(line: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m warren.worker",
        description="Does tasks of a Warren server with the methods in these files or modules, and "
        "moves NPCs with the behaviours there.",
        epilog="Exit status: 0 when it was told to end, 65 when a module does not load, 77 when the "
        "server does not let it in or not work, 2 for a wrong command line.",
    )
    environment = os.environ.get
    add = parser.add_argument
    add("modules", nargs="+", metavar="FILE_OR_MODULE", help="game.py, or game.combat")
    add("--url", default=environment("WARREN_URL") or _URL, help=f"default: WARREN_URL, or {_URL}")
    add("--user", default=environment("WARREN_USER"), help="default: WARREN_USER, or worker-PID")
    add("--ticket-file", default=environment("WARREN_TICKET_FILE"), metavar="FILE",
        help="its ticket, read at each login; default: WARREN_TICKET_FILE, or what WARREN_TICKET holds")  # fmt: skip
    add("--cafile", default=environment("WARREN_CA_FILE"), metavar="FILE",
        help="for tls: whom to trust in place of the system's; default: WARREN_CA_FILE")  # fmt: skip
    add("--credits", type=_credits, default=CREDITS, metavar="N",
        help=f"tasks that it takes at a time from each shard (default: {CREDITS})")  # fmt: skip
    add("--check", action="store_true", help="only load the modules, and tell what they have")
    return parser.parse_args(line)


def _credits(text: str) -> int:
    credits = int(text)
    if not 1 <= credits <= _CREDITS_MAX:
        raise argparse.ArgumentTypeError(f"1 to {_CREDITS_MAX}")
    return credits


def main(line: Sequence[str] | None = None) -> int:
    options = arguments_of(sys.argv[1:] if line is None else line)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        plugins = load_all(options.modules)
    except LoadError as error:
        log.error("%s", error, exc_info=error.__cause__)
        return EXIT_MODULE
    if options.check:
        check(plugins)
        return 0
    stop = Stop()
    stop.listen()
    os.register_at_fork(after_in_child=_leave_to_parent)
    return Worker(plugins, options, stop).run()


if __name__ == "__main__":
    sys.exit(main())
