// The client against the real server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../dist/index.js";
import { next, startServer } from "./server.js";

/** Nothing takes so long: a test that waits longer has failed. */
const timeout = 60_000;

test("two users meet in a room", { timeout }, async (context) => {
  const server = await startServer(context);
  const url = `tcp://${server.game}`;
  const ann = await connect(url, { user: "ann" });
  const bob = await connect(url, { user: "bob" });
  const joined = await ann.call("join", { room: "plaza" });
  assert.deepEqual([joined.room, joined.members], ["plaza", 1]);
  const heard = next(ann, "joined", ({ user }) => user === "bob");
  assert.equal((await bob.call("join", { room: "plaza" })).members, 2);
  assert.equal((await heard).room, "plaza");
  const said = Promise.all([ann, bob].map((client) => next(client, "chat")));
  const { seq } = await ann.call("chat", { to: "plaza", text: "hello, żółw 🐇" });
  for (const chat of await said) {
    assert.deepEqual(
      { ...chat },
      { msg: "chat", room: "plaza", from: "ann", text: "hello, żółw 🐇", seq },
    );
  }
  const left = next(ann, "left");
  await bob.close();
  assert.equal((await left).user, "bob");
  assert.deepEqual((await ann.call("who", { room: "plaza" })).users, ["ann"]);
  await ann.close();
  await assert.rejects(ann.call("ping", {}), { reason: "client-closed", status: 0 });
});

test("refusals tell reason, status and limit", { timeout }, async (context) => {
  const server = await startServer(context, { config: "[limits]\nrooms_per_session_max = 1\n" });
  const url = `tcp://${server.game}`;
  const ann = await connect(url, { user: "ann" });
  context.after(() => ann.close());
  await assert.rejects(ann.call("chat", { to: "nobody", text: "hi" }), {
    name: "WarrenError",
    reason: "unknown-recipient",
    status: 404,
    limit: undefined,
  });
  await ann.call("join", { room: "one" });
  await assert.rejects(ann.call("join", { room: "two" }), {
    reason: "too-many-rooms",
    status: 429,
    limit: "limits.rooms_per_session_max",
  });
  await assert.rejects(ann.call("dance", { how: "slowly" }), { reason: "unknown-method" });
  await assert.rejects(connect(url, { user: "no name" }), { reason: "bad-name", status: 400 });
});

test("objects keep values of every type", { timeout }, async (context) => {
  const server = await startServer(context);
  const ann = await connect(`tcp://${server.game}`, { user: "ann" });
  context.after(() => ann.close());
  const fields = {
    a: 7,
    b: 0.5,
    c: true,
    d: "text\n",
    e: ["x", ""],
    f: Uint8Array.of(0, 255),
    g: 2n ** 62n + 1n,
  };
  const { object } = await ann.call("create", { kind: "box", ...fields });
  const { kind, owner, version, a, b, c, d, e, f, g } = await ann.call("get", { object });
  assert.deepEqual([kind, owner, version, { a, b, c, d, e, f, g }], ["box", "ann", 1, fields]);
  await ann.call("watch", { object });
  const changed = next(ann, "changed");
  await ann.call("set", { object, a: 8, d: null });
  const { version: now, a: eight, d: none } = await changed;
  assert.deepEqual([now, eight, none], [2, 8, null]);
});

test("a second login ends the first client for good", { timeout }, async (context) => {
  const server = await startServer(context);
  const url = `tcp://${server.game}`;
  const first = await connect(url, { user: "ann" });
  const closed = next(first, "state", ({ state }) => state === "closed");
  const second = await connect(url, { user: "ann" });
  context.after(() => second.close());
  assert.equal((await closed).error.reason, "displaced");
  await assert.rejects(first.call("ping", {}), { reason: "displaced", status: 410 });
});

test("many calls at once are all answered, in order", { timeout }, async (context) => {
  const server = await startServer(context);
  const ann = await connect(`tcp://${server.game}`, { user: "ann" });
  context.after(() => ann.close());
  await ann.call("join", { room: "plaza" });
  const heard = /** @type {string[]} */ ([]);
  ann.on("chat", ({ text }) => heard.push(text));
  const lines = Array.from({ length: 500 }, (_, index) => String(index));
  await Promise.all(lines.map((text) => ann.call("chat", { to: "plaza", text })));
  await ann.call("ping", {});
  assert.deepEqual(heard, lines);
});

test("a frame that is too long is not sent", { timeout }, async (context) => {
  const server = await startServer(context);
  const ann = await connect(`tcp://${server.game}`, { user: "ann" });
  context.after(() => ann.close());
  const text = "é".repeat(40_000);
  await assert.rejects(ann.call("chat", { to: "ann", text }), { reason: "frame-too-large" });
  await ann.call("ping", {});
});

test("a server that is not there is an error", { timeout }, async () => {
  await assert.rejects(connect("tcp://127.0.0.1:1", { user: "ann" }), {
    reason: "connect-failed",
    status: 0,
  });
  await assert.rejects(connect("http://127.0.0.1:1", { user: "ann" }), TypeError);
});
