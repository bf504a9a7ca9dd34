// Sessions that outlive their connections, against a server that does what the test says.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, WarrenError } from "../dist/index.js";
import { startPeer } from "./peer.js";
import { next } from "./server.js";

const backoff = { baseMs: 1, capMs: 1 };
/** Nothing takes so long: a test that waits longer has failed. */
const timeout = 60_000;

/**
 * A client of a peer, logged in.
 *
 * @param {import("node:test").TestContext} context
 * @param {Partial<import("../dist/index.js").Options>} options
 * @param {object[]} said
 */
async function start(context, options = {}, hello = {}, ...said) {
  const peer = await startPeer(context);
  const [connection, client] = await Promise.all([
    peer.serve(hello, ...said),
    connect(peer.url, { user: "ann", backoff, ...options }),
  ]);
  context.after(() => {
    connection.cut();
    return client.close();
  });
  return { peer, connection, client };
}

test("what counts is counted, over all connections", { timeout }, async (context) => {
  const { peer, connection, client } = await start(context);
  const ping = client.call("ping", {});
  await connection.answer("ping", { time_ms: 1 });
  await ping;
  const chat = (/** @type {string} */ text) => ({ msg: "chat", to: "ann", from: "bob", text });
  const last = next(client, "chat", ({ text }) => text === "last");
  connection.write(
    { msg: "pong", status: 0 },
    { msg: "error", status: 400, error: "malformed" },
    chat("first"),
    { msg: "join", id: 999, status: 0 },
    { msg: "time", status: 0 },
    chat("last"),
  );
  await last;
  connection.cut();
  const second = await peer.greet();
  assert.deepEqual(await second.answer("resume", { token: "b", replayed: 1 }), {
    msg: "resume",
    session: "7",
    token: "a",
    received: 4,
  });
  const more = next(client, "chat");
  second.write(chat("more"));
  await more;
  second.cut();
  const third = await peer.greet();
  const { token, received } = await third.answer("resume", { token: "c", replayed: 0 });
  assert.deepEqual([token, received], ["b", 5]);
});

test("a resume whose reply was lost is asked for with the same token", { timeout }, async (context) => {
  const { peer, connection } = await start(context);
  connection.cut();
  const second = await peer.greet();
  assert.equal((await second.read()).token, "a");
  second.cut();
  const third = await peer.greet();
  assert.equal((await third.read()).token, "a");
});

const unknown = { status: 401, error: "session-unknown" };
const takenOver = { msg: "closed", status: 410, error: "taken-over" };

test("a resume that was given up and comes late is no end", { timeout }, async (context) => {
  const { peer, connection, client } = await start(context);
  client.on("lost", ({ reason }) => assert.fail(`the session was lost: ${reason}`));
  const call = client.call("join", { room: "plaza" });
  const { id } = await connection.read();
  connection.cut();
  const second = await peer.greet();
  await second.answer("resume", { token: "b", replayed: 0 }, takenOver);
  const third = await peer.greet();
  assert.equal((await third.answer("resume", unknown)).token, "b");
  // It is on its way still when this connection breaks.
  assert.equal((await third.read()).token, "a");
  third.cut();
  const fourth = await peer.greet();
  assert.equal((await fourth.answer("resume", unknown)).token, "b");
  // A reply that was missed does not tell that the server has heard from this connection.
  const missed = { msg: "join", id, status: 0, room: "plaza", members: 1 };
  const reply = { token: "c", replayed: 1 };
  assert.equal((await fourth.answer("resume", reply, missed, takenOver)).token, "a");
  await call;
  const fifth = await peer.greet();
  assert.equal((await fifth.answer("resume", { token: "d", replayed: 0 })).token, "c");
  // One to what was asked here does: from then on the token before is void.
  const ping = client.call("ping", {});
  await fifth.answer("ping", { time_ms: 1 });
  await ping;
  const closed = next(client, "state", ({ state }) => state === "closed");
  fifth.write(takenOver);
  assert.equal((await closed).error.reason, "taken-over");
});

