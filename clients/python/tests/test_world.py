"""Worlds: what a client makes of what a server says, and the real server."""

from __future__ import annotations

import asyncio
import contextlib
import unittest
from collections.abc import AsyncIterator, Callable
from typing import Any

from peer import Connection, Peer, peer
from server import PATIENCE, following, proxy, server

from warren_client import Backoff, Client, Frame, WarrenError, World, connect

_BACKOFF = Backoff(base=0.001, cap=0.001)
_JOINED: dict[str, Any] = {
    "room": "sky",
    "members": 1,
    "world": "171.31",
    "entity": 7,
    "cell": 64.0,
    "dims": 2,
    "tick_hz": 10.0,
    "x": 1.5,
    "y": 2.0,
}
_FIRST: dict[str, Any] = {"msg": "frame", "room": "sky", "tick": 1, "cell": "0:0", "whole": True}


@contextlib.asynccontextmanager
async def met() -> AsyncIterator[tuple[Peer, Connection, Client]]:
    """Ann, whose server does what the test says; her connection is the first."""
    async with peer() as served:
        serving = asyncio.create_task(served.serve())
        client = await connect(served.url, user="ann", backoff=_BACKOFF)
        yield served, await serving, client


async def entered(client: Client, connection: Connection, **reply: Any) -> World:
    """The client joins the world ``sky``, and is answered."""
    joining = asyncio.create_task(client.join_world("sky"))
    await connection.answer("join", **(_JOINED | reply))
    return await joining


async def seen(world: World, condition: Callable[[], bool]) -> None:
    """Returns when a condition holds, now or after a frame."""

    async def look() -> None:
        if not condition():
            async for _ in world:
                if condition():
                    return

    await asyncio.wait_for(look(), PATIENCE)


def told(world: World, name: Any) -> asyncio.Future[Any]:
    """The next event of a world."""
    future = asyncio.get_running_loop().create_future()

    def hear(event: Any) -> None:
        off()
        future.set_result(event)

    off = world.on(name, hear)
    return asyncio.ensure_future(asyncio.wait_for(future, PATIENCE))


def is_at(world: World, other: World, x: float) -> bool:
    """Whether one member sees another's entity there."""
    entity = world.entities.get(other.own_id)
    return entity is not None and entity.x == x


