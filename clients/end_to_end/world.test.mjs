// The demo's world in a browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../typescript/dist/index.js";
import { startProxy, startServer } from "../typescript/test/server.js";
import { startChromium } from "./chromium.mjs";

const timeout = 120_000;

/** @typedef {import("./chromium.mjs").Page} Page */

/**
 * A page that has walked in. `redirection` as for the browser.
 *
 * @param {import("node:test").TestContext} context
 * @param {string} admin
 * @param {string} name
 */
async function walkIn(context, admin, name, redirection = { from: "nowhere", to: "nowhere" }) {
  const browser = await startChromium(context, redirection);
  const page = await browser.open(`http://${admin}/demo/world`);
  await page.submit({ name });
  await page.until("!document.getElementById('inside').hidden");
  await page.evaluate("document.getElementById('names').click()");
  return page;
}

/** Where others and a page's own dot are in its figures: `x, y`. */
const placeOf = (/** @type {string} */ user) =>
  `[...document.querySelectorAll("#near li")].map((item) => item.textContent)
    .find((text) => text.startsWith("${user} "))?.slice(${user.length + 1})`;
const OWN = `document.getElementById("place").textContent`;

const x = async (/** @type {Page} */ page, /** @type {string} */ place) =>
  Number.parseFloat(await page.evaluate(place));

/** Presses a key on a page, until what is given back is called. */
async function press(/** @type {Page} */ page, /** @type {string} */ code) {
  const send = (/** @type {string} */ type) => page.send("Input.dispatchKeyEvent", { type, code, key: code });
  await send("keyDown");
  return () => send("keyUp");
}

/** Returns when one page sees another's dot where that one says that it is. */
async function agree(/** @type {Page} */ page, /** @type {Page} */ other, /** @type {string} */ user) {
  for (;;) {
    const places = [await page.evaluate(placeOf(user)), await other.evaluate(OWN)];
    const [seen, own] = places.map((place) => String(place).split(",").map(Number));
    // On the wire it is rounded down, and in the figures to the nearest.
    if (seen?.every((at, axis) => Math.abs(at - Number(own?.[axis])) < 0.15)) return;
  }
}

/** Two pages of one server. The connection of the first goes by the proxy. */
async function meet(/** @type {import("node:test").TestContext} */ context) {
  const server = await startServer(context);
  const proxy = await startProxy(context, server.port);
  const redirection = { from: server.game, to: `127.0.0.1:${proxy.port}` };
  const [ann, bob] = await Promise.all([
    walkIn(context, server.admin, "ann", redirection),
    walkIn(context, server.admin, "bob"),
  ]);
  await ann.until(placeOf("bob"));
  await bob.until(placeOf("ann"));
  return { ann, bob, proxy };
}

test("two pages see each other's dot move", { timeout }, async (context) => {
  const { ann, bob } = await meet(context);
  const before = await x(ann, placeOf("bob"));
  const release = await press(bob, "ArrowRight");
  await ann.until(`Number.parseFloat(${placeOf("bob")}) > ${before + 5}`);
  await release();
  await agree(ann, bob, "bob");
  // By the pointer: to the left of the middle, which is where the own dot is.
  const start = await x(bob, placeOf("ann"));
  const { left, top, width, height } = await ann.evaluate(
    "document.getElementById('canvas').getBoundingClientRect().toJSON()",
  );
  const at = { x: left + width / 4, y: top + height / 2, button: "left", clickCount: 1 };
  await ann.send("Input.dispatchMouseEvent", { type: "mousePressed", ...at });
  await bob.until(`Number.parseFloat(${placeOf("ann")}) < ${start - 5}`);
  await ann.send("Input.dispatchMouseEvent", { type: "mouseReleased", ...at });
  await agree(bob, ann, "ann");
  assert.deepEqual(await ann.texts("#notice"), [""]);
  assert.deepEqual(await bob.texts("#state"), ["connected"]);
});

test("a page whose connection is cut goes on in its world", { timeout }, async (context) => {
  const { ann, bob, proxy } = await meet(context);
  const before = await x(ann, placeOf("bob"));
  const own = await x(bob, placeOf("ann"));
  // Both are on their way meanwhile.
  const releases = [await press(ann, "KeyD"), await press(bob, "KeyA")];
  for (const cut of [0, 100, 10]) {
    proxy.cutAfter(1 + cut);
    await ann.until("document.getElementById('state').dataset.state === 'reconnecting'");
    await ann.until("document.getElementById('state').textContent === 'connected, resumed'");
  }
  await ann.until(`Number.parseFloat(${placeOf("bob")}) < ${before - 5}`);
  await bob.until(`Number.parseFloat(${placeOf("ann")}) > ${own + 5}`);
  for (const release of releases) await release();
  await agree(ann, bob, "bob");
  await agree(bob, ann, "ann");
  assert.deepEqual(await bob.texts("#count"), ["(2 in view)"]);
  assert.deepEqual(await ann.texts("#notice"), [""]);
});

test("a door that did not open can be tried again, and opens once", { timeout }, async (context) => {
  const server = await startServer(context);
  const browser = await startChromium(context, { from: "nowhere", to: "nowhere" });
  const page = await browser.open(`http://${server.admin}/demo/world`);
  await page.submit({ name: "ann", room: "lobby" });
  await page.until("document.getElementById('refusal').textContent === 'That did not work: lobby.'");
  await page.until("!document.getElementById('join').disabled");
  const tries = "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('config.json')).length";
  assert.equal(await page.evaluate(tries), 1);
  await page.evaluate("document.getElementById('room').value = 'meadow'");
  await page.evaluate("const form = document.getElementById('enter'); form.requestSubmit(); form.requestSubmit()");
  await page.until("!document.getElementById('inside').hidden");
  assert.equal(await page.evaluate(tries), 2);
  assert.deepEqual(await page.texts("#state"), ["connected"]);
});

test("a page of a world that does not tell who comes knows their names", { timeout }, async (context) => {
  const server = await startServer(context, { config: "[limits]\npresence_members_max = 1\n" });
  const ann = await walkIn(context, server.admin, "ann");
  const bob = await connect(`tcp://${server.game}`, { user: "bob" });
  await bob.joinWorld("meadow");
  await ann.until(placeOf("bob"));
  await bob.close();
  await ann.until(`document.getElementById("count").textContent === "(1 in view)"`);
  const carol = await connect(`tcp://${server.game}`, { user: "carol" });
  context.after(() => carol.close());
  await carol.joinWorld("meadow");
  await ann.until(placeOf("carol"));
  assert.equal(await ann.evaluate(placeOf("bob")), undefined);
});

test("a page of the demo sees its bots walk", { timeout }, async (context) => {
  const server = await startServer(context, { command: "demo" });
  const page = await walkIn(context, server.admin, "ann");
  await page.until(placeOf("hana"));
  const before = await page.evaluate(placeOf("hana"));
  await page.until(`${placeOf("hana")} !== ${JSON.stringify(before)}`);
  // Those whom the server moves have no names.
  await page.until("Number(/\\d+/.exec(document.getElementById('count').textContent)) > 50");
  // Each in a colour of its own, on a ground of two.
  const colours = await page.evaluate(`
    const canvas = document.getElementById("canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    new Set(new Uint32Array(data.buffer)).size;
  `);
  assert.ok(colours > 20, String(colours));
});
