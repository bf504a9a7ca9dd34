"""A server of the test's own, and a proxy before it that cuts connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from warren_client import Client

BINARIES = Path(os.environ["WARREN_BINARIES"])
# Nothing takes so long: a test that waits longer has failed.
PATIENCE = 60.0
SHARDS = 2
SOURCES = Path(__file__).parent.parent / "src"


class Server:
    """A running ``warren serve`` with two shards."""

    def __init__(self, process: asyncio.subprocess.Process, game: str, admin: str) -> None:
        self._process = process
        self._admin = admin
        self.game = game
        self.url = f"tcp://{game}"
        self.port = int(game.rpartition(":")[2])

    async def stop(self) -> None:
        """Ends it as an operator does."""
        self._process.send_signal(signal.SIGTERM)
        await self._process.wait()

    async def ctl(self, *arguments: str | Path) -> str:
        """What ``warren ctl`` says."""
        command = [BINARIES / "warren", "ctl", "--admin", self._admin, *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def metric(self, name: str) -> float:
        """One of its metrics, of all shards."""
        return await asyncio.to_thread(self._metric, name)

    async def until(self, metric: str, least: int) -> None:
        """Waits until one of its metrics is so much."""

        async def reached() -> None:
            while await self.metric(metric) < least:
                await asyncio.sleep(0.02)

        await asyncio.wait_for(reached(), PATIENCE)

    def _metric(self, metric: str) -> float:
        with urllib.request.urlopen(f"http://{self._admin}/metrics") as response:
            lines = response.read().decode().splitlines()
        # Each is a name, with or without labels, and its value.
        told = [line.rpartition(" ") for line in lines]
        values = [value for name, _, value in told if name.partition("{")[0] == metric]
        assert values, f"there is no {metric}"
        return sum(float(value) for value in values)


@contextlib.asynccontextmanager
async def server(
    config: str = "", listen: str = "127.0.0.1:0", project: Path | None = None
) -> AsyncIterator[Server]:
    """Starts a server, on free ports; in a project's folder, if one is named."""
    with tempfile.TemporaryDirectory(prefix="warren-client-") as folder:
        file = Path(folder) / "warren.toml"
        file.write_text(config + '[log]\nlevel = "warn"\n')
        process = await asyncio.create_subprocess_exec(
            BINARIES / "warren",
            *("serve", "--config", file, "--shards", str(SHARDS)),
            *("--listen", listen, "--admin", "127.0.0.1:0"),
            *(("--data", Path(folder) / "data") if project else ()),
            cwd=project,
            env=os.environ | {"PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode().strip()
            assert line.startswith("listening on "), line
            admin = (await process.stdout.readline()).decode().strip()
            yield Server(
                process,
                line.removeprefix("listening on "),
                admin.removeprefix("admin on "),
            )
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@contextlib.contextmanager
def certificate() -> Iterator[tuple[str, ssl.SSLContext]]:
    """Makes a certificate for 127.0.0.1 that only itself vouches for.

    What a server is configured by to show it, and what trusts it.
    """
    with tempfile.TemporaryDirectory(prefix="warren-certificate-") as folder:
        file, key = Path(folder) / "certificate.pem", Path(folder) / "key.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-subj", "/CN=test"),
                *("-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-addext", "subjectAltName=IP:127.0.0.1"),
                *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
                *("-keyout", key, "-out", file),
            ],
            check=True,
            capture_output=True,
        )
        config = f'[tls]\ncertificate = "{file}"\nkey = "{key}"\n'
        yield config, ssl.create_default_context(cafile=file)


class Proxy:
    """A port that passes everything on to a server, until it is told to cut."""

    def __init__(self, target: int) -> None:
        # The server's port. None: whoever comes is turned away.
        self.target: int | None = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._budget: int | None = None
        self._hold: asyncio.Future[Callable[[], None]] | None = None
        self.url = ""

    def cut(self) -> None:
        """Cuts every connection now."""
        for writer in self._writers:
            writer.transport.abort()

    def cut_after(self, count: int) -> None:
        """Passes so many more bytes, then cuts every connection in the middle of whatever it is."""
        self._budget = count

    def hold_next(self) -> asyncio.Future[Callable[[], None]]:
        """Keeps a ``resume`` that comes on the next connection.

        Brings what sends it to the server, also when the client has given it up.
        """
        self._hold = asyncio.get_running_loop().create_future()
        return self._hold

    async def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.target is None:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            others = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(others[1])
        if self._hold is not None:
            hold, self._hold = self._hold, None
            asked = await reader.readuntil(b'"resume"') + await reader.readline()

            def release() -> None:
                others[1].write(asked)
                others[1].write_eof()

            hold.set_result(release)
            return
        try:
            await asyncio.gather(self._pass(reader, others[1]), self._pass(others[0], writer))
        finally:
            for each in (writer, others[1]):
                each.transport.abort()
                self._writers.discard(each)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if self._budget is not None:
                    data = data[: self._budget]
                    self._budget -= len(data)
                writer.write(data)
                if self._budget == 0:
                    self._budget = None
                    # What was passed leaves before the end.
                    writer.close()
                    await writer.wait_closed()
                    self.cut()
        writer.transport.abort()


@contextlib.asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    passing = Proxy(target)
    listening = await asyncio.start_server(passing.accept, "127.0.0.1", 0)
    passing.url = "tcp://127.0.0.1:{}".format(listening.sockets[0].getsockname()[1])
    try:
        yield passing
    finally:
        listening.close()
        passing.cut()


def following(
    client: Client, name: str, condition: Callable[[Any], bool] = lambda _: True
) -> asyncio.Future[Any]:
    """The next event of that name that fulfils the condition."""
    future = asyncio.get_running_loop().create_future()

    def hear(event: Any) -> None:
        if not future.done() and condition(event):
            off()
            future.set_result(event)

    off = client.on(name, hear)
    return asyncio.ensure_future(asyncio.wait_for(future, PATIENCE))
