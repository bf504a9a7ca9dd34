// Worlds: what a client makes of what a server says, and the real server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../dist/index.js";
import { startPeer } from "./peer.js";
import { next, startProxy, startServer } from "./server.js";

const backoff = { baseMs: 1, capMs: 1 };
/** Nothing takes so long: a test that waits longer has failed. */
const timeout = 60_000;

/** @typedef {import("../dist/index.js").World} World */

/** Resolves when a condition holds, now or after a frame. */
function seen(/** @type {World} */ world, /** @type {() => boolean} */ condition) {
  return new Promise((resolve) => {
    const look = () => {
      if (!condition()) return;
      off();
      resolve(undefined);
    };
    const off = world.on("frame", look);
    look();
  });
}

/**
 * The next event of a world.
 *
 * @template {keyof import("../dist/index.js").WorldEvents} Name
 * @param {World} world
 * @param {Name} name
 * @returns {Promise<import("../dist/index.js").WorldEvents[Name]>}
 */
const told = (world, name) =>
  new Promise((resolve) => {
    const off = world.on(name, (event) => (off(), resolve(event)));
  });

/** Whether one member sees another's entity there. */
function isAt(/** @type {World} */ world, /** @type {World} */ other, /** @type {number} */ x) {
  return world.entities.get(other.ownId)?.x === x;
}

const joined = { room: "sky", members: 1, world: "171.31", entity: 7, cell: 64.0, dims: 2, tick_hz: 10.0, x: 1.5, y: 2.0 };
const first = { msg: "frame", room: "sky", tick: 1, cell: "0:0", whole: true };

/** Ann, whose server does what the test says. */
async function meet(/** @type {import("node:test").TestContext} */ context) {
  const peer = await startPeer(context);
  const [connection, client] = await Promise.all([
    peer.serve(),
    connect(peer.url, { user: "ann", backoff }),
  ]);
  return { peer, connection, client };
}

/**
 * The client joins the world `sky`, and is answered.
 *
 * @param {import("../dist/index.js").Client} client
 * @param {Awaited<ReturnType<typeof meet>>["connection"]} connection
 */
async function enter(client, connection, reply = joined) {
  const [world] = await Promise.all([client.joinWorld("sky"), connection.answer("join", reply)]);
  return world;
}

/** A session of Ann's and one of Bob's, on a server. */
async function visit(/** @type {import("node:test").TestContext} */ context) {
  const server = await startServer(context);
  const proxy = await startProxy(context, server.port);
  const ann = await connect(`tcp://127.0.0.1:${proxy.port}`, { user: "ann", backoff });
  const bob = await connect(`tcp://${server.game}`, { user: "bob" });
  context.after(() => Promise.all([ann.close(), bob.close()]));
  return { ann, bob, proxy };
}

test("frames that come with the reply are not missed", { timeout }, async (context) => {
  const { connection, client } = await meet(context);
  const joining = client.joinWorld("sky", { x: 1.5, y: 2 });
  const frame = { ...first, cells: ["*0:0 7:1.5:2:0:0:0"] };
  const { id, ...request } = await connection.answer("join", joined, frame);
  assert.deepEqual(request, { msg: "join", room: "sky", x: 1.5, y: 2 });
  const world = await joining;
  assert.deepEqual(
    [world.room, world.object, world.ownId, world.cell, world.dims, world.tickHz, world.tick],
    ["sky", "171.31", 7, 64, 2, 10, 1],
  );
  assert.equal(world.own?.x, 1.5);
  assert.deepEqual(world.entrance, { x: 1.5, y: 2, z: 0 });
  // Another room's frames are not this one's.
  const heard = told(world, "frame");
  connection.write({ ...frame, room: "sea" }, { ...first, tick: 2, cells: [] });
  assert.deepEqual(await heard, { tick: 2, centre: [0, 0], isWhole: true, updated: [], gone: [7] });
  const rate = told(world, "tickRate");
  connection.write({ msg: "tick-rate", room: "sky", tick_hz: 5.0, seq: 3 });
  assert.deepEqual([await rate, world.tickHz], [5, 5]);
  connection.cut();
  await client.close();
});

test("the last move is said again on the next connection", { timeout }, async (context) => {
  const { peer, connection, client } = await meet(context);
  const world = await enter(client, connection);
  world.move({ x: 1, y: 2, heading: 90 });
  const move = { msg: "move", room: "sky", id: "sky" };
  assert.deepEqual(await connection.read(), { ...move, x: 1, y: 2, heading: 90 });
  connection.cut();
  await next(client, "state", ({ state }) => state === "reconnecting");
  world.move({ x: 2, y: 2 });
  world.move({ x: 3, y: 2 });
  const second = await peer.greet();
  await second.answer("resume", { token: "b", replayed: 0 });
  assert.deepEqual(await second.read(), { ...move, x: 3, y: 2 });
  // One that was refused is not.
  const refused = told(world, "refused");
  second.write({ ...move, status: 429, error: "too-fast", limit: "speed_max", x: 1.0, y: 2.0 });
  const { error, at } = await refused;
  assert.deepEqual([error.reason, error.limit, at], ["too-fast", "speed_max", { x: 1, y: 2, z: 0 }]);
  second.cut();
  const third = await peer.greet();
  await third.answer("resume", { token: "c", replayed: 0 });
  void client.call("time", {}).catch(() => {});
  assert.equal((await third.read()).msg, "time");
  // A refusal that does not say where: its `id` is the world's name.
  const early = told(world, "refused");
  third.write({ msg: "move", id: "sea", status: 429, error: "message-rate" });
  third.write({ msg: "move", id: "sky", status: 403, error: "not-a-member" });
  assert.deepEqual([(await early).error.reason, (await early).at], ["not-a-member", undefined]);
  third.cut();
  await client.close();
});