test("a session is gone when neither of two tokens is its own", { timeout }, async (context) => {
  const { peer, connection, client } = await start(context);
  const lost = next(client, "lost");
  connection.cut();
  const second = await peer.greet();
  await second.answer("resume", { token: "b", replayed: 0 });
  second.cut();
  const third = await peer.greet();
  assert.equal((await third.answer("resume", unknown)).token, "b");
  assert.equal((await third.answer("resume", unknown)).token, "a");
  await third.answer("login", { session: "8", token: "z", object: "1.2" });
  assert.equal((await lost).reason, "session-unknown");
  third.write(takenOver);
  await next(client, "state", ({ state }) => state === "closed");
});

test("calls without a reply are sent again, behind what was missed", { timeout }, async (context) => {
  const { peer, connection, client } = await start(context);
  const calls = ["one", "two", "three"].map((room) => client.call("join", { room }));
  for (let id = 1; id <= 3; id += 1) assert.equal((await connection.read()).id, id);
  connection.write({ msg: "join", id: 2, status: 0, room: "two", members: 1 });
  await calls[1];
  connection.cut();
  const second = await peer.greet();
  await second.answer("resume", { token: "b", replayed: 2 });
  // It leaves behind the others, though nothing holds it.
  const fourth = client.call("leave", { room: "two" });
  second.write({ msg: "chat", to: "ann", from: "bob", text: "hi" });
  second.write({ msg: "join", id: 1, status: 0, room: "one", members: 1 });
  await calls[0];
  const { id, room } = await second.answer("join", { room: "three", members: 1 });
  assert.deepEqual([id, room], [3, "three"]);
  await calls[2];
  assert.equal((await second.answer("leave")).id, 4);
  await fourth;
});

test("a session that is gone is told, and its calls fail", { timeout }, async (context) => {
  for (const error of ["session-unknown", "resume-too-old"]) {
    let tickets = 0;
    const ticket = async () => `ticket ${(tickets += 1)}`;
    const { peer, connection, client } = await start(context, { ticket });
    const call = client.call("join", { room: "plaza" });
    await connection.read();
    connection.cut();
    const second = await peer.greet();
    const lost = next(client, "lost");
    await second.answer("resume", { status: 410, error });
    await assert.rejects(call, { reason: "session-lost", status: 0 });
    const login = await second.answer("login", { session: "8", token: "z", object: "1.2" });
    assert.deepEqual([login.user, login.ticket], ["ann", "ticket 2"]);
    assert.equal((await lost).reason, error);
    assert.equal(client.ownObject, "1.2");
    second.cut();
    const { session, received } = await (await peer.greet()).read();
    assert.deepEqual([session, received], ["8", 0]);
  }
});

test("a request leaves only while the server remembers those without a reply", { timeout }, async (context) => {
  const { connection, client } = await start(context);
  const calls = Array.from({ length: 70 }, () => client.call("leave", { room: "plaza" }));
  const ids = [];
  for (let count = 0; count < 64; count += 1) ids.push((await connection.read()).id);
  assert.deepEqual(ids, Array.from({ length: 64 }, (_, index) => index + 1));
  // All but the oldest: still nothing may follow.
  for (const id of ids.slice(1)) connection.write({ msg: "leave", id, status: 0 });
  await calls[63];
  connection.write({ msg: "chat", to: "ann", from: "bob", text: "hi" });
  await next(client, "chat");
  client.reconnect();
  assert.equal(await connection.read(), undefined);
  for (const call of calls.slice(64)) call.catch(() => {});
  calls[0]?.catch(() => {});
});

