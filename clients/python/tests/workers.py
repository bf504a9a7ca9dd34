"""A worker of the test's own: a process that does the methods of a text."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

from server import PATIENCE, SHARDS, SOURCES, Server

_STEPS = ("work", "begin", "effect", "extend", "done", "fail", "release", "thought")
# In the mode `open` nobody has the role `worker`.
OPEN = "[limits]\nmessages_per_s = 0\n" + "".join(
    f'[methods.{step}]\nroles = ["user"]\n' for step in _STEPS
)


class Worker:
    """A running ``python3 -m warren.worker``."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self.folder = folder
        self.log = ""

    async def logged(self, text: str) -> str:
        """Waits for a line of its log that holds this."""
        assert self._process.stderr is not None
        while True:
            line = await asyncio.wait_for(self._process.stderr.readline(), PATIENCE)
            assert line, f"{text!r} is not in its log: {self.log}"
            self.log += line.decode()
            if text in line.decode():
                return line.decode().strip()

    async def made(self, name: str) -> None:
        """Waits until there is a file of this name in its folder."""

        async def is_there() -> None:
            while not (self.folder / name).exists():
                await asyncio.sleep(0.01)

        await asyncio.wait_for(is_there(), PATIENCE)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit status, when it ends by itself."""
        _, rest = await asyncio.wait_for(self._process.communicate(), PATIENCE)
        self.log += rest.decode()
        assert self._process.returncode is not None
        return self._process.returncode

    async def stop(self) -> int:
        """Ends it as the server's supervision does."""
        self.signal(signal.SIGTERM)
        return await self.ended()


@contextlib.asynccontextmanager
async def worker(
    source: str, *options: str, of: Server | None = None, waits: bool = True, **environment: str
) -> AsyncIterator[Worker]:
    """Starts one with the methods of a text; ``waits``: until it works for every shard."""
    with tempfile.TemporaryDirectory(prefix="warren-worker-") as name:
        folder = Path(name)
        (folder / "game.py").write_text(textwrap.dedent(source))
        arguments = [*options, *(["--url", of.url] if of else [])]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "warren.worker", "game.py", *arguments),
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"}
            | environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        running = Worker(process, folder)
        try:
            if waits and of is not None:
                await running.logged("working for")
                await of.until("warren_task_workers", SHARDS)
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
