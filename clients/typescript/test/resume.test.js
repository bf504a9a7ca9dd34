// Sessions that outlive their connections, with the real server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../dist/index.js";
import { chance, next, startProxy, startServer } from "./server.js";

const backoff = { baseMs: 2, capMs: 20 };
/** Nothing takes so long: a test that waits longer has failed. */
const timeout = 60_000;
const LINES = 400;
/** A cut comes within so many bytes of a connection's serving: about every tenth line. */
const CUT_BYTES_MAX = 1_500;

test("nothing is lost or doubled, wherever connections are cut", { timeout: 120_000 }, async (context) => {
  const server = await startServer(context);
  const proxy = await startProxy(context, server.port);
  const ann = await connect(`tcp://127.0.0.1:${proxy.port}`, { user: "ann", backoff });
  const bob = await connect(`tcp://${server.game}`, { user: "bob" });
  for (const client of [ann, bob]) await client.call("join", { room: "plaza" });
  const heard = new Map([ann, bob].map((client) => [client, /** @type {any[]} */ ([])]));
  for (const [client, chats] of heard) client.on("chat", (chat) => chats.push(chat));
  let resumes = 0;
  let isCutting = true;
  ann.on("state", ({ state }) => {
    if (state !== "connected") return;
    resumes += 1;
    if (isCutting) proxy.cutAfter(chance(CUT_BYTES_MAX));
  });
  ann.on("lost", (error) => assert.fail(`the session was lost: ${error.reason}`));
  bob.on("left", () => assert.fail("a cut is no leaving"));
  proxy.cutAfter(chance(CUT_BYTES_MAX));
  const say = async (/** @type {typeof ann} */ client) => {
    for (let line = 0; line < LINES; line += 1) {
      await client.call("chat", { to: "plaza", text: String(line) });
    }
  };
  await Promise.all([say(ann), say(bob)]);
  isCutting = false;
  // The last cut may still be due: whatever comes after it is heard by both.
  const end = [ann, bob].map((client) => next(client, "chat", ({ text }) => text === "end"));
  await bob.call("chat", { to: "plaza", text: "end" });
  await Promise.all(end);
  const all = Array.from({ length: LINES }, (_, line) => String(line));
  for (const chats of heard.values()) {
    for (const [speaker, said] of /** @type {const} */ ([
      ["ann", all],
      ["bob", [...all, "end"]],
    ])) {
      assert.deepEqual(
        chats.filter(({ from }) => from === speaker).map(({ text }) => text),
        said,
      );
    }
    const numbers = chats.map(({ seq }) => seq);
    assert.deepEqual(
      numbers,
      numbers.map((_, index) => numbers[0] + index),
    );
  }
  assert.ok(resumes >= 20, `only ${resumes} cuts`);
  await Promise.all([ann.close(), bob.close()]);
});

test("after a restart there is a new session, and it is told", { timeout }, async (context) => {
  const first = await startServer(context);
  const proxy = await startProxy(context, first.port);
  const client = await connect(`tcp://127.0.0.1:${proxy.port}`, { user: "ann", backoff });
  context.after(() => client.close());
  await client.call("join", { room: "plaza" });
  const lost = next(client, "lost");
  proxy.lead(undefined);
  await first.stop();
  proxy.lead((await startServer(context)).port);
  assert.equal((await lost).reason, "session-unknown");
  await assert.rejects(client.call("chat", { to: "plaza", text: "hi" }), { status: 404 });
  assert.equal((await client.call("join", { room: "plaza" })).members, 1);
});

test("who was away for too long logs in anew", { timeout }, async (context) => {
  const server = await startServer(context, { config: "[session]\ngrace_ms = 0\n" });
  const proxy = await startProxy(context, server.port);
  const ann = await connect(`tcp://127.0.0.1:${proxy.port}`, { user: "ann", backoff });
  const bob = await connect(`tcp://${server.game}`, { user: "bob" });
  context.after(() => Promise.all([ann.close(), bob.close()]));
  for (const client of [ann, bob]) await client.call("join", { room: "plaza" });
  const lost = next(ann, "lost");
  const left = next(bob, "left");
  proxy.lead(undefined);
  proxy.cut();
  // The server has noticed.
  await left;
  proxy.lead(server.port);
  assert.equal((await lost).reason, "session-unknown");
  await ann.call("ping", {});
});

test("reconnect resumes at once", { timeout }, async (context) => {
  const server = await startServer(context);
  const client = await connect(`tcp://${server.game}`, { user: "ann" });
  context.after(() => client.close());
  await client.call("join", { room: "plaza" });
  for (let time = 0; time < 20; time += 1) {
    const connected = next(client, "state", ({ state }) => state === "connected");
    client.reconnect();
    assert.equal((await connected).resumed, true);
  }
  await client.call("chat", { to: "plaza", text: "still a member" });
});

test("a resume that was given up takes the session over, and it is resumed", { timeout }, async (context) => {
  const server = await startServer(context);
  const proxy = await startProxy(context, server.port);
  const client = await connect(`tcp://127.0.0.1:${proxy.port}`, { user: "ann", backoff });
  context.after(() => client.close());
  client.on("lost", ({ reason }) => assert.fail(`the session was lost: ${reason}`));
  const states = /** @type {string[]} */ ([]);
  client.on("state", (now) => states.push("error" in now ? now.error.reason : now.state));
  const connected = () => next(client, "state", ({ state }) => state === "connected");
  for (let time = 0; time < 3; time += 1) {
    const held = proxy.holdNext();
    proxy.cut();
    const release = await held;
    let resumed = connected();
    client.reconnect();
    await resumed;
    resumed = connected();
    states.length = 0;
    release();
    assert.equal((await resumed).resumed, true);
    assert.deepEqual(states, ["taken-over", "connected"]);
  }
  await client.call("ping", {});
});