class WorldTest(unittest.IsolatedAsyncioTestCase):
    async def test_frames_that_come_with_the_reply_are_not_missed(self) -> None:
        async with met() as (_, connection, client):
            joining = asyncio.create_task(client.join_world("sky", x=1.5, y=2.0))
            frame = _FIRST | {"cells": ["*0:0 7:1.5:2:0:0:0"]}
            request = await connection.answer("join", frame, **_JOINED)
            del request["id"]
            self.assertEqual(request, {"msg": "join", "room": "sky", "x": 1.5, "y": 2.0})
            world = await joining
            self.assertEqual((world.room, world.object, world.own_id), ("sky", "171.31", 7))
            self.assertEqual((world.cell, world.dims, world.tick_hz), (64.0, 2, 10.0))
            assert world.own is not None
            self.assertEqual((world.tick, world.own.x), (1, 1.5))
            self.assertEqual(world.entrance, (1.5, 2.0, 0.0))
            # Another room's frames are not this one's.
            heard = told(world, "frame")
            connection.write(frame | {"room": "sea"}, _FIRST | {"tick": 2, "cells": []})
            self.assertEqual(await heard, Frame(2, (0, 0), True, frozenset(), frozenset({7})))
            rate = told(world, "tick_rate")
            connection.write({"msg": "tick-rate", "room": "sky", "tick_hz": 5.0, "seq": 3})
            self.assertEqual((await rate, world.tick_hz), (5.0, 5.0))
            connection.cut()
            await client.close()

    async def test_the_last_move_is_said_again_on_the_next_connection(self) -> None:
        async with met() as (served, connection, client):
            world = await entered(client, connection)
            move = {"msg": "move", "room": "sky", "id": "sky"}
            rest = {"z": 0.0, "vx": 0.0, "vy": 0.0, "vz": 0.0}
            world.move(1.0, 2.0, heading=90.0)
            said = move | rest | {"x": 1.0, "y": 2.0, "heading": 90.0}
            self.assertEqual(await connection.read(), said)
            reconnecting = following(client, "state", lambda now: now.state == "reconnecting")
            connection.cut()
            await reconnecting
            world.move(2.0, 2.0)
            world.move(3.0, 2.0)
            second = await served.greet()
            await second.answer("resume", token="b", replayed=0)
            said = move | rest | {"x": 3.0, "y": 2.0, "heading": 0.0}
            self.assertEqual(await second.read(), said)
            # One that was refused is not.
            refused = told(world, "refused")
            where = {"limit": "speed_max", "x": 1.0, "y": 2.0}
            second.write({"msg": "move", "room": "sky", "status": 429, "error": "too-fast"} | where)
            refusal = await refused
            self.assertEqual((refusal.error.reason, refusal.error.limit), ("too-fast", "speed_max"))
            self.assertEqual(refusal.at, (1.0, 2.0, 0.0))
            second.cut()
            third = await served.greet()
            await third.answer("resume", token="c", replayed=0)
            asking = asyncio.create_task(client.call("time"))
            self.assertEqual((await third.read())["msg"], "time")
            # A refusal that does not say where: its `id` is the world's name.
            early = told(world, "refused")
            third.write({"msg": "move", "id": "sea", "status": 429, "error": "message-rate"})
            third.write({"msg": "move", "id": "sky", "status": 403, "error": "not-a-member"})
            refusal = await early
            self.assertEqual((refusal.error.reason, refusal.at), ("not-a-member", None))
            third.cut()
            await client.close()
            with self.assertRaises(WarrenError):
                await asking

    async def test_a_world_ends_with_its_session_and_with_its_client(self) -> None:
        async with met() as (served, connection, client):
            world = await entered(client, connection)
            watching = asyncio.create_task(seen(world, lambda: False))
            connection.cut()
            second = await served.greet()
            await second.answer("resume", status=401, error="session-unknown")
            await second.answer("login", session="8", token="b", object="1.1")
            with self.assertRaisesRegex(WarrenError, "^session-lost$"):
                await watching
            with self.assertRaisesRegex(WarrenError, "^session-lost$"):
                world.move(0.0, 0.0)
            anew = await entered(client, second, entity=8)
            self.assertEqual(anew.own_id, 8)
            end = told(anew, "end")
            second.cut()
            await client.close()
            self.assertEqual((await end).reason, "client-closed")

    async def test_a_slow_loop_is_brought_several_frames_as_one(self) -> None:
        async with met() as (_, connection, client):
            world = await entered(client, connection)
            frames = world.__aiter__()
            next_frame = asyncio.ensure_future(anext(frames))
            await asyncio.sleep(0)
            connection.write(_FIRST | {"cells": ["*0:0 7:1:2:0:0:0"]})
            self.assertEqual((await next_frame).updated, {7})
            last = following(client, "frame", lambda message: message["tick"] == 3)
            later = {"msg": "frame", "room": "sky", "cell": "0:0"}
            connection.write(
                later | {"tick": 2, "cells": ["0:0 8:1:2:0:0:0"]},
                later | {"tick": 3, "cells": ["0:0 -7"]},
            )
            await last
            both = Frame(3, (0, 0), False, frozenset({8}), frozenset({7}))
            self.assertEqual(await anext(frames), both)
            # What was told before the end is brought before it.
            last = following(client, "frame", lambda message: message["tick"] == 4)
            connection.write(later | {"tick": 4, "cells": ["0:0 -8"]})
            await last
            connection.cut()
            await client.close()
            self.assertEqual((await anext(frames)).gone, {8})
            with self.assertRaisesRegex(WarrenError, "^client-closed$"):
                await anext(frames)

    async def test_a_world_whose_frame_has_no_end_is_left(self) -> None:
        async with met() as (_served, connection, client):
            world = await entered(client, connection)
            end = told(world, "end")
            part = {"msg": "frame", "room": "sky", "tick": 1, "cell": "0:0", "more": True}
            for _ in range(16):
                connection.write(part | {"cells": ["x" * (1024 * 1024)]})
                await asyncio.sleep(0)
            self.assertEqual((await end).reason, "frame-too-large")
            self.assertEqual(await connection.read(), {"msg": "leave", "room": "sky"})
            with self.assertRaisesRegex(WarrenError, "^frame-too-large$"):
                world.move(0.0, 0.0)
            connection.cut()
            await client.close()

    async def test_members_of_a_world_see_each_other_move(self) -> None:
        async with (
            server() as running,
            connect(running.url, user="ann") as ann,
            connect(f"ws://{running.game}", user="bob") as bob,
        ):
            for room, reason in (("lobby", "lobby"), ("flat", "no-world")):
                with self.assertRaisesRegex(WarrenError, f"^{reason}$"):
                    await ann.join_world(room)
            await ann.call("create", kind="world", room="plaza", tick_hz=20)
            here = await ann.join_world("plaza", x=1.0, y=2.0)
            there = await bob.join_world("plaza", x=10.0, y=-5.0)
            self.assertEqual((here.cell, here.dims, here.tick_hz), (64.0, 2, 20.0))
            await seen(here, lambda: is_at(here, there, 10.0))
            await seen(there, lambda: is_at(there, here, 1.0))
            there.move(12.5, -5.0, vx=2.0, vy=-0.5, heading=450.0)
            await seen(here, lambda: is_at(here, there, 12.5))
            entity = here.entities[there.own_id]
            self.assertEqual((entity.x, entity.y, entity.z), (12.5, -5.0, 0.0))
            self.assertEqual((entity.vx, entity.vy, entity.heading), (2.0, -0.5, 90.0))
            self.assertEqual(entity.cell, (0, -1))
            # Both are told the same, each of itself too.
            await seen(there, lambda: is_at(there, there, 12.5))
            who = await ann.call("who", room="plaza", entity=there.own_id)
            self.assertEqual((who["users"], who["entities"]), (["bob"], [str(there.own_id)]))
            end = told(there, "end")
            await there.leave()
            self.assertEqual((await end).reason, "left")
            self.assertEqual([frame async for frame in there], [])
            await seen(here, lambda: there.own_id not in here.entities)
            self.assertEqual(list(here.entities), [here.own_id])

    async def test_where_moves_are_bounded_a_member_begins_at_the_spawn_point(self) -> None:
        async with server() as running, connect(running.url, user="ann") as ann:
            await ann.call("create", kind="world", room="track", speed_max=100, spawn_x=5)
            world = await ann.join_world("track", x=50.0, y=60.0)
            self.assertEqual(world.entrance, (5.0, 0.0, 0.0))
            refused = told(world, "refused")
            world.move(5_000.0, 0.0)
            refusal = await refused
            self.assertEqual((refusal.error.reason, refusal.at), ("too-fast", world.entrance))

    async def test_a_member_whose_connection_is_cut_goes_on(self) -> None:
        async with (
            server() as running,
            proxy(running.port) as passing,
            connect(passing.url, user="ann", backoff=_BACKOFF) as ann,
            connect(running.url, user="bob") as bob,
        ):
            await bob.call("create", kind="world", room="sky", dims=3, tick_hz=20)
            here = await ann.join_world("sky", z=30.0)
            there = await bob.join_world("sky", x=1.0, z=20.0)
            x = 1.0
            for cut in range(1, 75, 15):
                await seen(here, lambda: is_at(here, there, x))  # noqa: B023
                reconnecting = following(ann, "state", lambda now: now.state == "reconnecting")
                # Somewhere in the frame that tells of it.
                passing.cut_after(cut)
                x += 0.5
                there.move(x, 0.0, 20.0)
                await reconnecting
                here.move(-x, 0.0, 30.0)
                x += 0.5
                there.move(x, 0.0, 20.0)
                # The first frame on the new connection says everything.
                self.assertTrue((await told(here, "frame")).is_whole)
                await seen(here, lambda: is_at(here, there, x))  # noqa: B023
                await seen(there, lambda: is_at(there, here, 0.5 - x))  # noqa: B023
                self.assertEqual(here.entities[there.own_id].z, 20.0)