test("a world ends with its session, and with its client", { timeout }, async (context) => {
  const { peer, connection, client } = await meet(context);
  const world = await enter(client, connection);
  const end = told(world, "end");
  connection.cut();
  const second = await peer.greet();
  await second.answer("resume", { status: 401, error: "session-unknown" });
  await second.answer("login", { session: "8", token: "b", object: "1.1" });
  assert.equal((await end).reason, "session-lost");
  assert.throws(() => world.move({ x: 0, y: 0 }), { reason: "session-lost" });
  const anew = await enter(client, second, { ...joined, entity: 8 });
  assert.equal(anew.ownId, 8);
  const closed = told(anew, "end");
  second.cut();
  await client.close();
  assert.equal((await closed).reason, "client-closed");
});

test("a world whose frame has no end is left", { timeout }, async (context) => {
  const { connection, client } = await meet(context);
  const world = await enter(client, connection);
  const end = told(world, "end");
  const part = { msg: "frame", room: "sky", tick: 1, cell: "0:0", more: true, cells: ["x".repeat(4 * 1024 * 1024)] };
  for (let count = 0; count < 4; count += 1) connection.write(part);
  assert.equal((await end).reason, "frame-too-large");
  assert.deepEqual(await connection.read(), { msg: "leave", room: "sky" });
  assert.throws(() => world.move({ x: 0, y: 0 }), { reason: "frame-too-large" });
  connection.cut();
  await client.close();
});

test("members of a world see each other move", { timeout }, async (context) => {
  const { ann, bob } = await visit(context);
  await assert.rejects(ann.joinWorld("lobby"), { reason: "lobby" });
  await assert.rejects(ann.joinWorld("no-space"), { reason: "no-world" });
  assert.deepEqual((await ann.call("rooms", {})).rooms.includes("no-space"), true);
  await ann.call("create", { kind: "world", room: "plaza", cell: 64, tick_hz: 20 });
  const here = await ann.joinWorld("plaza", { x: 1, y: 2 });
  const there = await bob.joinWorld("plaza", { x: 10, y: -5 });
  assert.deepEqual([here.cell, here.dims, here.tickHz], [64, 2, 20]);
  await Promise.all([
    seen(here, () => isAt(here, there, 10)),
    seen(there, () => isAt(there, here, 1)),
  ]);
  there.move({ x: 12.5, y: -5, vx: 2, vy: -0.5, heading: 450 });
  await seen(here, () => isAt(here, there, 12.5));
  const { id, tick, ...state } = here.entities.get(there.ownId) ?? { id: -1, tick: -1 };
  assert.deepEqual(
    { ...state },
    { x: 12.5, y: -5, z: 0, vx: 2, vy: -0.5, vz: 0, heading: 90, cell: [0, -1] },
  );
  // Both are told the same, each of itself too.
  await seen(there, () => isAt(there, there, 12.5));
  assert.equal(there.own?.y, -5);
  const { users, entities } = await ann.call("who", { room: "plaza", entity: there.ownId });
  assert.deepEqual([users, entities], [["bob"], [String(there.ownId)]]);
  const far = told(there, "refused");
  there.move({ x: 1e9, y: 0 });
  assert.equal((await far).error.reason, "field-invalid");
  const end = told(there, "end");
  await there.leave();
  assert.equal((await end).reason, "left");
  await seen(here, () => !here.entities.has(there.ownId));
  assert.deepEqual([...here.entities.keys()], [here.ownId]);
});

test("where moves are bounded a member begins at the spawn point", { timeout }, async (context) => {
  const { ann } = await visit(context);
  await ann.call("create", { kind: "world", room: "track", speed_max: 100, spawn_x: 5 });
  const world = await ann.joinWorld("track", { x: 50, y: 60 });
  assert.deepEqual(world.entrance, { x: 5, y: 0, z: 0 });
  const refused = told(world, "refused");
  world.move({ x: 5_000, y: 0 });
  const { error, at } = await refused;
  assert.deepEqual([error.reason, error.limit, at], ["too-fast", "speed_max", world.entrance]);
});

test("a member whose connection is cut goes on", { timeout }, async (context) => {
  const { ann, bob, proxy } = await visit(context);
  await bob.call("create", { kind: "world", room: "sky", dims: 3, tick_hz: 20 });
  const here = await ann.joinWorld("sky", { z: 30 });
  const there = await bob.joinWorld("sky", { x: 1, z: 20 });
  let x = 1;
  for (let round = 0; round < 5; round += 1) {
    await seen(here, () => isAt(here, there, x));
    // Somewhere in the frame that tells of it.
    proxy.cutAfter(1 + round * 15);
    there.move({ x: (x += 0.5), y: 0, z: 20 });
    await next(ann, "state", ({ state }) => state === "reconnecting");
    here.move({ x: -x, y: 0, z: 30 });
    there.move({ x: (x += 0.5), y: 0, z: 20 });
    // The first frame on the new connection says everything.
    assert.equal((await told(here, "frame")).isWhole, true);
    await seen(here, () => isAt(here, there, x));
    await seen(there, () => isAt(there, here, 0.5 - x));
    assert.equal(here.entities.get(there.ownId)?.z, 20);
  }
});
