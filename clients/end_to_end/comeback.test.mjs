// The demo's pages come back into their rooms on a new session.

import { test } from "node:test";

import { connect } from "../typescript/dist/index.js";
import { next, startProxy, startServer } from "../typescript/test/server.js";
import { startChromium } from "./chromium.mjs";

const timeout = 120_000;

/**
 * The demo's pages, and what holds in them: while they are not in their room, and when Ann and Bob are.
 *
 * @typedef {{path: string, kind: "room" | "world", isOut(reason: string): string, isIn: string}} Kind
 * @type {Kind[]}
 */
const PAGES = [
  {
    path: "/demo",
    kind: "room",
    isOut: (reason) =>
      `[...document.querySelectorAll("#lines .fault")]
        .some((line) => line.textContent.startsWith("Not in the room: ${reason}."))`,
    isIn: `[...document.querySelectorAll("#members li")].map((item) => item.textContent).join() === "ann,bob"`,
  },
  {
    path: "/demo/world",
    kind: "world",
    isOut: (reason) => `document.getElementById("notice").textContent.startsWith("Not in the world: ${reason}.")`,
    isIn: `document.getElementById("count").textContent === "(2 in view)"
      && document.getElementById("notice").textContent === ""`,
  },
];

/**
 * Ann's page of that kind, in a room `here`, and Bob in a room of that name on another server. There she is led when
 * her connection is cut, and it knows nothing of her session. `prepare` is run in her page before its own scripts.
 *
 * @param {import("node:test").TestContext} context
 * @param {Kind} page
 */
async function moveAway(context, { path, kind }, room = {}, prepare = "") {
  const [from, to] = await Promise.all([startServer(context), startServer(context)]);
  const proxy = await startProxy(context, from.port);
  const bob = await connect(`tcp://${to.game}`, { user: "bob" });
  context.after(() => bob.close());
  await bob.call("create", { kind, room: "here", ...room });
  await bob.call("join", { room: "here" });
  const browser = await startChromium(context, { from: from.game, to: `127.0.0.1:${proxy.port}` });
  const ann = await browser.open(`http://${from.admin}${path}`, prepare);
  await ann.submit({ name: "ann", room: "here" });
  await ann.until(`document.getElementById("door").hidden`);
  proxy.lead(to.port);
  return { ann, bob, proxy, server: to };
}

for (const page of PAGES) {
  test(`${page.path} comes back when its ${page.kind} has a place again`, { timeout }, async (context) => {
    const { ann, proxy, server } = await moveAway(context, page, { members_max: 2 });
    const carol = await connect(`tcp://${server.game}`, { user: "carol" });
    context.after(() => carol.close());
    await carol.call("join", { room: "here" });
    proxy.cut();
    await ann.until(page.isOut("room-full"));
    await carol.call("leave", { room: "here" });
    await ann.until(page.isIn);
  });
}

/**
 * Makes a page that hears no reply to `join` while `isDeaf`, and whose calls have waited long enough when `expire` is
 * called.
 */
const DEAF = `
  globalThis.isDeaf = false;
  const CALL_TIMEOUT_MS = 30_000;
  const patience = new Set();
  const later = globalThis.setTimeout;
  globalThis.setTimeout = (call, delayMs) => {
    if (delayMs === CALL_TIMEOUT_MS) patience.add(call);
    return later(call, delayMs);
  };
  globalThis.expire = () => patience.forEach((call) => call());
  globalThis.WebSocket = class extends WebSocket {
    constructor(...how) {
      super(...how);
      this.addEventListener("message", (event) => {
        if (isDeaf && JSON.parse(event.data).msg === "join") event.stopImmediatePropagation();
      });
    }
  };
`;

for (const page of PAGES) {
  test(`${page.path} comes back when the reply to its join comes too late`, { timeout }, async (context) => {
    const { ann, bob, proxy, server } = await moveAway(context, page, {}, DEAF);
    await ann.evaluate("isDeaf = true");
    const joined = next(bob, "joined");
    proxy.cut();
    await joined;
    // Its connection is lost meanwhile, for longer than a call waits.
    proxy.lead(undefined);
    proxy.cut();
    await ann.evaluate("expire()");
    await ann.until(page.isOut("call-timeout"));
    await ann.evaluate("isDeaf = false");
    proxy.lead(server.port);
    await ann.until(page.isIn);
  });
}
