"""Sessions that outlive their connections, against a server that does what the test says."""

from __future__ import annotations

import asyncio
import contextlib
import unittest
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from peer import Connection, Peer, peer
from server import following

from warren_client import Backoff, Client, State, WarrenError, connect

AT_ONCE = Backoff(base=0.001, cap=0.001)
NEVER = Backoff(base=1e9, cap=1e9)
UNKNOWN: dict[str, Any] = {"status": 401, "error": "session-unknown"}
TAKEN_OVER = {"msg": "closed", "status": 410, "error": "taken-over"}


def chat(text: str) -> dict[str, Any]:
    return {"msg": "chat", "to": "ann", "from": "bob", "text": text}


@contextlib.asynccontextmanager
async def logged_in(
    hello: dict[str, Any] | None = None, *said: dict[str, Any], **options: Any
) -> AsyncIterator[tuple[Peer, Connection, Client]]:
    """A client of a peer, logged in."""
    async with peer() as served:
        connecting = connect(served.url, user="ann", **({"backoff": AT_ONCE} | options))

        async def connected() -> Client:
            return await connecting

        connection, client = await asyncio.gather(served.serve(*said, **(hello or {})), connected())
        try:
            yield served, connection, client
        finally:
            connection.cut()
            await client.close()


class SessionTest(unittest.IsolatedAsyncioTestCase):
    async def refused(self, call: Awaitable[Any], reason: str, status: int) -> None:
        with self.assertRaises(WarrenError) as caught:
            await call
        self.assertEqual((caught.exception.reason, caught.exception.status), (reason, status))

    async def test_what_counts_is_counted_over_all_connections(self) -> None:
        async with logged_in() as (served, connection, client):
            ping = asyncio.create_task(client.call("ping"))
            await connection.answer("ping", time_ms=1)
            await ping
            last = following(client, "chat", lambda message: message["text"] == "last")
            connection.write(
                {"msg": "pong", "status": 0},
                {"msg": "error", "status": 400, "error": "malformed"},
                chat("first"),
                {"msg": "join", "id": 999, "status": 0},
                {"msg": "time", "status": 0},
                chat("last"),
            )
            await last
            connection.cut()
            second = await served.greet()
            resume = await second.answer("resume", token="b", replayed=1)
            expected = {"msg": "resume", "session": "7", "token": "a", "received": 4}
            self.assertEqual(resume, expected)
            more = following(client, "chat")
            second.write(chat("more"))
            await more
            second.cut()
            third = await served.greet()
            resume = await third.answer("resume", token="c", replayed=0)
            self.assertEqual((resume["token"], resume["received"]), ("b", 5))

    async def test_a_resume_whose_reply_was_lost_is_asked_for_with_the_same_token(self) -> None:
        async with logged_in() as (served, connection, _):
            connection.cut()
            for _ in range(2):
                again = await served.greet()
                self.assertEqual((await again.read())["token"], "a")
                again.cut()

    async def test_a_resume_that_was_given_up_and_comes_late_is_no_end(self) -> None:
        async with logged_in() as (served, connection, client):
            faults: list[object] = []
            client.on("lost", faults.append)
            call = asyncio.create_task(client.call("join", room="plaza"))
            id = (await connection.read())["id"]
            connection.cut()
            second = await served.greet()
            await second.answer("resume", TAKEN_OVER, token="b", replayed=0)
            third = await served.greet()
            self.assertEqual((await third.answer("resume", **UNKNOWN))["token"], "b")
            # It is on its way still when this connection breaks.
            self.assertEqual((await third.read())["token"], "a")
            third.cut()
            fourth = await served.greet()
            self.assertEqual((await fourth.answer("resume", **UNKNOWN))["token"], "b")
            # A reply that was missed does not tell that the server has heard from this connection.
            missed = {"msg": "join", "id": id, "status": 0, "room": "plaza", "members": 1}
            resume = await fourth.answer("resume", missed, TAKEN_OVER, token="c", replayed=1)
            self.assertEqual(resume["token"], "a")
            await call
            fifth = await served.greet()
            resume = await fifth.answer("resume", token="d", replayed=0)
            self.assertEqual(resume["token"], "c")
            # One to what was asked here does: from then on the token before is void.
            ping = asyncio.create_task(client.call("ping"))
            await fifth.answer("ping", time_ms=1)
            await ping
            closed = following(client, "state", lambda state: state.state == "closed")
            fifth.write(TAKEN_OVER)
            self.assertEqual((await closed).error.reason, "taken-over")
            self.assertEqual(faults, [])

    async def test_a_session_is_gone_when_neither_of_two_tokens_is_its_own(self) -> None:
        async with logged_in() as (served, connection, client):
            lost = following(client, "lost")
            connection.cut()
            second = await served.greet()
            await second.answer("resume", token="b", replayed=0)
            second.cut()
            third = await served.greet()
            self.assertEqual((await third.answer("resume", **UNKNOWN))["token"], "b")
            self.assertEqual((await third.answer("resume", **UNKNOWN))["token"], "a")
            await third.answer("login", session="8", token="z", object="1.2")
            self.assertEqual((await lost).reason, "session-unknown")
            closed = following(client, "state", lambda state: state.state == "closed")
            third.write(TAKEN_OVER)
            await closed

    async def test_calls_without_a_reply_are_sent_again_behind_what_was_missed(self) -> None:
        async with logged_in() as (served, connection, client):
            calls = [
                asyncio.create_task(client.call("join", room=room))
                for room in ("one", "two", "three")
            ]
            self.assertEqual([(await connection.read())["id"] for _ in calls], [1, 2, 3])
            connection.write({"msg": "join", "id": 2, "status": 0, "room": "two", "members": 1})
            await calls[1]
            connection.cut()
            second = await served.greet()
            await second.answer("resume", token="b", replayed=2)
            # It leaves behind the others, though nothing holds it.
            fourth = asyncio.create_task(client.call("leave", room="two"))
            second.write(chat("hi"))
            second.write({"msg": "join", "id": 1, "status": 0, "room": "one", "members": 1})
            await calls[0]
            again = await second.answer("join", room="three", members=1)
            self.assertEqual((again["id"], again["room"]), (3, "three"))
            await calls[2]
            self.assertEqual((await second.answer("leave"))["id"], 4)
            await fourth

    async def test_a_session_that_is_gone_is_told_and_its_calls_fail(self) -> None:
        for error in ("session-unknown", "resume-too-old"):
            tickets: list[str] = []

            async def ticket() -> str:
                tickets.append(f"ticket {len(tickets) + 1}")
                return tickets[-1]

            async with logged_in(ticket=ticket) as (served, connection, client):
                call = asyncio.create_task(client.call("join", room="plaza"))
                await connection.read()
                connection.cut()
                lost = following(client, "lost")
                second = await served.greet()
                await second.answer("resume", status=410, error=error)
                await self.refused(call, "session-lost", 0)
                login = await second.answer("login", session="8", token="z", object="1.2")
                self.assertEqual((login["user"], login["ticket"]), ("ann", "ticket 2"))
                self.assertEqual((await lost).reason, error)
                self.assertEqual(client.own_object, "1.2")
                second.cut()
                resume = await (await served.greet()).read()
                self.assertEqual((resume["session"], resume["received"]), ("8", 0))

    async def test_a_request_leaves_only_while_the_server_remembers_those_without_a_reply(
        self,
    ) -> None:
        async with logged_in() as (_, connection, client):
            calls = [asyncio.create_task(client.call("leave", room="a")) for _ in range(70)]
            ids = [(await connection.read())["id"] for _ in range(64)]
            self.assertEqual(ids, list(range(1, 65)))
            # All but the oldest: still nothing may follow.
            for id in ids[1:]:
                connection.write({"msg": "leave", "id": id, "status": 0})
            await calls[63]
            heard = following(client, "chat")
            connection.write(chat("hi"))
            await heard
            client.reconnect()
            self.assertEqual(await connection.read(), {})
            for call in calls:
                call.cancel()

    async def test_a_call_that_gets_no_reply_in_time_fails_and_lets_others_go(self) -> None:
        async with logged_in(call_timeout=0.005) as (_, connection, client):
            await self.refused(client.call("leave", room="plaza"), "call-timeout", 0)
            await connection.read()
            # The reply that came too late harms nobody.
            connection.write({"msg": "leave", "id": 1, "status": 0})
        async with logged_in() as (_, connection, client):
            first = asyncio.create_task(client.call("leave", room="plaza"))
            others = [asyncio.create_task(client.call("leave", room="plaza")) for _ in range(65)]
            await connection.read()
            # Whoever waits no longer is not waited for.
            first.cancel()
            for _ in others:
                await connection.answer("leave")
            await asyncio.gather(*others)

    async def test_one_call_too_many_is_refused(self) -> None:
        async with logged_in(calls_max=2) as (_, connection, client):
            calls = [asyncio.create_task(client.call("leave", room="a")) for _ in range(2)]
            await connection.read()
            await self.refused(client.call("leave", room="a"), "queue-full", 0)
            for call in calls:
                call.cancel()

    async def test_a_silent_connection_is_given_up_after_the_server_was_asked(self) -> None:
        # What is said comes with the login's reply, however slow this machine is: so it is counted
        # before the heart beats, and the first beat asks.
        async with logged_in({"heartbeat_ms": 20}, chat("hi")) as (served, connection, _):
            self.assertEqual(await connection.read(), {"msg": "ping", "received": 1})
            self.assertEqual(await connection.read(), {})
            second = await served.greet()
            await second.answer("resume", token="b", replayed=0)

    async def test_a_server_that_never_answers_is_given_up(self) -> None:
        async with peer() as served:
            connecting = connect(served.url, user="ann", connect_timeout=0.005)
            await self.refused(connecting, "connect-failed", 0)
            await served.accept()

    async def test_what_is_closed_for_good_stays_closed(self) -> None:
        for reason in ("displaced", "taken-over", "kicked", "banned"):
            async with logged_in() as (_, connection, client):
                call = asyncio.create_task(client.call("ping"))
                await connection.read()
                connection.write({"msg": "closed", "status": 410, "error": reason})
                await self.refused(call, reason, 410)
                self.assertEqual(client.state.state, "closed")

    async def test_other_closes_and_servers_that_are_full_are_tried_again(self) -> None:
        async with logged_in() as (served, connection, client):
            states: list[tuple[str, str | None]] = []

            def hear(state: State) -> None:
                states.append((state.state, state.error.reason if state.error else None))

            client.on("state", hear)
            connection.write({"msg": "closed", "status": 504, "error": "slow-consumer"})
            second = await served.accept()
            second.write({"msg": "closed", "status": 503, "error": "busy"})
            third = await served.greet()
            await third.answer("resume", status=429, error="login-rate")
            fourth = await served.greet()
            connected = following(client, "state", lambda state: state.state == "connected")
            await fourth.answer("resume", token="b", replayed=0)
            self.assertTrue((await connected).resumed)
            reasons = ["slow-consumer", "busy", "login-rate"]
            expected = [("reconnecting", reason) for reason in reasons]
            self.assertEqual(states, [*expected, ("connected", None)])

    async def test_a_refused_login_is_final_a_first_one_always(self) -> None:
        for status, error in ((401, "ticket-expired"), (429, "login-rate")):
            async with peer() as served:
                connecting = connect(served.url, user="ann", backoff=AT_ONCE)
                refused = asyncio.create_task(self.refused(connecting, error, status))
                await (await served.greet()).answer("login", status=status, error=error)
                await refused
        async with logged_in() as (served, connection, client):
            closed = following(client, "state", lambda state: state.state == "closed")
            connection.cut()
            await (await served.greet()).answer("resume", status=403, error="banned")
            self.assertEqual((await closed).error.reason, "banned")

    async def test_a_client_can_be_closed_while_it_connects_again(self) -> None:
        async with logged_in(backoff=NEVER) as (_, connection, client):
            call = asyncio.create_task(client.call("leave", room="plaza"))
            await connection.read()
            lost = following(client, "state", lambda state: state.state == "reconnecting")
            connection.cut()
            await lost
            await client.close()
            await self.refused(call, "client-closed", 0)

    async def test_reconnect_does_not_wait(self) -> None:
        async with logged_in(backoff=NEVER) as (served, connection, client):
            client.reconnect()
            self.assertEqual(await connection.read(), {})
            second = await served.greet()
            lost = following(client, "state", lambda state: state.state == "reconnecting")
            second.cut()
            await lost
            client.reconnect()
            await (await served.greet()).answer("resume", token="b", replayed=0)

    async def test_a_client_that_is_closed_does_not_connect_again(self) -> None:
        async with logged_in(backoff=NEVER) as (served, connection, client):
            lost = following(client, "state", lambda state: state.state == "reconnecting")
            connection.cut()
            await lost
            client.reconnect()
            await client.close()
            # Whoever connects next is another.
            other = asyncio.create_task(
                self.refused(connect(served.url, user="bob"), "banned", 403)
            )
            login = await (await served.greet()).answer("login", status=403, error="banned")
            self.assertEqual(login["user"], "bob")
            await other

    async def test_a_ticket_that_does_not_come_is_not_waited_for(self) -> None:
        async with peer() as served:
            never = asyncio.get_running_loop().create_future
            connecting = connect(served.url, ticket=never, connect_timeout=0.005)
            await self.refused(connecting, "connect-failed", 0)
            await served.accept()

    async def test_a_ticket_that_cannot_be_fetched_is_asked_for_again(self) -> None:
        asked = asyncio.Event()
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        answers: list[str | Exception | asyncio.Future[str]] = [
            "first",
            never,
            OSError("the service is away"),
            WarrenError("banned"),
            "last",
        ]

        async def ticket() -> str:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, str):
                return answer
            asked.set()
            return await answer

        async with logged_in(ticket=ticket) as (served, connection, client):
            lost = following(client, "lost")
            connection.cut()
            second = await served.greet()
            await second.answer("resume", **UNKNOWN)
            await asked.wait()
            client.reconnect()
            self.assertEqual(await second.read(), {})
            for _ in range(2):
                self.assertEqual(await (await served.greet()).read(), {})
            last = await served.greet()
            login = await last.answer("login", session="8", token="z", object="1.2")
            self.assertEqual(login["ticket"], "last")
            await lost

    async def test_a_listener_that_fails_does_not_stop_the_others(self) -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        async with logged_in() as (_, connection, client):
            client.on("chat", lambda _: 1 / 0)
            heard = following(client, "chat")
            connection.write(chat("hi"))
            await heard
            self.assertIsInstance(faults[0]["exception"], ZeroDivisionError)
            with self.assertRaises(TypeError):
                client.on("chat", asyncio.sleep)
