"""A worker of the tests: JSON lines over one socket, and what tests ask of it by its environment and by the
fields of a task."""

import json
import os
import select
import signal
import socket
import ssl
import sys

MODE = os.environ.get("TEST_MODE", "")
LEDGER = os.environ.get("TEST_LEDGER")
WORK = json.loads(os.environ.get("TEST_WORK", "{}"))


class Gone(Exception):
    """The server is."""


class Worker:
    def __init__(self):
        self.tasks, self.received, self.drains = [], b"", False
        # A signal wakes whoever waits.
        self.wake, self.told = socket.socketpair()
        self.told.setblocking(False)
        signal.set_wakeup_fd(self.told.fileno())
        signal.signal(signal.SIGTERM, self.drain)
        scheme, _, place = os.environ["WARREN_URL"].partition("://")
        host, _, port = place.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)))
        if scheme == "tls":
            context = ssl.create_default_context(cafile=os.environ.get("WARREN_CA_FILE"))
            self.socket = context.wrap_socket(self.socket, server_hostname=host)

    def drain(self, *_):
        self.drains = MODE != "deaf"

    def send(self, msg, **fields):
        self.socket.sendall(json.dumps({"msg": msg, **fields}).encode() + b"\n")

    def next(self):
        """The next message; none when a signal came first."""
        while b"\n" not in self.received:
            readable, _, _ = select.select([self.socket, self.wake], [], [])
            if self.wake in readable:
                self.wake.recv(16)
                return None
            read = self.socket.recv(65536)
            if not read:
                raise Gone
            self.received += read
        line, _, self.received = self.received.partition(b"\n")
        return json.loads(line)

    def ask(self, msg, **fields):
        self.send(msg, **fields)
        while True:
            answer = self.next()
            if answer and answer["msg"] == "task":
                self.tasks.append(answer)
            elif answer and answer["msg"] == msg:
                return answer

    def about(self, msg, task, **fields):
        return self.ask(msg, task=task["task"], token=task["token"], **fields)

    def run(self):
        ticket = os.environ.get("WARREN_TICKET")
        proof = {"ticket": ticket} if ticket else {}
        login = self.ask("login", user=os.environ["WARREN_USER"], **proof)
        assert login["status"] == 0, login
        work = self.ask("work", **{"methods": ["hit"], "credits": 2, **WORK})
        assert work["status"] == 0, work
        while True:
            if self.drains:
                assert self.ask("work", methods=[], credits=0)["status"] == 0
                for task in self.tasks:
                    self.about("release", task)
                return
            if self.tasks:
                self.do(self.tasks.pop(0))
            elif (message := self.next()) and message["msg"] == "task":
                self.tasks.append(message)

    def do(self, task):
        if LEDGER:
            with open(LEDGER, "a", encoding="ascii") as ledger:
                ledger.write(f"{task['number']} {os.getpid()}\n")
        if self.about("begin", task)["status"] != 0:
            return
        misdeed = task.get("misdeed") if task["attempt"] == 1 or task.get("always") else None
        own = getattr(self, misdeed)(task) if misdeed else {}
        effects = 0
        if "target" in task:
            target = self.ask("get", object=task["target"])
            hits = {"version": target["version"], "hits": target["hits"] + 1}
            self.about("effect", task, do="set", object=task["target"], **hits)
            own, effects = {**own, "hits": hits["hits"]}, 1
        done = self.about("done", task, effects=effects, pid=os.getpid(), tries=task["attempt"], **own)
        late = done.get("error") in ("lease-lost", "version-conflict", "effects-missing")
        assert done["status"] == 0 or late, done

    def grow(self, _):
        return {"grown": len(bytearray(1 << 30))}

    def loop(self, _):
        while True:
            pass

    def late(self, task):
        """Answers by its token when the lease is over, and then by that of the next."""
        while self.about("begin", task)["status"] == 0:
            pass
        old = self.about("done", task, told="by the old token")
        while not self.tasks:
            message = self.next()
            if message and message["msg"] == "task":
                self.tasks.append(message)
        again, self.tasks = self.tasks[0], self.tasks[1:]
        assert again["task"] == task["task"], again
        assert self.about("begin", again)["status"] == 0
        task["token"] = again["token"]
        return {"old": old["error"]}

    def part(self, _):
        """Lives on without a connection."""
        self.socket.close()
        while True:
            signal.pause()

    def fork(self, _):
        child = os.fork()
        while child == 0:
            signal.pause()
        return {"child": child}


if MODE == "crash":
    sys.exit("it crashes at once")
if version := os.environ.get("TEST_VERSION_FILE"):
    with open(version, encoding="ascii") as file:
        WORK["plugin"] = file.read().strip()
    assert WORK["plugin"] != "broken", "a version that cannot be imported"
if MODE == "mute":
    print("it says nothing to the server", flush=True)
    signal.pause()
try:
    print("it begins", flush=True)
    Worker().run()
except (Gone, ConnectionError):
    sys.exit("the server is gone")
