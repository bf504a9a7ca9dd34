"""The client against the real server."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path

from server import BINARIES, certificate, following, server

from warren_client import Value, WarrenError, connect


class ServerTest(unittest.IsolatedAsyncioTestCase):
    async def test_two_users_meet_in_a_room(self) -> None:
        async with server() as running, connect(running.url, user="ann") as ann:
            bob = await connect(running.url, user="bob")
            joined = await ann.call("join", room="plaza")
            self.assertEqual((joined["room"], joined["members"]), ("plaza", 1))
            heard = following(ann, "joined", lambda message: message["user"] == "bob")
            self.assertEqual((await bob.call("join", room="plaza"))["members"], 2)
            self.assertEqual((await heard)["room"], "plaza")
            said = [following(client, "chat") for client in (ann, bob)]
            reply = await ann.call("chat", to="plaza", text="hello, żółw 🐇")
            expected = {"msg": "chat", "room": "plaza", "from": "ann", "text": "hello, żółw 🐇"}
            for chat in await asyncio.gather(*said):
                self.assertEqual(chat, expected | {"seq": reply["seq"]})
            left = following(ann, "left")
            await bob.close()
            self.assertEqual((await left)["user"], "bob")
            self.assertEqual((await ann.call("who", room="plaza"))["users"], ["ann"])
            with self.assertRaises(WarrenError) as caught:
                await bob.call("ping")
            self.assertEqual(caught.exception.reason, "client-closed")

    async def test_refusals_tell_reason_status_and_limit(self) -> None:
        config = "[limits]\nrooms_per_session_max = 1\n"
        async with server(config) as running, connect(running.url, user="ann") as ann:
            await ann.call("join", room="one")
            limit = "limits.rooms_per_session_max"
            for call, expected in [
                (ann.call("chat", to="nobody", text="hi"), ("unknown-recipient", 404, None)),
                (ann.call("join", room="two"), ("too-many-rooms", 429, limit)),
                (ann.call("dance", how="slowly"), ("unknown-method", 404, None)),
            ]:
                with self.assertRaises(WarrenError) as caught:
                    await call
                error = caught.exception
                self.assertEqual((error.reason, error.status, error.limit), expected)
            with self.assertRaises(WarrenError) as caught:
                await connect(running.url, user="no name")
            self.assertEqual(caught.exception.reason, "bad-name")

    async def test_objects_keep_values_of_every_type(self) -> None:
        async with server() as running, connect(running.url, user="ann") as ann:
            fields: dict[str, Value] = {
                "a": 7,
                "b": 7.0,
                "c": True,
                "d": "text\n",
                "e": ["x", ""],
                "f": b"\x00\xff",
                "g": 2**62 + 1,
            }
            created = await ann.call("create", kind="box", **fields)
            got = dict(await ann.call("get", object=created["object"]))
            self.assertEqual((got["kind"], got["owner"], got["version"]), ("box", "ann", 1))
            self.assertEqual({name: got[name] for name in fields}, fields)
            self.assertIs(type(got["b"]), float)
            await ann.call("watch", object=created["object"])
            changed = following(ann, "changed")
            await ann.call("set", object=created["object"], a=8, d=None)
            message = await changed
            self.assertEqual((message["version"], message["a"], message["d"]), (2, 8, None))

    async def test_a_second_login_ends_the_first_client_for_good(self) -> None:
        async with server() as running:
            first = await connect(running.url, user="ann")
            closed = following(first, "state", lambda state: state.state == "closed")
            async with connect(running.url, user="ann"):
                self.assertEqual((await closed).error.reason, "displaced")
                with self.assertRaises(WarrenError) as caught:
                    await first.call("ping")
                self.assertEqual(caught.exception.status, 410)

    async def test_many_calls_at_once_are_all_answered_in_order(self) -> None:
        async with server() as running, connect(running.url, user="ann") as ann:
            await ann.call("join", room="plaza")
            heard: list[str] = []
            ann.on("chat", lambda message: heard.append(message["text"]))
            lines = [str(index) for index in range(500)]
            await asyncio.gather(*(ann.call("chat", to="plaza", text=line) for line in lines))
            await ann.call("ping")
            self.assertEqual(heard, lines)

    async def test_websocket_carries_the_same(self) -> None:
        async with server() as running:
            url = f"ws://{running.game}"
            async with connect(url, user="ann") as ann, connect(running.url, user="bob") as bob:
                await ann.call("join", room="plaza")
                await bob.call("join", room="plaza")
                heard = following(ann, "chat")
                await bob.call("chat", to="plaza", text="over the wall, żółw")
                self.assertEqual((await heard)["text"], "over the wall, żółw")
                closed = following(ann, "state", lambda state: state.state == "closed")
                async with connect(url, user="ann"):
                    self.assertEqual((await closed).error.reason, "displaced")

    async def test_a_certificate_that_is_trusted_is_and_no_other(self) -> None:
        with certificate() as (config, trusting):
            async with server(config + "required = true\n") as running:
                for scheme in ("tls", "wss"):
                    url = f"{scheme}://{running.game}"
                    async with connect(url, user="ann", tls=trusting) as ann:
                        await ann.call("join", room="plaza")
                        resumed = following(ann, "state", lambda now: now.state == "connected")
                        ann.reconnect()
                        self.assertTrue((await resumed).resumed)
                        heard = following(ann, "chat")
                        await ann.call("chat", to="plaza", text="over the wall, żółw")
                        self.assertEqual((await heard)["text"], "over the wall, żółw")
                    with self.assertRaises(WarrenError) as caught:
                        await connect(url, user="ann")
                    self.assertEqual(caught.exception.reason, "connect-failed")
                    self.assertIsInstance(
                        caught.exception.__cause__, ssl.SSLCertVerificationError
                    )

    async def test_a_ticket_says_who_logs_in(self) -> None:
        with tempfile.TemporaryDirectory(prefix="warren-ticket-") as folder:
            key = Path(folder) / "ticket.key"

            def ticket(command: str, *arguments: str) -> dict[str, str]:
                line = ["ticket", command, "--json", "--key", str(key), *arguments]
                binary = str(BINARIES / "warren")
                made = subprocess.run([binary, *line], check=True, stdout=subprocess.PIPE)
                return dict(json.loads(made.stdout))

            def issue(user: str) -> str:
                return ticket("issue", "--user", user)["ticket"]

            public = ticket("keygen")["public"]
            config = f'[auth]\nmode = "ticket"\nkeys = ["{public}"]\n'
            async with server(config) as running:
                url = running.url
                async with connect(url, ticket=lambda: issue("ann")) as ann:
                    await ann.call("join", room="plaza")
                    self.assertEqual((await ann.call("who", room="plaza"))["users"], ["ann"])
                bob = issue("bob")
                for options, reason in (
                    ({"user": "ann"}, "ticket-missing"),
                    ({"user": "ann", "ticket": bob}, "ticket-invalid"),
                ):
                    with self.assertRaises(WarrenError) as caught:
                        await connect(url, **options)  # type: ignore[arg-type]
                    error = caught.exception
                    self.assertEqual((error.reason, error.status), (reason, 401))

    async def test_a_frame_that_is_too_long_is_not_sent(self) -> None:
        async with server() as running, connect(running.url, user="ann") as ann:
            with self.assertRaises(WarrenError) as caught:
                await ann.call("chat", to="ann", text="é" * 40_000)
            self.assertEqual(caught.exception.reason, "frame-too-large")
            await ann.call("ping")

    async def test_a_server_that_is_not_there_is_an_error(self) -> None:
        with self.assertRaises(WarrenError) as caught:
            await connect("tcp://127.0.0.1:1", user="ann")
        self.assertEqual(caught.exception.reason, "connect-failed")
        with self.assertRaises(ValueError):
            await connect("http://127.0.0.1:1", user="ann")