test("a call that gets no reply in time fails, and lets others go", { timeout }, async (context) => {
  const { connection, client } = await start(context, { callTimeoutMs: 5 });
  const late = client.call("leave", { room: "plaza" });
  await assert.rejects(late, { reason: "call-timeout", status: 0 });
  const others = Array.from({ length: 65 }, () =>
    client.call("leave", { room: "plaza" }, { timeoutMs: 60_000 }),
  );
  await connection.read();
  // The reply that came too late harms nobody.
  connection.write({ msg: "leave", id: 1, status: 0 });
  for (const _ of others) await connection.answer("leave");
  await Promise.all(others);
});

test("one call too many is refused", { timeout }, async (context) => {
  const { client } = await start(context, { callsMax: 2 });
  const calls = [1, 2].map(() => client.call("leave", { room: "plaza" }));
  await assert.rejects(client.call("leave", { room: "plaza" }), { reason: "queue-full" });
  for (const call of calls) call.catch(() => {});
});

test("a silent connection is given up, after the server was asked", { timeout }, async (context) => {
  // What is said comes with the login's reply, however slow this machine is: so it is counted
  // before the heart beats, and the first beat asks.
  const said = { msg: "chat", to: "ann", from: "bob", text: "hi" };
  const { peer, connection } = await start(context, {}, { heartbeat_ms: 20 }, said);
  assert.deepEqual(await connection.read(), { msg: "ping", received: 1 });
  assert.equal(await connection.read(), undefined);
  const second = await peer.greet();
  await second.answer("resume", { token: "b", replayed: 0 });
});

test("a server that never answers is given up", { timeout }, async (context) => {
  const peer = await startPeer(context);
  await assert.rejects(connect(peer.url, { user: "ann", connectTimeoutMs: 5 }), {
    reason: "connect-failed",
  });
});

test("what is closed for good stays closed", { timeout }, async (context) => {
  for (const reason of ["displaced", "taken-over", "kicked", "banned"]) {
    const { connection, client } = await start(context);
    const call = client.call("ping", {});
    connection.write({ msg: "closed", status: 410, error: reason });
    await assert.rejects(call, { reason, status: 410 });
    assert.equal(client.state.state, "closed");
  }
});

test("other closes, and servers that are full, are tried again", { timeout }, async (context) => {
  const { peer, connection, client } = await start(context);
  const states = /** @type {unknown[]} */ ([]);
  client.on("state", ({ state, ...rest }) => {
    states.push("error" in rest ? [state, rest.error.reason] : [state]);
  });
  connection.write({ msg: "closed", status: 504, error: "slow-consumer" });
  const second = await peer.accept();
  second.write({ msg: "closed", status: 503, error: "busy" });
  const third = await peer.greet();
  await third.answer("resume", { status: 429, error: "login-rate" });
  const fourth = await peer.greet();
  const connected = next(client, "state", ({ state }) => state === "connected");
  await fourth.answer("resume", { token: "b", replayed: 0 });
  assert.equal((await connected).resumed, true);
  assert.deepEqual(states, [
    ["reconnecting", "slow-consumer"],
    ["reconnecting", "busy"],
    ["reconnecting", "login-rate"],
    ["connected"],
  ]);
});

test("a refused login is final, a first one always", { timeout }, async (context) => {
  const peer = await startPeer(context);
  for (const [status, error] of [
    [401, "ticket-expired"],
    [429, "login-rate"],
  ]) {
    const client = connect(peer.url, { user: "ann", backoff });
    const connection = await peer.greet();
    await connection.answer("login", { status, error });
    await assert.rejects(client, { reason: error, status });
  }
  const { peer: other, connection, client } = await start(context);
  const closed = next(client, "state", ({ state }) => state === "closed");
  connection.cut();
  await (await other.greet()).answer("resume", { status: 403, error: "banned" });
  assert.equal((await closed).error.reason, "banned");
});

