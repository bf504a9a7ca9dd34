"""Sessions that outlive their connections, with the real server."""

from __future__ import annotations

import asyncio
import random
import unittest
from typing import Any

from server import following, proxy, server

from warren_client import Backoff, Client, State, WarrenError, connect

SOON = Backoff(base=0.002, cap=0.02)
LINES = 400
# A cut comes within so many bytes of a connection's serving: about every tenth line.
CUT_BYTES_MAX = 1_500


class ResumeTest(unittest.IsolatedAsyncioTestCase):
    async def test_nothing_is_lost_or_doubled_wherever_connections_are_cut(self) -> None:
        async with (
            server() as running,
            proxy(running.port) as passing,
            connect(passing.url, user="ann", backoff=SOON) as ann,
            connect(running.url, user="bob") as bob,
        ):
            heard: list[list[Any]] = []
            for client in (ann, bob):
                await client.call("join", room="plaza")
                heard.append([])
                client.on("chat", heard[-1].append)
            resumes = 0
            is_cutting = True
            faults: list[object] = []

            def hear(state: State) -> None:
                nonlocal resumes
                if state.state == "connected":
                    resumes += 1
                    if is_cutting:
                        passing.cut_after(random.randint(1, CUT_BYTES_MAX))

            ann.on("state", hear)
            ann.on("lost", faults.append)
            bob.on("left", faults.append)
            passing.cut_after(random.randint(1, CUT_BYTES_MAX))

            async def say(client: Client) -> None:
                for line in range(LINES):
                    await client.call("chat", to="plaza", text=str(line))

            await asyncio.gather(say(ann), say(bob))
            is_cutting = False
            # The last cut may still be due: whatever comes after it is heard by both.
            end = [
                following(client, "chat", lambda message: message["text"] == "end")
                for client in (ann, bob)
            ]
            await bob.call("chat", to="plaza", text="end")
            await asyncio.gather(*end)
            every = [str(line) for line in range(LINES)]
            for chats in heard:
                for speaker, said in (("ann", every), ("bob", [*every, "end"])):
                    texts = [chat["text"] for chat in chats if chat["from"] == speaker]
                    self.assertEqual(texts, said)
                numbers = [chat["seq"] for chat in chats]
                self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
            self.assertEqual(faults, [])
            self.assertGreaterEqual(resumes, 20)

    async def test_after_a_restart_there_is_a_new_session_and_it_is_told(self) -> None:
        async with (
            server() as first,
            proxy(first.port) as passing,
            connect(passing.url, user="ann", backoff=SOON) as client,
        ):
            await client.call("join", room="plaza")
            lost = following(client, "lost")
            passing.target = None
            await first.stop()
            async with server() as second:
                passing.target = second.port
                self.assertEqual((await lost).reason, "session-unknown")
                with self.assertRaises(WarrenError) as caught:
                    await client.call("chat", to="plaza", text="hi")
                self.assertEqual(caught.exception.status, 404)
                self.assertEqual((await client.call("join", room="plaza"))["members"], 1)

    async def test_who_was_away_for_too_long_logs_in_anew(self) -> None:
        async with (
            server("[session]\ngrace_ms = 0\n") as running,
            proxy(running.port) as passing,
            connect(passing.url, user="ann", backoff=SOON) as ann,
            connect(running.url, user="bob") as bob,
        ):
            for client in (ann, bob):
                await client.call("join", room="plaza")
            lost = following(ann, "lost")
            left = following(bob, "left")
            passing.target = None
            passing.cut()
            # The server has noticed.
            await left
            passing.target = running.port
            self.assertEqual((await lost).reason, "session-unknown")
            await ann.call("ping")

    async def test_reconnect_resumes_at_once(self) -> None:
        async with server() as running, connect(running.url, user="ann") as client:
            await client.call("join", room="plaza")
            for _ in range(20):
                connected = following(client, "state", lambda state: state.state == "connected")
                client.reconnect()
                self.assertTrue((await connected).resumed)
            await client.call("chat", to="plaza", text="still a member")

    async def test_a_resume_that_was_given_up_takes_the_session_over_and_it_is_resumed(self) -> None:
        async with (
            server() as running,
            proxy(running.port) as passing,
            connect(passing.url, user="ann", backoff=SOON) as client,
        ):
            faults: list[object] = []
            client.on("lost", faults.append)
            states: list[str] = []

            def hear(state: State) -> None:
                states.append(state.error.reason if state.error else state.state)

            client.on("state", hear)
            for _ in range(3):
                held = passing.hold_next()
                passing.cut()
                release = await held
                resumed = following(client, "state", lambda state: state.state == "connected")
                client.reconnect()
                await resumed
                resumed = following(client, "state", lambda state: state.state == "connected")
                states.clear()
                release()
                self.assertTrue((await resumed).resumed)
                self.assertEqual(states, ["taken-over", "connected"])
            await client.call("ping")
            self.assertEqual(faults, [])