test("a client can be closed while it connects again", { timeout }, async (context) => {
  const { connection, client } = await start(context, { backoff: { baseMs: 1e9, capMs: 1e9 } });
  const call = client.call("ping", {});
  const lost = next(client, "state", ({ state }) => state === "reconnecting");
  connection.cut();
  await lost;
  await Promise.all([client.close(), assert.rejects(call, { reason: "client-closed" })]);
});

test("reconnect does not wait", { timeout }, async (context) => {
  const { peer, connection, client } = await start(context, {
    backoff: { baseMs: 1e9, capMs: 1e9 },
  });
  client.reconnect();
  assert.equal(await connection.read(), undefined);
  const second = await peer.greet();
  const lost = next(client, "state", ({ state }) => state === "reconnecting");
  second.cut();
  await lost;
  client.reconnect();
  await (await peer.greet()).answer("resume", { token: "b", replayed: 0 });
});

test("a ticket that does not come is not waited for", { timeout }, async (context) => {
  const peer = await startPeer(context);
  const ticket = () => new Promise(() => {});
  await assert.rejects(connect(peer.url, { ticket, connectTimeoutMs: 5 }), {
    reason: "connect-failed",
  });
});

test("a ticket that cannot be fetched is asked for again", { timeout }, async (context) => {
  const answers = ["first", undefined, new Error("the service is away"), new WarrenError("banned"), "last"];
  /** @type {(value?: unknown) => void} */
  let tell = () => {};
  const asked = new Promise((resolve) => (tell = resolve));
  const ticket = async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    if (answer !== undefined) return answer;
    tell();
    return new Promise(() => {});
  };
  const { peer, connection, client } = await start(context, { ticket });
  const lost = next(client, "lost");
  connection.cut();
  const second = await peer.greet();
  await second.answer("resume", unknown);
  await asked;
  client.reconnect();
  assert.equal(await second.read(), undefined);
  for (let time = 0; time < 2; time += 1) {
    assert.equal(await (await peer.greet()).read(), undefined);
  }
  const last = await peer.greet();
  const login = await last.answer("login", { session: "8", token: "z", object: "1.2" });
  assert.equal(login.ticket, "last");
  await lost;
});

test("who hears that the connection is dropped may close the client", { timeout }, async (context) => {
  const { peer, connection, client } = await start(context);
  client.on("state", ({ state }) => state === "reconnecting" && client.close());
  client.reconnect();
  assert.equal(client.state.state, "closed");
  assert.equal(await connection.read(), undefined);
  // Whoever connects next is another.
  const other = connect(peer.url, { user: "bob", backoff });
  const { user } = await (await peer.greet()).answer("login", { status: 403, error: "banned" });
  assert.equal(user, "bob");
  await assert.rejects(other, { reason: "banned" });
});

test("who hears that the connection is dropped may reconnect", { timeout }, async (context) => {
  const { peer, connection, client } = await start(context);
  const off = client.on("state", ({ state }) => state === "reconnecting" && client.reconnect());
  client.reconnect();
  off();
  assert.equal(await connection.read(), undefined);
  const connected = next(client, "state", ({ state }) => state === "connected");
  await (await peer.greet()).answer("resume", { token: "b", replayed: 0 });
  await connected;
  // Whoever connects next is another.
  const other = connect(peer.url, { user: "bob", backoff });
  const { user } = await (await peer.greet()).answer("login", { status: 403, error: "banned" });
  assert.equal(user, "bob");
  await assert.rejects(other, { reason: "banned" });
});

test("a listener that fails does not stop the others", { timeout }, async (context) => {
  const { connection, client } = await start(context);
  const { mock } = context.mock.method(globalThis, "queueMicrotask", () => {});
  client.on("chat", () => {
    throw new Error("a fault of the application");
  });
  const heard = next(client, "chat");
  connection.write({ msg: "chat", to: "ann", from: "bob", text: "hi" });
  await heard;
  // Where faults go that nobody catches.
  const [thrower] = mock.calls.map((call) => call.arguments[0]);
  assert.throws(() => thrower?.(), /fault of the application/);
});
